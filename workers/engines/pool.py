"""Which engine answers for which language model: started on first use, swapped, restarted after a death."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from models.telemetry.metrics import ENGINE_SECONDS, ENGINE_TOKENS, timed
from models.telemetry.tracing import span
from workers.engines.base import (
    Cancelled,
    Completion,
    EngineError,
    GenerationRequest,
    Hear,
    Journal,
    ModelSpec,
    ScoreRequest,
    Scores,
    fallbacks,
    load_class,
    require_scoring,
    storable,
)
from workers.engines.follow_ups import FollowUp, in_rounds
from workers.engines.kept import Keep
from workers.engines.marks import place_mark, weights_mark
from workers.engines.openai_call import Call
from workers.engines.process import ChildEngine, ChildGone
from workers.engines.registry import ENGINES, EngineKind
from workers.gpu import GpuLock, SharedGpu

if TYPE_CHECKING:
    from workers.engines.openai_batched import BatchedCalls
    from workers.engines.openai_engine import OpenAIEngine
    from workers.engines.openai_loop import ServerLoop

log = logging.getLogger(__name__)
_SERVERS = "servers"  # the name of the lock that all engines over HTTP share
T = TypeVar("T")


class EnginePool:
    """Runs engines: one child process per kind, which keeps ``loaded`` models at once; servers over HTTP. Thread-safe.

    A server and vLLM take the batches of every thread together, the transformers engine takes one after another. Where
    two kinds of child are used on one device, each needs its share of the memory (setting ``gpu_memory_utilization`` of
    vllm's entries). ``pythons``: the interpreters of engines whose children do not run in ours. With ``gpu`` the
    children run while the GPU is lent to us (workers.gpu).
    """

    def __init__(
        self,
        *,
        loaded: int = 1,
        threads: int = 0,
        stall_seconds: float = 3600.0,
        pythons: Mapping[str, str] | None = None,
        gpu: GpuLock | None = None,
    ) -> None:
        self._loaded, self._threads, self._stall_seconds = loaded, threads, stall_seconds
        self._pythons = pythons or {}
        self._children: dict[str, ChildEngine] = {}
        self._servers: dict[str, OpenAIEngine] = {}
        self._loop: ServerLoop | None = None
        self._gpu = None if gpu is None else SharedGpu(gpu, self._end_children)
        # One each: a child that loads its libraries for a minute keeps nobody from a server.
        self._starting = {name: threading.Lock() for name in (*ENGINES, _SERVERS)}

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
        hear: Hear | None = None,
        keep: Keep | None = None,
    ) -> list[list[Completion]]:
        """Completions per request from the named model. Raises EngineError, or Cancelled soon after ``cancelled()``.

        ``journal`` is told which engine answered, what it did without and what was asked again, failures included.
        With ``follow_up`` the last completions of each request. With ``hear`` somebody waits for each word: these
        requests go before those of jobs, and their texts are told as they grow, where the engine can. With ``keep`` an
        entry that asks in batches does so, and Parked is raised until all answers are kept.
        """
        if not requests:
            return []
        journal = Journal() if journal is None else journal
        with _observed(model, "generate", len(requests)) as spent:
            found = self._generate(model, requests, cancelled, journal, follow_up, hear, keep)
            if not journal.batched:  # those of batches are counted once, when they come (workers.batches.poller)
                spent += [completion for completions in found for completion in completions]
        return found

    def batches(self, model: ModelSpec) -> BatchedCalls:
        """The way to batches that were made for the model. Raises EngineError where its entry makes none."""
        found = self._server(_kind(model, Journal()), model).batches
        if found is None:
            raise EngineError(f"language model {model.name!r}: its entry has no setting batch")
        return found

    def _generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal,
        follow_up: FollowUp | None,
        hear: Hear | None,
        keep: Keep | None,
    ) -> list[list[Completion]]:
        kind = _kind(model, journal)
        if not kind.in_child:
            return self._by_server(kind, model, requests, cancelled, journal, follow_up, hear, keep)

        # The GPU is lent per round and not per call: between two rounds training may have its turn.
        def ask(asked: Sequence[GenerationRequest]) -> list[list[Completion]]:
            found = self._by_child(
                kind, model, cancelled, journal, lambda child: child.generate(model, asked, cancelled, journal, hear)
            )
            return [[storable(completion) for completion in result] for result in found]

        return in_rounds(ask, requests, follow_up)

    def weights(self, model: ModelSpec, cancelled: Callable[[], bool], journal: Journal) -> str | None:
        """The mark of what stands behind the model's name now; None where it may change unseen. Starts no child.

        A child's weights are looked at on this machine. A server tells little of its own: it has a mark where its entry
        names the ``revision`` that it was started with.
        """
        kind = _kind(model, journal)
        if kind.in_child:
            return weights_mark(model.config)
        if not model.config.get("revision"):
            return None
        with self._connected(kind, model, cancelled, journal) as server:
            return _served_mark(model, server)

    def score(
        self,
        model: ModelSpec,
        requests: Sequence[ScoreRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
    ) -> list[Scores]:
        """Scores per request. Raises EngineError where the engine lacks ``prompt_logprobs``; else as ``generate``."""
        if not requests:
            return []
        journal = Journal() if journal is None else journal
        with _observed(model, "score", len(requests)) as spent:
            found = self._score(model, requests, cancelled, journal)
            spent += found
        return found

    def _score(
        self, model: ModelSpec, requests: Sequence[ScoreRequest], cancelled: Callable[[], bool], journal: Journal
    ) -> list[Scores]:
        kind = _kind(model, journal)
        if kind.in_child:
            return self._by_child(
                kind, model, cancelled, journal, lambda child: child.score(model, requests, cancelled, journal)
            )
        with self._connected(kind, model, cancelled, journal) as server:
            require_scoring(model.name, server.capabilities)
            return server.score(requests, cancelled, journal.retried, journal.meter)

    def _by_server(
        self,
        kind: EngineKind,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal,
        follow_up: FollowUp | None,
        hear: Hear | None,
        keep: Keep | None,
    ) -> list[list[Completion]]:
        with self._connected(kind, model, cancelled, journal) as server:
            journal.fallbacks.update(fallbacks(model.name, server.capabilities, requests))
            journal.weights = _served_mark(model, server)
            if keep is not None and server.batches is not None:
                journal.batched = True
                call = Call(journal.retried, follow_up, journal.meter, cancelled=cancelled)
                return server.generate_in_batches(server.batches, requests, cancelled, call, keep)
            journal.meter.doing("waiting for the server's answers")
            found = server.generate(requests, cancelled, journal.retried, follow_up, journal.meter, hear)
            journal.weights = _served_mark(model, server)
            return found

    @contextmanager
    def _connected(
        self, kind: EngineKind, model: ModelSpec, cancelled: Callable[[], bool], journal: Journal
    ) -> Iterator[OpenAIEngine]:
        """The model's server, asked what it is; what is done with it counts as the engine's time."""
        server = self._server(kind, model)
        server.connect(cancelled, journal.retried)
        journal.version, journal.capabilities = server.version, server.capabilities
        started = time.monotonic()
        try:
            yield server
        finally:  # failed or not, the server worked for it
            journal.seconds += time.monotonic() - started

    def close(self) -> None:
        """End the children and close the connections. A later call starts others, but not on a shared GPU."""
        self._end_children()
        if self._gpu is not None:
            self._gpu.close()
        with self._starting[_SERVERS]:
            if self._loop is not None:
                self._loop.close([server.close() for server in self._servers.values()])
            self._servers.clear()
            self._loop = None

    def _end_children(self) -> None:
        for engine in self._starting:
            with self._starting[engine]:
                child = self._children.pop(engine, None)
                if child is not None:
                    child.close()

    def _by_child(
        self,
        kind: EngineKind,
        model: ModelSpec,
        cancelled: Callable[[], bool],
        journal: Journal,
        ask: Callable[[ChildEngine], T],
    ) -> T:
        """What a living child answers, while the GPU is lent to us."""
        with nullcontext() if self._gpu is None else self._gpu.lent(f"generation with {model.name}"):
            while True:
                try:
                    journal.meter.doing("waiting for the engine")
                    return ask(self._living_child(kind, cancelled, journal))
                except ChildGone:  # it died of another batch while this one waited: no fault of this one
                    if cancelled():
                        raise Cancelled from None

    def _living_child(self, kind: EngineKind, cancelled: Callable[[], bool], journal: Journal) -> ChildEngine:
        while not self._starting[kind.name].acquire(timeout=0.2):
            if cancelled():
                raise Cancelled
        try:
            # Looked at under the lock: of several threads that find it dead, one starts the next.
            child = self._children.get(kind.name)
            if child is not None and not child.alive:
                log.warning("the engine %s has ended", kind.name)
                child.close()  # waits until its whole group is gone: the next one needs the memory of its GPUs
                child = None
            if child is None:
                journal.meter.doing("starting the engine")
                child = ChildEngine(
                    kind,
                    loaded=self._loaded,
                    threads=self._threads,
                    stall_seconds=self._stall_seconds,
                    python=self._pythons.get(kind.name),
                    cancelled=cancelled,
                )
                self._children[kind.name] = child
                log.info("the engine %s has started", kind.name, extra={"pid": child.pid})
            return child
        finally:
            self._starting[kind.name].release()

    def _server(self, kind: EngineKind, model: ModelSpec) -> OpenAIEngine:
        # Imported on first use: a worker whose models are all loaded on demand needs none of it.
        from workers.engines.openai_loop import ServerLoop

        # By name and settings: an entry that the operator changed is another server, and the old one goes on.
        key = json.dumps([model.name, model.engine, model.config], sort_keys=True)
        with self._starting[_SERVERS]:
            if self._loop is None:
                self._loop = ServerLoop()
            if key not in self._servers:
                self._servers[key] = load_class(kind.implementation)(model.name, model.config, self._loop)
            return self._servers[key]


@contextmanager
def _observed(model: ModelSpec, operation: str, requests: int) -> Iterator[list[Completion | Scores]]:
    """A batch, told of in metrics and trace. What it gave is added to the list, whose tokens are counted."""
    engine = model.engine if model.engine in ENGINES else "unknown"
    spent: list[Completion | Scores] = []
    about: dict[str, Any] = {
        "gen_ai__operation__name": operation,
        "gen_ai__request__model": model.name,
        "errata__requests": requests,
    }
    with timed(ENGINE_SECONDS, engine, operation), span(f"engine {operation}", errata__engine=engine, **about) as told:
        yield spent
        for kind in ("prompt", "completion", "cached"):
            tokens = sum(getattr(each, f"{kind}_tokens", 0) for each in spent)
            ENGINE_TOKENS.labels(engine, kind).inc(tokens)
            told.set(**{f"errata__{kind}_tokens": tokens})


def _served_mark(model: ModelSpec, server: OpenAIEngine) -> str | None:
    """What the server says of itself, with the adapter's folder, for an entry that names its revision."""
    adapter = model.config.get("adapter")
    marks = [server.mark, "" if adapter is None else place_mark(adapter)]
    known = [mark for mark in marks if mark is not None]
    return " ".join(known) if model.config.get("revision") and len(known) == len(marks) else None


def _kind(model: ModelSpec, journal: Journal) -> EngineKind:
    """The model's engine. Raises EngineError for one that is not installed here."""
    journal.engine = model.engine  # before anything can fail: the events of a failure name the engine
    kind = ENGINES.get(model.engine)
    if kind is None:
        raise EngineError(f"language model {model.name!r}: no engine named {model.engine!r} is installed here")
    return kind
