"""A worker's side of an engine child: start it, send it requests, cancel, notice its death. Loads no torch."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from workers.engines.base import (
    Cancelled,
    Capabilities,
    Completion,
    EngineError,
    GenerationRequest,
    Journal,
    ModelSpec,
    fallbacks,
)
from workers.engines.wire import completion_from_json, request_to_json

log = logging.getLogger(__name__)
_CANCEL_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_ROOT = Path(__file__).resolve().parents[2]


_BATCHES = {"vllm": 64}  # at once; the transformers engine takes one, so that a death is told of that one alone


class ChildGone(EngineError):
    """The child had ended before it was given the whole batch: another child may serve it."""


class _Batch:
    """A batch the child works on, and where its answer will arrive; None: the child has ended."""

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.shared = False  # others were open when the child ended


class ChildEngine:
    """A process that runs engines. Thread-safe: as many batches at once as the engine takes, others wait their turn.

    The child's death is an error of the batch it was working on (a failure, not an interruption: the same requests
    may have killed it), or of all of them, then ``shared``; ``alive`` is false and the pool starts a new one.
    """

    def __init__(
        self,
        engine: str = "transformers",
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
        env = os.environ | {"ERRATA_TORCH_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        if python is not None:  # that environment has the engine's libraries, not ours: it finds these rooms by path
            env["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [env.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", "workers.engines.child", engine, str(loaded)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
        self._turns = threading.BoundedSemaphore(_BATCHES.get(engine, 1))
        self._writing, self._opening = threading.Lock(), threading.Lock()
        self._numbers = itertools.count(1)
        self.stall_seconds, self._heard, self._hung = stall_seconds, time.monotonic(), False
        first = _Batch()
        self._open: dict[int, _Batch] = {0: first}  # the child's first line has no number
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        try:
            ready = self._until_ready(first, time.monotonic() + start_seconds, cancelled)
        except (EngineError, Cancelled):
            self.close()
            raise
        del self._open[0]
        self.versions: dict[str, str] = ready["ready"]
        self.engine = engine

    def _until_ready(self, first: _Batch, deadline: float, cancelled: Callable[[], bool]) -> dict[str, Any]:
        while True:
            try:
                return self._next(first, _LOOK_SECONDS)
            except queue.Empty:
                if cancelled():
                    raise Cancelled from None
                if time.monotonic() > deadline:
                    raise EngineError("the engine took too long to start") from None

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
    ) -> list[list[Completion]]:
        """Completions per request; see workers.engines.base. Raises EngineError when the child fails or dies.

        A model that is not loaded yet is loaded first; its load may be cancelled only by ending the child.
        """
        while not self._turns.acquire(timeout=_LOOK_SECONDS):
            if cancelled():
                raise Cancelled
        try:
            answer = self._ask({"config": model.config, "requests": [request_to_json(r) for r in requests]}, cancelled)
        finally:
            self._turns.release()
        if journal is not None:
            able = Capabilities(**answer["capabilities"])
            journal.version, journal.capabilities = answer["version"], able
            journal.seconds += answer["seconds"]
            journal.fallbacks.update(fallbacks(model.name, able, requests))
        return [[completion_from_json(c) for c in result] for result in answer["completions"]]

    def _ask(self, message: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        number, batch = next(self._numbers), _Batch()
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
                    if len(self._open) == 1:
                        self.close()  # deaf to the cancellation: nothing else frees the device
                    raise Cancelled from None
                if time.monotonic() - self._heard > self.stall_seconds:
                    self._hung = True
                    self.close()  # which all its batches are told
                elif cancelled():
                    stopping = True
                    self._send({"cancel": number})
                continue
            if answer.get("cancelled") or stopping:
                raise Cancelled
            return answer

    def close(self) -> None:
        """End the child and wait for it."""
        if self.alive:
            with suppress(ProcessLookupError):  # its group: tensor parallel ranks are processes of their own
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message) + "\n"
        self._heard = time.monotonic()
        try:
            assert self._process.stdin is not None
            with self._writing:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except OSError as error:
            raise ChildGone(self._death()) from error

    def _next(self, batch: _Batch, timeout: float) -> dict[str, Any]:
        answer = batch.answers.get(timeout=timeout)
        if answer is None:
            raise EngineError(self._death(), shared=batch.shared)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            answer = json.loads(line)
            self._heard = time.monotonic()
            batch = self._open.get(answer.get("id", 0))
            if batch is not None:  # else nobody waits for it any more
                batch.answers.put(answer)
        self._process.wait()
        with self._opening:
            for batch in self._open.values():
                batch.shared = len(self._open) > 1
                batch.answers.put(None)

    def _death(self) -> str:
        self._process.wait()
        if self._hung:
            return f"the engine did nothing for {self.stall_seconds:g} s and was ended"
        return f"the engine's process ended with code {self._process.returncode} (-9: killed, or out of memory)"
