"""Child processes: started, spoken to, timed out, stopped and killed in this one way.

A child leads a session, and with it a process group, of its own. What it starts carries a mark in its environment.
When the child ends, however it ends, the rest of its group and everything with the mark is killed: a tensor-parallel
rank that is left behind would keep its GPU. Knows nothing of what the child says. Imports the standard library only.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

MARK = "ERRATA_CHILD"  # environment variable: the marks of a process's ancestors and its own
_POLL_SECONDS = 0.1  # between two looks at whether the caller has cancelled
_EXIT_SECONDS = 30.0  # for a child that has closed its output to exit by itself
_DRAIN_SECONDS = 2.0  # for what a dead child wrote to be read
_KILL_SECONDS = 30.0  # for a killed child to be gone; only a process stuck in the kernel takes long
_SEND_SECONDS = 60.0
_TAIL_BYTES = 4000
_PROC = Path("/proc")


class ChildEnded(Exception):
    """The child has ended, or has closed its output: it says nothing more."""


class ChildLate(Exception):
    """The child did not answer, or did not take what was sent, in the time it had."""


class ChildProcess:
    """One child process. Thread-safe. It ends itself when its standard input ends, if it reads it (``watch_parent``).

    Standard output is read ahead, line by line, and standard error is kept at its end, so that the child never blocks
    on a full pipe. No method leaves a process behind: after ``kill`` and ``stop``, and after a death that nobody asked
    for, the whole group is gone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log_file: Path | None = None,
        echo: bool = True,
        read_output: bool = True,
    ) -> None:
        """Start ``command``. ``name`` stands in log lines and thread names.

        ``env`` replaces this process's environment. Standard error is appended to ``log_file``; without one it goes
        on to ours, or with ``echo`` off to nobody. With ``read_output`` off the child shares our standard output.
        """
        self.name = name
        self._mark = uuid.uuid4().hex
        # An outer process that is killed takes the children of its children along, so their marks add up.
        marks = " ".join(filter(None, [os.environ.get(MARK), self._mark]))
        self._log_file, self._echo, self._tail = log_file, echo, b""
        self._log_start = log_file.stat().st_size if log_file is not None and log_file.exists() else 0
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writing, self._signalling = threading.Lock(), threading.Lock()
        self._ended = threading.Event()
        errors: IO[bytes] | int = subprocess.PIPE if log_file is None else log_file.open("ab")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if read_output else None,
                stderr=errors,
                env={**(os.environ if env is None else env), MARK: marks},
                start_new_session=True,
            )
        finally:
            if not isinstance(errors, int):
                errors.close()
        assert self._process.stdin is not None
        self._input = self._process.stdin
        os.set_blocking(self._input.fileno(), False)
        readers = ((self._read_output, self._process.stdout), (self._read_errors, self._process.stderr))
        self._readers = [self._thread(read, pipe) for read, pipe in readers if pipe is not None]
        self._thread(self._watch)

    def _thread(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name=f"{self.name}{work.__name__}", daemon=True)
        thread.start()
        return thread

    # What it is.

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs, by the kernel's word at this moment."""
        with self._signalling:
            return self._process.returncode is None and not _is_dead(self.pid)

    @property
    def returncode(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it; None while it runs."""
        return self._process.returncode if self._ended.is_set() else None

    def how_it_ended(self) -> str:
        """Status and signal in words, such as "ended with status -9 (SIGKILL: killed, or out of memory)"."""
        status = self.returncode
        if status is None:
            return "is still running"
        if status >= 0:
            return f"ended with status {status}"
        with suppress(ValueError):
            memory = ": killed, or out of memory" if -status == signal.SIGKILL else ""
            return f"ended with status {status} ({signal.Signals(-status).name}{memory})"
        return f"ended with status {status}"

    def last_words(self, lines: int | None = None) -> str:
        """The end of what it wrote to standard error: at most 4,000 bytes, or the last non-empty ``lines`` of them."""
        tail = self._tail
        if self._log_file is not None:
            with suppress(OSError), self._log_file.open("rb") as handle:
                handle.seek(max(handle.seek(0, os.SEEK_END) - _TAIL_BYTES, self._log_start))
                tail = handle.read()
        # A database takes no NUL, and these words end up in one.
        text = tail.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
        if lines is None:
            return text
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    # What is said to it, and what it says.

    def send(self, text: str, seconds: float = _SEND_SECONDS) -> None:
        """Write to its standard input. Raises ChildEnded, and ChildLate where it takes nothing for ``seconds``.

        Behind a ChildLate half a message may have been taken: the child is then good for nothing but ``kill``.
        """
        rest = memoryview(text.encode())
        with self._writing:
            if self._input.closed:
                raise ChildEnded(f"{self.name} takes no more input")
            ready = select.poll()  # not select(): it fails for descriptors above 1,023
            ready.register(self._input, select.POLLOUT)
            while rest:
                if not ready.poll(seconds * 1000):
                    raise ChildLate(f"{self.name} took no input for {seconds:g} s")
                try:
                    rest = rest[os.write(self._input.fileno(), rest) :]
                except BlockingIOError:
                    continue  # less room than a pipe promises to write at once
                except OSError as error:
                    raise ChildEnded(f"{self.name} takes no more input") from error

    def close_input(self) -> None:
        """End its standard input, which asks a child that reads it to end."""
        with self._writing, suppress(OSError):
            self._input.close()

    def read_line(self, seconds: float | None = None, cancelled: Callable[[], bool] | None = None) -> str | None:
        """Its next line of output, without the line's end; None soon after ``cancelled()``.

        Raises ChildLate after ``seconds``, and ChildEnded when there is no more; the child has exited by then.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            wait = left if cancelled is None else min(_POLL_SECONDS, _POLL_SECONDS if left is None else left)
            try:
                line = self._lines.get(timeout=None if wait is None else max(wait, 0.0))
            except queue.Empty:
                if cancelled is not None and cancelled():
                    return None
                if deadline is not None and time.monotonic() >= deadline:
                    raise ChildLate(f"{self.name} said nothing for {seconds:g} s") from None
                continue
            if line is not None:
                return line
            self._lines.put(None)  # for the next reader: the end stays the end
            if self.wait(_EXIT_SECONDS) is None:
                self.kill()
            raise ChildEnded(f"{self.name} {self.how_it_ended()}")

    def wait_ready(
        self, accept: Callable[[str], T | None], seconds: float, cancelled: Callable[[], bool] | None = None
    ) -> T | None:
        """What ``accept`` makes of the first line that it does not answer with None; None when cancelled.

        Raises ChildLate after ``seconds`` and ChildEnded. The child is killed unless it is ready.
        """
        deadline, found = time.monotonic() + seconds, None
        try:
            while found is None:
                line = self.read_line(max(deadline - time.monotonic(), 0.0), cancelled)
                if line is None:
                    break
                found = accept(line)
            return found
        finally:
            if found is None:
                self.kill()

    # How it ends.

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit status once it has ended and its group is gone; None where that takes longer than ``seconds``."""
        self._ended.wait(seconds)
        return self.returncode

    def stop(self, grace_seconds: float) -> int | None:
        """Ask it to end (SIGTERM), kill what is left after the grace, and give its exit status.

        Only the leader is asked: it ends its own children in order.
        """
        self._signal(signal.SIGTERM, group=False)
        if self.wait(grace_seconds) is None:
            self.kill()
        return self.returncode

    def kill(self) -> None:
        """Kill the whole group and wait until it is gone. Does nothing where that has happened already."""
        self._signal(signal.SIGKILL, group=True)
        if self.wait(_KILL_SECONDS) is None:
            log.error("%s (process %d) is killed but does not go away", self.name, self.pid)

    def _signal(self, number: signal.Signals, *, group: bool) -> None:
        # Until it is reaped its number, and its group's, can be nobody else's; afterwards it may be any process's.
        with self._signalling, suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                (os.killpg if group else os.kill)(self.pid, number)

    def _watch(self) -> None:
        """See the death, kill what the child leaves behind, and only then reap it."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                # WNOWAIT leaves it a zombie, which keeps its number and its group's taken: the kill below hits nobody
                # else. Reaped first, the number might be another group's by then.
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()  # macOS before Python 3.13 has no other way
        with self._signalling:
            with suppress(ProcessLookupError, PermissionError):  # macOS: a group of one zombie may not be signalled
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        _kill_marked(self._mark)
        for reader in self._readers:
            reader.join(_DRAIN_SECONDS)  # not for ever: a stray process that shed its mark may hold the pipe open
        self._ended.set()
        self._lines.put(None)
        self.close_input()

    def _read_output(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        self._lines.put(None)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._tail = (self._tail + piece)[-_TAIL_BYTES:]
                if self._echo:
                    with suppress(OSError):  # our own standard error may be closed; the child's is read on
                        os.write(2, piece)


def run_to_end(
    name: str, command: Sequence[str], text: str, seconds: float, env: Mapping[str, str] | None = None
) -> tuple[str, ChildProcess]:
    """Give a short-lived child ``text`` as its input; its output and the ended child, whose status the caller checks.

    Raises ChildLate after ``seconds``; the child and what it started are then killed.
    """
    said: list[str] = []
    child, deadline = ChildProcess(name, command, env=env, echo=False), time.monotonic() + seconds
    try:
        with suppress(ChildEnded):  # it may end without having read all of it; its status says why
            child.send(text, seconds)
            child.close_input()
            while (line := child.read_line(max(deadline - time.monotonic(), 0.0))) is not None:
                said.append(line)
        child.wait(max(deadline - time.monotonic(), 0.0))
        return "\n".join(said), child
    finally:
        child.kill()


def watch_parent(stop: Callable[[], None]) -> None:
    """In a child: call ``stop`` from a thread when standard input ends, which the parent's death brings about.

    The kernel's own signal for this (PR_SET_PDEATHSIG) is of no use: it comes when the *thread* that started the child
    ends. For children that are told nothing else on standard input.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        stop()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _is_dead(pid: int) -> bool:
    """Whether a child of ours that is not reaped yet has ended. Leaves it unreaped."""
    if not hasattr(os, "waitid"):
        return False  # macOS before Python 3.13: known when it has been reaped
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _kill_marked(mark: str) -> None:
    """Kill every process whose environment has the mark; where there is no /proc, the group was all we knew.

    This reaches what left the group: launchers start the ranks of a training run in sessions of their own. It does not
    reach a process that left the group *and* overwrote its environment.
    """
    for _ in range(10):  # until a look finds none: what is being killed may have forked a moment before
        found = False
        for entry in _PROC.glob("[0-9]*/environ"):
            with suppress(OSError, ValueError):  # gone, or another user's
                if mark.encode() in entry.read_bytes():
                    os.kill(int(entry.parent.name), signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.02)
