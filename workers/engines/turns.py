"""Places in an engine: who is in a hurry goes before those that are not, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.engines.base import Cancelled

_LOOK_SECONDS = 0.2
_MOST_IN_A_ROW = 8


class Turns:
    """So many batches at once. Urgent ones go first; behind eight of them in a row, one that waits has its turn."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._changed = threading.Condition()
        self._urgent = self._patient = 0  # that wait
        self._in_a_row = 0

    @contextmanager
    def turn(self, cancelled: Callable[[], bool], *, urgent: bool = False) -> Iterator[None]:
        """A place while the block runs. Raises Cancelled soon after ``cancelled()`` while waiting for it."""
        self._wait(cancelled, urgent)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _wait(self, cancelled: Callable[[], bool], urgent: bool) -> None:
        with self._changed:
            self._count(urgent, 1)
            try:
                while not (self._free and self._may_go(urgent)):
                    if not self._changed.wait(_LOOK_SECONDS) and cancelled():
                        raise Cancelled
                self._free -= 1
                self._in_a_row = self._in_a_row + 1 if urgent else 0
            finally:
                self._count(urgent, -1)
                self._changed.notify_all()

    def _may_go(self, urgent: bool) -> bool:
        if urgent:
            return not self._patient or self._in_a_row < _MOST_IN_A_ROW
        return not self._urgent or self._in_a_row >= _MOST_IN_A_ROW

    def _count(self, urgent: bool, by: int) -> None:
        if urgent:
            self._urgent += by
        else:
            self._patient += by
