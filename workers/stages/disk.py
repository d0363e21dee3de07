"""A full disk, told as what it is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "has reached its quota",
    errno.EFBIG: "takes no file of this size",
}


class DiskFull(RuntimeError):
    """Files cannot be written for want of space. The stage is tried again, so space that is made in time suffices."""


@contextmanager
def naming_a_full_disk(place: str) -> Iterator[None]:
    """Raise DiskFull, which names the place and the remedy, where a write fails for want of space."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"the disk of {place} {_FULL[error.errno]}: make space there; this is tried again, and a new request"
            " does it anew when the tries are used up"
        ) from error
