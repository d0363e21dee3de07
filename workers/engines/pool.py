"""Which engine answers for which language model: started on first use, swapped, restarted after a death."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from workers.engines.base import (
    Cancelled,
    Completion,
    EngineError,
    GenerationRequest,
    Journal,
    ModelSpec,
    fallbacks,
    storable,
)
from workers.engines.follow_ups import FollowUp, in_rounds
from workers.engines.process import ChildEngine, ChildGone
from workers.engines.turns import GenerationTurns
from workers.gpu import GpuTurn

if TYPE_CHECKING:
    from workers.engines.openai_engine import OpenAIEngine
    from workers.engines.openai_loop import ServerLoop

_IN_CHILD = ("transformers", "vllm")


class EnginePool:
    """Runs engines: one child process per kind, which keeps ``loaded`` models at once; servers over HTTP. Thread-safe.

    A server and vLLM take the batches of every thread together, the transformers engine takes one after another. Where
    both kinds of child are used on one device, each needs its share of the memory (setting ``gpu_memory_utilization``
    of vllm's entries). With ``turn`` the children run while the GPU is ours (workers.gpu).
    """

    def __init__(
        self,
        *,
        loaded: int = 1,
        threads: int = 0,
        stall_seconds: float = 3600.0,
        vllm_python: str | None = None,
        turn: GpuTurn | None = None,
    ) -> None:
        self._loaded, self._threads, self._stall_seconds = loaded, threads, stall_seconds
        self._pythons = {"vllm": vllm_python}
        self._children: dict[str, ChildEngine] = {}
        self._servers: dict[str, OpenAIEngine] = {}
        self._loop: ServerLoop | None = None
        self._turns = None if turn is None else GenerationTurns(turn, self._end_children)
        # One each: a child that loads its libraries for a minute keeps nobody from a server.
        self._starting = {name: threading.Lock() for name in (*_IN_CHILD, "openai")}

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        """Completions per request from the named model. Raises EngineError, or Cancelled soon after ``cancelled()``.

        ``journal`` is told which engine answered, what it did without and what was asked again, failures included.
        With ``follow_up`` the last completions of each request.
        """
        if not requests:
            return []
        journal = Journal() if journal is None else journal
        journal.engine = model.engine
        if model.engine in _IN_CHILD:

            def ask(asked: Sequence[GenerationRequest]) -> list[list[Completion]]:
                with self._gpu(model):
                    found = self._by_child(model, asked, cancelled, journal)
                return [[storable(completion) for completion in result] for result in found]

            return in_rounds(ask, requests, follow_up)
        if model.engine != "openai":
            raise EngineError(f"language model {model.name!r}: no engine named {model.engine!r} is installed here")
        return self._by_server(model, requests, cancelled, journal, follow_up)

    def _by_server(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal,
        follow_up: FollowUp | None,
    ) -> list[list[Completion]]:
        server = self._server(model)
        server.connect(cancelled, journal.retried)
        journal.version, journal.capabilities = server.version, server.capabilities
        journal.fallbacks.update(fallbacks(model.name, server.capabilities, requests))
        started = time.monotonic()
        try:
            return server.generate(requests, cancelled, journal.retried, follow_up)
        finally:
            journal.seconds += time.monotonic() - started

    def close(self) -> None:
        """End the children and close the connections. A later call starts others, but not on a shared GPU."""
        self._end_children()
        if self._turns is not None:
            self._turns.close()
        with self._starting["openai"]:
            if self._loop is not None:
                self._loop.close([server.close() for server in self._servers.values()])
            self._servers.clear()
            self._loop = None

    def _gpu(self, model: ModelSpec) -> AbstractContextManager[None]:
        if self._turns is None:
            return nullcontext()
        return self._turns.lent(f"generation with {model.name}")

    def _end_children(self) -> None:
        for engine in _IN_CHILD:
            with self._starting[engine]:
                child = self._children.pop(engine, None)
                if child is not None:
                    child.close()

    def _by_child(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal,
    ) -> list[list[Completion]]:
        while True:
            try:
                return self._living(model.engine, cancelled).generate(model, requests, cancelled, journal)
            except ChildGone:  # it died of another batch while this one waited: no fault of this one
                if cancelled():
                    raise Cancelled from None

    def _living(self, engine: str, cancelled: Callable[[], bool]) -> ChildEngine:
        while not self._starting[engine].acquire(timeout=0.2):
            if cancelled():
                raise Cancelled
        try:
            child = self._children.get(engine)
            if child is None or not child.alive:
                python = self._pythons.get(engine)
                child = ChildEngine(
                    engine,
                    loaded=self._loaded,
                    threads=self._threads,
                    stall_seconds=self._stall_seconds,
                    python=python,
                    cancelled=cancelled,
                )
                self._children[engine] = child
            return child
        finally:
            self._starting[engine].release()

    def _server(self, model: ModelSpec) -> OpenAIEngine:
        # Imported on first use: a worker whose models are all loaded on demand needs none of it.
        from workers.engines.openai_engine import OpenAIEngine
        from workers.engines.openai_loop import ServerLoop

        key = json.dumps([model.name, model.config], sort_keys=True)
        with self._starting["openai"]:
            if self._loop is None:
                self._loop = ServerLoop()
            if key not in self._servers:
                self._servers[key] = OpenAIEngine(model.name, model.config, self._loop)
            return self._servers[key]
