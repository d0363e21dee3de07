"""The judge: answers compared in child processes that can be killed (RELIABILITY.md).

Verdicts come from ``errata.answers``; here is only what keeps them harmless: memory, CPU and wall limits, kill and
respawn. An item that brings its child down is a ``timeout``; its neighbors are judged again by a fresh child.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from errata.answers import VERIFIERS, CodeExecutionDisabled, Judgement
from errata.types import Domain, Problem, Verdict
from workers.child_process import ChildEnded, ChildLate, ChildProcess

BATCH = 64
MAX_TEXT = 200_000
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """One solution text to compare with its problem's gold answer."""

    problem: Problem
    text: str
    domain: Domain


class JudgeClosed(RuntimeError):
    """The pool has been closed."""


class JudgeUnavailable(RuntimeError):
    """A judge child cannot be started: an error of this machine, not of an answer."""


class _ChildLost(Exception):
    """The child ended or was late, after these judgements; the item behind them is at fault."""

    def __init__(self, judged: list[Judgement], seconds: float) -> None:
        super().__init__("judge child lost")
        self.judged, self.seconds = judged, seconds


def _never() -> bool:
    return False


def _start_child(arguments: Sequence[str]) -> ChildProcess:
    # No secret of ours reaches a process that reads hostile text: the environment is made anew.
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    env = {**keep, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return ChildProcess("judge", [sys.executable, "-m", "workers.judge_child", *arguments], env=env, echo=False)


class JudgePool:
    """Up to ``size`` children, started on first use, shared by any number of threads.

    ``wall_seconds`` bounds one item, so that none takes 10 s (loading sympy, once per child, is not counted);
    ``memory_mb`` bounds a child's address space. Code runs only with ``allow_code``.
    """

    def __init__(
        self, size: int = 1, wall_seconds: float = 6.0, memory_mb: int = 2048, *, allow_code: bool = False
    ) -> None:
        self._arguments = (str(max(1, round(wall_seconds))), str(memory_mb), "1" if allow_code else "0")
        self._wall_seconds = wall_seconds
        self._allow_code = allow_code
        # Last in, first out: the child that has sympy loaded is used before one that has not, or is not started.
        self._slots: queue.LifoQueue[ChildProcess | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._executor = ThreadPoolExecutor(size, "judge")
        self._children: set[ChildProcess] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def judge_many(self, items: Sequence[JudgeItem], cancelled: Callable[[], bool] | None = None) -> list[Judgement]:
        """Judgements in the order of ``items``; when cancelled, only those of a prefix of them.

        Raises CodeExecutionDisabled for a code item in a pool that may not run code, or on a machine that cannot
        isolate it, JudgeUnavailable where no child starts, and JudgeClosed on a closed pool.
        """
        if self._closed.is_set():
            raise JudgeClosed
        if not self._allow_code and any(item.domain is Domain.CODE for item in items):
            raise CodeExecutionDisabled("running code is off; the operator turns it on in the worker's settings")
        stop = cancelled or _never
        batches = [items[at : at + BATCH] for at in range(0, len(items), BATCH)]
        done: list[Judgement] = []
        # All are submitted before the first is awaited: the children work side by side.
        for batch, future in [(b, self._executor.submit(self._run, b, stop)) for b in batches]:
            judged = future.result()
            done += judged
            if len(judged) < len(batch):  # cancelled: what later batches found would leave a hole
                break
        return done

    def close(self) -> None:
        """Kill the children. Calls still running raise JudgeClosed."""
        self._closed.set()
        with self._lock:
            children = list(self._children)
        for child in children:
            child.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> JudgePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, items: Sequence[JudgeItem], cancelled: Callable[[], bool]) -> list[Judgement]:
        """Judge one batch with whichever child is free, replacing the child whenever an item brings it down."""
        child = self._slots.get()
        judged: list[Judgement] = []
        sound = True  # whether the child waits for its next batch, and not amid one
        try:
            while len(judged) < len(items) and not cancelled():
                child = child or self._start(cancelled)
                if child is None:
                    break
                sound = False
                try:
                    judged += self._ask(child, items[len(judged) :], cancelled)
                    sound = len(judged) == len(items)
                except _ChildLost as lost:
                    self._end(child)
                    child = None
                    if self._closed.is_set():
                        raise JudgeClosed from lost
                    judged += lost.judged
                    # The item it was at takes the blame; those behind it are given to the next child.
                    judged.append(self._timed_out(items[len(judged)], lost.seconds))
                else:
                    break
            return judged
        finally:
            if child is not None and not sound:  # cancelled or failed: it is busy with what nobody wants
                self._end(child)
                child = None
            self._slots.put(child)

    def _start(self, cancelled: Callable[[], bool]) -> ChildProcess | None:
        """A child that is ready; None when cancelled."""
        with self._lock:  # close() kills the children it finds; none may be added behind its back
            if self._closed.is_set():
                raise JudgeClosed
            child = _start_child(self._arguments)
            self._children.add(child)
        try:
            ready = child.wait_ready(json.loads, _START_SECONDS, cancelled)
        except (ChildEnded, ChildLate) as error:
            self._end(child)
            if self._closed.is_set():
                raise JudgeClosed from error
            told = child.last_words(lines=1) or str(error)
            raise JudgeUnavailable(f"the judge's child process ended before it was ready: {told}") from error
        if ready is None:
            self._end(child)
            return None
        return child

    def _end(self, child: ChildProcess) -> None:
        child.kill()
        with self._lock:
            self._children.discard(child)

    def _ask(self, child: ChildProcess, items: Sequence[JudgeItem], cancelled: Callable[[], bool]) -> list[Judgement]:
        """Judgements of the items, fewer when cancelled. Raises _ChildLost with those made before."""
        judged: list[Judgement] = []
        started = time.monotonic()

        def reply(seconds: float) -> dict[str, Any] | None:
            line = child.read_line(seconds, cancelled)
            return None if line is None else json.loads(line)

        try:
            child.send(json.dumps([_payload(item) for item in items]) + "\n")
            for item in items:
                started = time.monotonic()
                answer = reply(self._wall_seconds)
                if answer == {"state": "loading"} and reply(_START_SECONDS):
                    started = time.monotonic()  # loading sympy is not the item's fault
                    answer = reply(self._wall_seconds)
                if answer is None or "state" in answer:
                    break  # cancelled
                judged.append(_judgement(item, answer, time.monotonic() - started))
        except (ChildEnded, ChildLate) as error:
            raise _ChildLost(judged, time.monotonic() - started) from error
        return judged

    def _timed_out(self, item: JudgeItem, seconds: float) -> Judgement:
        report = f"the comparison exceeded {self._wall_seconds:g} s or its memory, and was killed"
        return Judgement(Verdict.TIMEOUT, None, VERIFIERS[item.domain].tag, report, seconds)


def _payload(item: JudgeItem) -> dict[str, Any]:
    problem = item.problem
    return {
        "question": "",  # no verdict depends on it
        "gold": problem.gold_answer,
        "meta": problem.meta,
        "text": item.text[-MAX_TEXT:],  # answers stand at the end
        "domain": str(item.domain),
    }


def _judgement(item: JudgeItem, reply: dict[str, Any], seconds: float) -> Judgement:
    if "disabled" in reply:
        raise CodeExecutionDisabled(reply["disabled"])
    judged = Judgement(
        Verdict(reply["verdict"]),
        reply.get("extracted"),
        reply.get("verifier") or VERIFIERS[item.domain].tag,
        reply.get("report", ""),
    )
    return replace(judged, seconds=seconds)
