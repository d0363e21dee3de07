"""A worker's side of an engine child: start it, send it requests, cancel, notice its death. Loads no torch."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.child_process import ChildEnded, ChildLate, ChildProcess
from workers.engines.base import (
    Cancelled,
    Capabilities,
    Completion,
    EngineError,
    GenerationRequest,
    Hear,
    Journal,
    LacksCapability,
    ModelSpec,
    PromptRefused,
    ScoreRequest,
    Scores,
    fallbacks,
    scores_from_json,
)
from workers.engines.meter import Meter, SoFar
from workers.engines.registry import EngineKind
from workers.engines.turns import Turns

log = logging.getLogger(__name__)
_CANCEL_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_ROOT = Path(__file__).resolve().parents[2]


class ChildGone(EngineError):
    """The child had ended before it was given the whole batch: another child may serve it."""


class _Batch:
    """A batch the child works on, and where its answer will arrive; None: the child has ended."""

    def __init__(self, meter: Meter, tell: Callable[[SoFar], None], hear: Hear | None = None) -> None:
        self.hear = hear
        self.answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.meter, self.tell = meter, tell  # how far it is; ``tell``: what it has made until now
        self.shared = False  # others were open when the child ended


class ChildEngine:
    """A process that runs engines. Thread-safe: as many batches at once as the engine takes, others wait their turn.

    The child's death is an error of the batch it was working on (a failure, not an interruption: the same requests
    may have killed it), or of all of them, then ``shared``; ``alive`` is false and the pool starts a new one.
    """

    def __init__(
        self,
        kind: EngineKind,
        *,
        loaded: int = 1,
        threads: int = 0,
        start_seconds: float = 600.0,
        stall_seconds: float = 3600.0,
        python: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start ``python`` (another environment's, where the engine's pins clash with ours) and wait until ready.

        A child that has batches and no word for ``stall_seconds`` is ended; loading a model is silent too.
        Raises EngineError when it does not become ready, and Cancelled; the process is then ended.
        """
        env = {**kind.environment, **os.environ}
        env |= {"ERRATA_TORCH_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        if python is not None:  # that environment has the engine's libraries, not ours: it finds these rooms by path
            env["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [env.get("PYTHONPATH")])])
        command = [python or sys.executable, "-m", "workers.engines.child", kind.implementation, str(loaded)]
        self._child = ChildProcess(f"engine-{kind.name}", command, env=env)
        self._turns = Turns(kind.batches)
        self._opening = threading.Lock()
        self._numbers = itertools.count(1)
        self.stall_seconds, self._heard, self._hung = stall_seconds, time.monotonic(), False
        self._open: dict[int, _Batch] = {}
        self._wait_ready(kind.name, start_seconds, cancelled)
        threading.Thread(target=self._route, name=f"engine-{kind.name}-answers", daemon=True).start()

    def _wait_ready(self, engine: str, seconds: float, cancelled: Callable[[], bool]) -> None:
        """Wait for the child's first line, which says that its libraries are loaded, or why not."""
        try:
            first: dict[str, Any] | None = self._child.wait_ready(json.loads, seconds, cancelled)
        except ChildLate:
            raise EngineError("the engine took too long to start") from None
        except ChildEnded:
            raise EngineError(self._death()) from None
        if first is None:
            raise Cancelled
        if "error" in first:
            self.close()
            raise EngineError(f"engine {engine!r} {first['error']}")

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.alive

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
        hear: Hear | None = None,
    ) -> list[list[Completion]]:
        """Completions per request; see workers.engines.base. Raises EngineError when the child fails or dies.

        A model that is not loaded yet is loaded first; its load may be cancelled only by ending the child.
        With ``hear`` somebody listens: the batch is the next that the engine takes.
        """
        journal = Journal() if journal is None else journal
        message: dict[str, Any] = {"config": model.config, "requests": [asdict(r) for r in requests]}
        if hear is not None:
            message["stream"] = True
        answer = self._in_turn(message, cancelled, _Batch(journal.meter, journal.meter.tell, hear))
        able = _noted(journal, answer)
        journal.fallbacks.update(fallbacks(model.name, able, requests))
        found = [[Completion(**c) for c in result] for result in answer["completions"]]
        journal.meter.add([completion for result in found for completion in result])
        return found

    def score(
        self,
        model: ModelSpec,
        requests: Sequence[ScoreRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
    ) -> list[Scores]:
        """Scores per request; see ``generate``. Raises EngineError for an engine without ``prompt_logprobs`` too."""
        meter = (journal := Journal() if journal is None else journal).meter
        message = {"config": model.config, "model": model.name, "scored": [asdict(r) for r in requests]}
        batch = _Batch(meter, lambda so_far: meter.tell_scored(so_far.done / len(requests)))
        answer = self._in_turn(message, cancelled, batch)
        _noted(journal, answer)
        found = [scores_from_json(each) for each in answer["scores"]]
        meter.add_scores(found)
        return found

    def _in_turn(self, message: dict[str, Any], cancelled: Callable[[], bool], batch: _Batch) -> dict[str, Any]:
        """The answer to a batch, once the engine has room for it."""
        with self._turns.turn(cancelled, urgent=batch.hear is not None):
            return self._ask(message, cancelled, batch)

    def _ask(self, message: dict[str, Any], cancelled: Callable[[], bool], batch: _Batch) -> dict[str, Any]:
        number = next(self._numbers)
        # With the lock a batch is opened either before the death is told to all, and is told, or after, and sees it.
        with self._opening:
            if not self.alive:
                raise ChildGone(self._death())
            self._open[number] = batch
        try:
            self._send({"id": number, **message})
            return self._await(number, batch, cancelled)
        finally:
            with self._opening:
                self._open.pop(number, None)

    def _await(self, number: int, batch: _Batch, cancelled: Callable[[], bool]) -> dict[str, Any]:
        stopping = False
        while True:
            try:
                answer = self._next(batch, _CANCEL_GRACE_SECONDS if stopping else _LOOK_SECONDS)
            except queue.Empty:
                if stopping:
                    # Others' batches are not given up for this one's sake: the child goes on, and its late answer finds
                    # nobody.
                    if len(self._open) == 1:
                        self.close()  # deaf to the cancellation: nothing else frees the device
                    raise Cancelled from None
                # Silence is the child's, not the batch's: it may work for others, whose answers show that it lives.
                if time.monotonic() - self._heard > self.stall_seconds:
                    self._hung = True
                    self.close()  # which all its batches are told
                elif cancelled():
                    stopping = True
                    self._send({"cancel": number})
                continue
            if answer.get("cancelled") or stopping:  # the answer may have crossed the cancellation
                raise Cancelled
            return answer

    def close(self) -> None:
        """End the child, and with it the processes of its tensor-parallel ranks."""
        self._child.kill()

    def _send(self, message: dict[str, Any]) -> None:
        # The silence that counts begins when there is something to do; an idle child may be silent for days.
        self._heard = time.monotonic()
        try:
            self._child.send(json.dumps(message) + "\n", self.stall_seconds)
        except ChildEnded as error:
            raise ChildGone(self._death()) from error
        except ChildLate as error:
            self._hung = True
            self.close()
            raise EngineError(self._death(), shared=len(self._open) > 1) from error

    def _next(self, batch: _Batch, timeout: float) -> dict[str, Any]:
        answer = batch.answers.get(timeout=timeout)
        if answer is None:
            raise EngineError(self._death(), shared=batch.shared)
        if "error" in answer:
            kind = LacksCapability if answer.get("lacks") else PromptRefused if answer.get("refused") else EngineError
            raise kind(answer["error"])
        return answer

    def _route(self) -> None:
        """Give each answer to the batch that waits for it, and tell all of them when the child has ended."""
        with suppress(ChildEnded):
            while (line := self._child.read_line()) is not None:
                self._heard = time.monotonic()
                answer = json.loads(line)
                self._meter(answer)
                batch = self._open.get(answer.get("id", 0))
                if batch is not None:  # else nobody waits for it any more
                    batch.answers.put(answer)
        with self._opening:
            for batch in self._open.values():
                # Of several batches any may have killed it. Alone, a batch is to blame: that counts as its failure.
                batch.shared = len(self._open) > 1
                batch.answers.put(None)

    def _meter(self, told: dict[str, Any]) -> None:
        """Pass on how far the open batches are."""
        if (batch := self._open.get(told.get("loading", 0))) is not None:
            batch.meter.doing("loading the language model")
        if "texts" in told and (batch := self._open.get(told["texts"][0])) is not None and batch.hear is not None:
            batch.hear([(request, sample, text) for request, sample, text in told["texts"][1]])
        for number, *so_far in told.get("pulse", ()):
            if (batch := self._open.get(number)) is not None:
                batch.tell(SoFar(*so_far))

    def _death(self) -> str:
        if self._hung:
            return f"the engine did nothing for {self.stall_seconds:g} s and was ended"
        self._child.wait(_CANCEL_GRACE_SECONDS)
        words = self._child.last_words(lines=3)
        return f"the engine's process {self._child.how_it_ended()}" + (f"; its last words: {words}" if words else "")


def _noted(journal: Journal, answer: dict[str, Any]) -> Capabilities:
    """Write down who answered and how long it worked."""
    able = Capabilities(**answer["capabilities"])
    journal.version, journal.capabilities, journal.weights = answer["version"], able, answer["weights"]
    journal.seconds += answer["seconds"]
    return able
