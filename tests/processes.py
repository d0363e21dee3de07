"""Errata's own commands as processes: started with settings of their own, watched, and ended with their whole tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
LISTENS = "Errata listens on "
_OURS = ("DATABASE_URL", "BROKER_URL")


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without Errata's settings, with a home of its own and ``more``."""
    plain = {k: v for k, v in os.environ.items() if k not in _OURS and not k.startswith("ERRATA_")}
    return {**plain, "ERRATA_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def errata(*arguments: str, env: Mapping[str, str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(
        command, env=dict(env), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Poll until the condition holds. Raises AssertionError naming what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        time.sleep(0.1)


class Running:
    """A command that goes on until it is ended; its output is collected."""

    def __init__(self, *arguments: str, env: Mapping[str, str], within: Sequence[str] = ()) -> None:
        """``within``: a command that becomes this one, such as one that enters a network namespace first."""
        self.output: list[str] = []
        self.child = subprocess.Popen(
            [*within, sys.executable, "-m", "cli.main", *arguments],
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._known: set[psutil.Process] = set()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.output.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """What it has said so far."""
        return "\n".join(self.output)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.child.poll() is not None

    def url(self) -> str:
        """The address it listens on, once it does."""
        until(lambda: self.ended or any(LISTENS in line for line in list(self.output)), "an address")
        lines = [line for line in self.output if line.startswith(LISTENS)]
        assert lines, f"it ended instead: {self.text}"
        # Another process's log may follow on the same line: both write to one pipe.
        found = re.match(r"https?://[^\s/{]+:\d+", lines[0].removeprefix(LISTENS))
        assert found, lines[0]
        return found[0]

    def tree(self) -> list[psutil.Process]:
        """The process and everything it started that still runs."""
        try:
            top = psutil.Process(self.child.pid)
            self._known |= {top, *top.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
        return [process for process in self._known if process.is_running()]

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; the exit status."""
        self.tree()
        self.child.terminate()
        return self.child.wait(seconds)

    def kill_tree(self) -> None:
        """SIGKILL for the process and all its descendants at once."""
        for process in self.tree():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.child.wait(30)
        psutil.wait_procs(self._known, 30)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_tree()
        self._reader.join(10)
