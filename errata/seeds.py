"""Seeds and splits derived from what they are for, so that work done twice gives the same result."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
_BITS = 31
_RANGE = 2**64


def derive_seed(*parts: str | int) -> int:
    """A seed in ``[0, 2**31)`` that depends on every part and on their order, the same on every machine.

    The parts are joined with their lengths, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = f"{type(part).__name__}:{part}".encode()
        # The length goes first, so that ("ab", "c") and ("a", "bc") differ; the type, so that 1 and "1" do.
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:8], "big") % (1 << _BITS)


def split_of(question: str, test_share: float, seed: int) -> Split:
    """The side of a question: ``test`` with chance ``test_share``, decided by its words and the seed alone.

    White space and case do not matter, so that a question posted twice with another line break cannot leak. Adding
    problems later moves none of those already assigned.
    """
    words = " ".join(question.casefold().split())
    digest = hashlib.sha256(f"split:{seed}:{words}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < test_share * _RANGE else "train"
