"""What this process has heard from the broker, and what it runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Hints:
    """How many hints of each queue this process has heard, and how many shards of it run here. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard, self._running = Counter[str](), Counter[str]()

    def hear(self, queue: str) -> None:
        """A hint arrived from the broker."""
        with self._lock:
            self._heard[queue] += 1

    def heard(self, queue: str) -> int:
        """How many arrived so far."""
        return self._heard[queue]

    def running(self, queue: str) -> int:
        """How many shards run that came by this queue."""
        return self._running[queue]

    @contextmanager
    def busy(self, queue: str | None) -> Iterator[None]:
        """A shard of the queue runs inside."""
        with self._lock:
            self._running[queue or ""] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[queue or ""] -= 1
