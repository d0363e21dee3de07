"""How large the tests of this folder are: ``ERRATA_CHAOS=full`` for the sizes of docs/reliability.md."""

from __future__ import annotations

import os

FULL = os.environ.get("ERRATA_CHAOS") == "full"


def size(full: int, small: int) -> int:
    """The one of the two that is asked for."""
    return full if FULL else small
