"""Generation's side of a shared GPU: batches run while it is ours, and it is given back when training waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.engines.base import EngineError
from workers.gpu import GpuTurn

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0  # a waiting place nobody has asked for since is given up: its shards went elsewhere


class GenerationTurns:
    """Lends the GPU to batches of several threads. ``unload`` must free the GPU; it is called with no batch running.

    Engines stay loaded between batches as long as nobody else waits. Once somebody does, batches in hand end, new ones
    are refused (retryable: their shards are given back), the engines are unloaded and the GPU is given away.
    """

    def __init__(self, turn: GpuTurn, unload: Callable[[], None]) -> None:
        self._turn, self._unload = turn, unload
        self._lock = threading.Lock()
        self._batches = 0
        self._asked = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-turns", daemon=True)
        self._thread.start()

    @contextmanager
    def lent(self, what: str) -> Iterator[None]:
        """The GPU for one batch. Raises EngineError (retryable), naming the holder, while it is another's turn."""
        with self._lock:
            self._asked = time.monotonic()
            if self._turn.held and self._turn.wanted():
                self._give_back_if_idle()
                raise EngineError("the GPU is given to training, which waited for it", retryable=True)
            if not self._turn.take(what):
                holder = self._turn.holder() or "another process"
                raise EngineError(f"waiting for the GPU, which is lent to {holder}", retryable=True)
            self._batches += 1
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
                self._give_back_if_wanted()

    def close(self) -> None:
        """Give the GPU back; the caller has unloaded."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._turn.leave()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            with self._lock:
                if self._turn.held:
                    self._give_back_if_wanted()
                elif time.monotonic() - self._asked > _PATIENCE_SECONDS:
                    self._turn.leave()

    def _give_back_if_wanted(self) -> None:
        if self._turn.held and self._turn.wanted():
            self._give_back_if_idle()

    def _give_back_if_idle(self) -> None:
        if self._batches == 0:
            self._unload()
            self._turn.leave()
