"""Memory that large bodies took, given back to the system.

Parsing a body of 16 MB makes millions of small objects, in whichever thread has time. glibc keeps what they free: in a
heap per thread (up to eight per core), each trimmed at its top end only, so that one living object keeps the rest of it
mapped. Python keeps more: errors and their frames hold a body in cycles until a full round of the collector. So a
process stayed at its peak. Here the number of heaps is bounded at the start, and after large bodies the collector makes
a full round and glibc hands back every free page. Elsewhere than on glibc both do nothing.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from typing import Any

LARGE = 1024 * 1024  # bytes of a body behind which memory is given back
_QUIET_SECONDS = 2.0  # after the last large body: a burst of them is followed by one round
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_ARENAS = 2
_MAPPED_FROM = 256 * 1024


def _libc() -> Any:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
    except (OSError, TypeError):
        return None


def bound_heaps() -> None:
    """Let this process have two heaps, and map large blocks singly. Call before threads start."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        # Set, it stays: left alone, glibc raises it to 32 MB once a large block was freed, and puts the next on a heap.
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


def trim() -> None:
    """Collect what is garbage, and hand free pages of all heaps to the system. Takes up to a few tenths of a second."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


class Trimmer:
    """Gives memory back once no large body has come for two seconds, in a thread that ends then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0.0
        self._waits = False

    def after(self, size: int) -> None:
        """A body of so many bytes has been answered."""
        if size < LARGE:
            return
        with self._lock:
            self._last = time.monotonic()
            if self._waits:
                return
            self._waits = True
        threading.Thread(target=self._wait, name="memory", daemon=True).start()

    def _wait(self) -> None:
        while True:
            with self._lock:
                left = self._last + _QUIET_SECONDS - time.monotonic()
                if left <= 0:
                    self._waits = False
                    break
            time.sleep(left)
        trim()
