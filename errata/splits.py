"""Splitting by question: a question, however often it occurs, lands on one side."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
_RANGE = 2**64


def split_of(question: str, test_share: float, seed: int) -> Split:
    """The side of a question: ``test`` with chance ``test_share``, decided by its words and the seed alone.

    White space and case do not matter, so that a question posted twice with another line break cannot leak. Adding
    problems later moves none of those already assigned.
    """
    words = " ".join(question.casefold().split())
    digest = hashlib.sha256(f"split:{seed}:{words}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < test_share * _RANGE else "train"
