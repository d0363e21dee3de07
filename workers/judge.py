"""The answer judge: verdicts are computed in killable child processes, so that no answer can hold a worker.

Comparing answers runs a computer algebra system on text that a language model wrote; some of it hangs beyond any
in-process alarm (``9^{9^{9}}``). A child that exceeds its time, CPU or memory is killed and replaced, and the item at
fault gets the verdict ``timeout``, which is never ``incorrect``.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from errata.answers import Judgement
from errata.types import Domain, Problem, Verdict
from workers.engines.base import Cancelled

_BATCH = 64  # items per round trip
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """A text to judge against a problem's gold answer."""

    problem: Problem
    text: str
    domain: Domain = Domain.MATH


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A stored verdict that a newer verifier no longer gives."""

    index: int
    before: Verdict
    after: Verdict


def compare_verdicts(stored: Sequence[Verdict], rejudged: Sequence[Judgement]) -> list[VerdictChange]:
    """What re-judging the same samples changed, in order. Raises ValueError when the lengths differ."""
    pairs = enumerate(zip(stored, rejudged, strict=True))
    return [VerdictChange(at, old, new.verdict) for at, (old, new) in pairs if old is not new.verdict]


class _Dead(Exception):
    """The child died or did not answer in time."""


class _Child:
    """One judge process and the thread that reads its lines."""

    def __init__(self, cpu_seconds: float, memory_mb: int, code: bool) -> None:
        limits = json.dumps({"cpu_seconds": cpu_seconds, "memory_mb": memory_mb, "code": code})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.judge_child", limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        self.next(_START_SECONDS)

    def send(self, items: Sequence[JudgeItem]) -> None:
        """Send a batch. Raises _Dead."""
        try:
            assert self._process.stdin is not None
            for item in items:
                self._process.stdin.write(json.dumps(asdict(item)) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _Dead from error

    def next(self, seconds: float) -> dict[str, Any]:
        """The next line of the child. Raises _Dead when it does not come in time."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise _Dead from None
        if line is None:
            raise _Dead
        return line

    def kill(self) -> None:
        """End the child at once and reap it."""
        self._process.kill()
        self._process.wait()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)


class JudgePool:
    """``size`` judge children, started on first use. Thread-safe: each call works with one child."""

    def __init__(
        self, size: int = 1, *, wall_seconds: float = 10.0, memory_mb: int = 2048, allow_code: bool = False
    ) -> None:
        self._wall, self._memory, self._code = wall_seconds, memory_mb, allow_code
        self._idle: queue.Queue[_Child | None] = queue.Queue()
        for _ in range(size):
            self._idle.put(None)

    def judge_many(self, items: Sequence[JudgeItem], cancelled: Callable[[], bool] | None = None) -> list[Judgement]:
        """One judgement per item, in order. Raises Cancelled between batches when ``cancelled()``."""
        results: list[Judgement] = []
        while len(results) < len(items):
            if cancelled is not None and cancelled():
                raise Cancelled
            batch = items[len(results) : len(results) + _BATCH]
            with self._borrow() as slot:
                results += self._batch(slot, batch)
        return results

    def close(self) -> None:
        """End the children that are idle."""
        for _ in range(self._idle.qsize()):
            child = self._idle.get()
            if child is not None:
                child.kill()
            self._idle.put(None)

    @contextmanager
    def _borrow(self) -> Iterator[list[_Child | None]]:
        slot = [self._idle.get()]
        try:
            yield slot
        finally:
            self._idle.put(slot[0])

    def _batch(self, slot: list[_Child | None], batch: Sequence[JudgeItem]) -> list[Judgement]:
        """Judge a batch with the slot's child; ends early, with the item at fault, when the child has to be killed."""
        results: list[Judgement] = []
        child = slot[0]
        try:
            if child is None:
                child = slot[0] = _Child(self._wall, self._memory, self._code)
            child.send(batch)
            for _ in batch:
                answer = child.next(self._wall)
                results.append(Judgement(**{**answer, "verdict": Verdict(answer["verdict"])}))
        except _Dead:
            if child is None:
                raise RuntimeError("the answer judge could not be started") from None
            slot[0] = None
            child.kill()
            results.append(Judgement(Verdict.TIMEOUT, None, "judge/killed", "over its limits", self._wall))
        return results
