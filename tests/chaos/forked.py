"""Errata's commands forked from one process that has imported them: a kill then costs a worker's work, not its start.

Each runs ``cli.main`` in a process and session of its own, as ``python -m cli.main`` would; only the two seconds of
imports are paid once. ``python -m tests.chaos.forked`` is the process they are forked from.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

import psutil

from tests.processes import ROOT


class Nursery:
    """Where commands are forked, in this environment; on leaving it, they are all killed."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.forked"],
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._made: list[Forked] = []

    def start(self, *arguments: str) -> Forked:
        """Fork one command. Raises RuntimeError where the nursery itself has ended."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(" ".join(arguments) + "\n")
        self._child.stdin.flush()
        told = self._child.stdout.readline()
        if not told:
            raise RuntimeError("the process that commands are forked from has ended")
        self._made.append(Forked(int(told)))
        return self._made[-1]

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made:
            made.kill_tree()
        self._child.kill()
        self._child.communicate()


class Forked:
    """One command that was forked."""

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None
        try:
            self._process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or not self._process.is_running()

    def kill_tree(self) -> None:
        """SIGKILL for the process and all its descendants, and wait until they are gone."""
        if self._process is None:
            return
        tree = [self._process]
        with suppress(psutil.NoSuchProcess):
            tree += self._process.children(recursive=True)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(tree, 30)
        self._process = None


def _become(arguments: list[str]) -> None:
    """Be that command: what the nursery set up for itself is undone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)
    sys.argv = ["errata", *arguments]
    sys.orig_argv = [sys.executable, "-m", "cli.main", *arguments]  # a worker that restarts itself reads them
    from cli.main import main

    try:
        main()
    finally:
        os._exit(0)


def serve() -> None:
    """Fork a command for each line of standard input, and tell its process id."""
    import cli.main
    import cli.processes  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    made: list[int] = []
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _become(line.split())
        made.append(child)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    # Who asked for them is gone, without a chance to end them.
    for process in psutil.Process().children():
        if process.pid in made:
            process.kill()


if __name__ == "__main__":
    serve()
