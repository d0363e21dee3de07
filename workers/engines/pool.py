"""Which engine answers for which language model: started on first use, kept, swapped, restarted after a death."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from workers.engines.base import Completion, Engine, EngineError, GenerationRequest, ModelSpec
from workers.engines.process import ChildEngine


class EnginePool:
    """At most ``keep`` engine children at once, least recently used closed first. Thread-safe."""

    def __init__(self, *, keep: int = 1, threads: int = 0) -> None:
        self._keep, self._threads = keep, threads
        self._engines: OrderedDict[str, ChildEngine] = OrderedDict()
        self._users: dict[str, int] = {}
        self._changed = threading.Condition()

    def generate(
        self, model: ModelSpec, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request from the named model's engine. Waits while the pool is full of busy engines."""
        if not requests:
            return []
        key = json.dumps([model.engine, model.config], sort_keys=True)
        engine = self._take(key, model)
        try:
            return engine.generate(requests, cancelled)
        finally:
            self._give_back(key, engine)

    def close(self) -> None:
        """End every child."""
        with self._changed:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

    def _take(self, key: str, model: ModelSpec) -> ChildEngine:
        with self._changed:
            while True:
                engine = self._engines.get(key)
                if engine is not None and engine.alive:
                    break
                self._engines.pop(key, None)
                idle = [k for k in self._engines if not self._users.get(k)]
                if len(self._engines) < self._keep or idle:
                    for k in idle[: len(self._engines) - self._keep + 1]:
                        self._engines.pop(k).close()
                    engine = self._engines[key] = self._start(model)
                    break
                self._changed.wait(1.0)
            self._engines.move_to_end(key)
            self._users[key] = self._users.get(key, 0) + 1
            return engine

    def _start(self, model: ModelSpec) -> ChildEngine:
        if model.engine != "transformers":
            raise EngineError(f"language model {model.name!r}: no engine named {model.engine!r} is installed here")
        return ChildEngine(model, threads=self._threads)

    def _give_back(self, key: str, engine: Engine) -> None:
        with self._changed:
            self._users[key] -= 1
            if self._engines.get(key) is engine and isinstance(engine, ChildEngine) and not engine.alive:
                del self._engines[key]
            self._changed.notify_all()
