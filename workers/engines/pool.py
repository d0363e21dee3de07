"""Which engine answers for which language model: started on first use, swapped, restarted after a death."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from workers.engines.base import Completion, EngineError, GenerationRequest, ModelSpec
from workers.engines.process import ChildEngine

_IN_CHILD = frozenset({"transformers"})


class EnginePool:
    """Runs engines in one child process, which keeps ``loaded`` models at once. Thread-safe."""

    def __init__(self, *, loaded: int = 1, threads: int = 0) -> None:
        self._loaded, self._threads = loaded, threads
        self._child: ChildEngine | None = None
        self._starting = threading.Lock()

    def generate(
        self, model: ModelSpec, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request from the named model. Raises EngineError, or Cancelled soon after ``cancelled()``."""
        if not requests:
            return []
        if model.engine not in _IN_CHILD:
            raise EngineError(f"language model {model.name!r}: no engine named {model.engine!r} is installed here")
        return self._living().generate(model, requests, cancelled)

    def close(self) -> None:
        """End the child. A later call starts another."""
        with self._starting:
            if self._child is not None:
                self._child.close()
            self._child = None

    def _living(self) -> ChildEngine:
        with self._starting:
            if self._child is None or not self._child.alive:
                self._child = ChildEngine(loaded=self._loaded, threads=self._threads)
            return self._child
