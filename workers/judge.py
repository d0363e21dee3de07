"""The judge: answers compared in child processes that can be killed (RELIABILITY.md).

Verdicts come from ``errata.answers``; here is only what keeps them harmless: memory, CPU and wall limits, kill and
respawn. An item that brings its child down is a ``timeout``; its neighbors are judged again by a fresh child.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from errata.answers import VERIFIERS, CodeExecutionDisabled, Judgement
from errata.types import Domain, Problem, Verdict

BATCH = 64
MAX_TEXT = 200_000
_POLL = 0.1
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
    """The child ended, or was late and is to be killed."""


class _Child:
    """One child process and its pipe. Not thread-safe: the pool lends it to one thread at a time."""

    def __init__(self, arguments: Sequence[str]) -> None:
        # No secret of ours reaches a process that reads hostile text: the environment is made anew.
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.judge_child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**keep, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
        self._pending = b""
        self.ready = False

    def send(self, batch: list[dict[str, Any]]) -> None:
        """Hand over a batch. Raises _ChildLost."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(batch).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _ChildLost from error

    def reply(self, seconds: float, cancelled: Callable[[], bool]) -> dict[str, Any] | None:
        """The next line within ``seconds``; None when cancelled. Raises _ChildLost."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _ChildLost
            ready, _, _ = select.select([fd], [], [], min(left, _POLL))
            if ready:
                piece = os.read(fd, 1 << 16)
                if not piece:
                    raise _ChildLost
                self._pending += piece
            elif cancelled():
                return None
        line, _, self._pending = self._pending.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def strike(self) -> None:
        """Send the signal alone; safe beside a thread that waits for a reply."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self) -> None:
        """End the child and what it started, reap it, close its pipes. Only by the thread that holds the child."""
        self.strike()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _never() -> bool:
    return False


class JudgePool:
    """Up to ``size`` children, started on first use, shared by any number of threads.

    ``wall_seconds`` bounds one item, so that none takes 10 s (loading mpmath, once per child, is not counted);
    ``memory_mb`` bounds a child's address space. Code runs only with ``allow_code``.
    """

    def __init__(
        self, size: int = 1, wall_seconds: float = 6.0, memory_mb: int = 2048, *, allow_code: bool = False
    ) -> None:
        self._arguments = (str(max(1, round(wall_seconds))), str(memory_mb), "1" if allow_code else "0")
        self._wall_seconds = wall_seconds
        self._allow_code = allow_code
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._executor = ThreadPoolExecutor(size, "judge")
        self._living: set[_Child] = set()
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
        for batch, future in [(b, self._executor.submit(self._run, b, stop)) for b in batches]:
            judged = future.result()
            done += judged
            if len(judged) < len(batch):
                break
        return done

    def close(self) -> None:
        """Kill the children. Calls still running raise JudgeClosed."""
        self._closed.set()
        with self._lock:
            living = list(self._living)
        for child in living:
            child.strike()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for child in living:
            self._bury(child)

    def __enter__(self) -> JudgePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, items: Sequence[JudgeItem], cancelled: Callable[[], bool]) -> list[Judgement]:
        """Judge one batch with whichever child is free, replacing the child whenever an item brings it down."""
        child = self._slots.get()
        try:
            judged: list[Judgement] = []
            while len(judged) < len(items) and not cancelled():
                if self._closed.is_set():
                    raise JudgeClosed
                child = child or self._spawn()
                try:
                    judged += self._ask(child, items[len(judged) :], cancelled)
                except _LostAt as lost:
                    judged += lost.judged
                    self._bury(child)
                    child = None
                    if self._closed.is_set():
                        raise JudgeClosed from lost
                    judged.append(self._timed_out(items[len(judged)], lost.seconds))
                else:
                    if len(judged) < len(items):  # cancelled: the child is busy with what nobody wants
                        self._bury(child)
                        child = None
                        break
            return judged
        except BaseException:
            if child is not None:
                self._bury(child)
                child = None
            raise
        finally:
            self._slots.put(child)

    def _spawn(self) -> _Child:
        child = _Child(self._arguments)
        with self._lock:
            self._living.add(child)
        return child

    def _bury(self, child: _Child) -> None:
        child.bury()
        with self._lock:
            self._living.discard(child)

    def _ask(self, child: _Child, items: Sequence[JudgeItem], cancelled: Callable[[], bool]) -> list[Judgement]:
        judged: list[Judgement] = []
        if not child.ready:
            try:
                if child.reply(_START_SECONDS, cancelled) is None:
                    return judged
            except _ChildLost as error:
                if self._closed.is_set():
                    raise JudgeClosed from error
                raise JudgeUnavailable("the judge's child process ended before it was ready") from error
            child.ready = True
        started = time.monotonic()
        try:
            child.send([_payload(item) for item in items])
            for item in items:
                started = time.monotonic()
                reply = child.reply(self._wall_seconds, cancelled)
                if reply == {"state": "loading"} and child.reply(_START_SECONDS, cancelled):
                    started = time.monotonic()  # loading is not the item's
                    reply = child.reply(self._wall_seconds, cancelled)
                if reply is None or "state" in reply:
                    break  # cancelled
                judged.append(_judgement(item, reply, time.monotonic() - started))
        except _ChildLost as error:
            raise _LostAt(judged, time.monotonic() - started) from error
        return judged

    def _timed_out(self, item: JudgeItem, seconds: float) -> Judgement:
        report = f"the comparison exceeded {self._wall_seconds:g} s or its memory, and was killed"
        return Judgement(Verdict.TIMEOUT, None, VERIFIERS[item.domain].tag, report, seconds)


class _LostAt(Exception):
    """A child was lost after ``judged``; the item behind them is at fault."""

    def __init__(self, judged: list[Judgement], seconds: float) -> None:
        super().__init__("judge child lost")
        self.judged = judged
        self.seconds = seconds


def _payload(item: JudgeItem) -> dict[str, Any]:
    problem = item.problem
    return {
        "question": "",
        "gold": problem.gold_answer,
        "meta": problem.meta,
        "text": item.text[-MAX_TEXT:],
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
