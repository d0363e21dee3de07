"""Which engine answers for which language model: started on first use, swapped, restarted after a death."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from workers.engines.base import Completion, EngineError, GenerationRequest, Journal, ModelSpec, fallbacks
from workers.engines.process import ChildEngine

if TYPE_CHECKING:
    from workers.engines.openai_engine import OpenAIEngine

_IN_CHILD = frozenset({"transformers", "vllm"})


class EnginePool:
    """Runs engines: one child process per kind, which keeps ``loaded`` models at once; servers over HTTP. Thread-safe.

    A child serves one batch at a time; a server takes those of every thread together. Where both kinds of child are
    used on one device, each needs its share of the memory (setting ``gpu_memory_utilization`` of vllm's entries).
    """

    def __init__(self, *, loaded: int = 1, threads: int = 0, vllm_python: str | None = None) -> None:
        self._loaded, self._threads = loaded, threads
        self._pythons = {"vllm": vllm_python}
        self._children: dict[str, ChildEngine] = {}
        self._servers: dict[str, OpenAIEngine] = {}
        self._starting = threading.Lock()

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
    ) -> list[list[Completion]]:
        """Completions per request from the named model. Raises EngineError, or Cancelled soon after ``cancelled()``.

        ``journal`` is told which engine answered, what it did without and what was asked again, failures included.
        """
        if not requests:
            return []
        journal = Journal() if journal is None else journal
        journal.engine = model.engine
        if model.engine in _IN_CHILD:
            return self._living(model.engine).generate(model, requests, cancelled, journal)
        if model.engine != "openai":
            raise EngineError(f"language model {model.name!r}: no engine named {model.engine!r} is installed here")
        server = self._server(model)
        server.connect(cancelled, journal.retried)
        journal.version, journal.capabilities = server.version, server.capabilities
        journal.fallbacks.update(fallbacks(model.name, server.capabilities, requests))
        return server.generate(requests, cancelled, journal.retried)

    def close(self) -> None:
        """End the children and close the connections. A later call starts others."""
        with self._starting:
            for child in self._children.values():
                child.close()
            for server in self._servers.values():
                server.close()
            self._children.clear()
            self._servers.clear()

    def _living(self, engine: str) -> ChildEngine:
        with self._starting:
            child = self._children.get(engine)
            if child is None or not child.alive:
                python = self._pythons.get(engine)
                child = ChildEngine(engine, loaded=self._loaded, threads=self._threads, python=python)
                self._children[engine] = child
            return child

    def _server(self, model: ModelSpec) -> OpenAIEngine:
        # Imported on first use: a worker whose models are all loaded on demand needs none of it.
        from workers.engines.openai_engine import OpenAIEngine

        key = json.dumps([model.name, model.config], sort_keys=True)
        with self._starting:
            if key not in self._servers:
                self._servers[key] = OpenAIEngine(model.name, model.config)
            return self._servers[key]
