"""Seeds derived from what they are for, so that work done twice gives the same result."""

from __future__ import annotations

import hashlib

_BITS = 31


def derive_seed(*parts: str | int) -> int:
    """A seed in ``[0, 2**31)`` that depends on every part and on their order, the same on every machine.

    The parts are joined with their lengths, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = f"{type(part).__name__}:{part}".encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:8], "big") % (1 << _BITS)
