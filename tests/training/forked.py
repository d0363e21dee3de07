"""A run's process forked from one that has imported everything: a start costs no imports, which take most of its time.

It is a process like any other, in a session of its own, with the pipes of a supervisor. Tests that start one process,
or look at how it starts, use the command itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from workers.training.protocol import RunSpec

_CONTEXT = multiprocessing.get_context("forkserver")


class ForkedRun:
    """A training process of a spec, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        path = folder / "spec.json"
        path.write_text(spec.model_dump_json())
        reads, self._stdin = _CONTEXT.Pipe(duplex=False)
        stdout, writes = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_train, args=(str(path), reads, writes))
        self._process.start()
        for end in (reads, writes):  # the child's: its death is to be the end of the line
            end.close()
        self.pid = int(self._process.pid or 0)
        self.stdout: TextIO = os.fdopen(os.dup(stdout.fileno()), encoding="utf-8")
        stdout.close()

    def communicate(self) -> None:
        """Wait for the end of the process."""
        self._process.join()
        self.stdout.close()
        self._stdin.close()

    @property
    def returncode(self) -> int | None:
        """The exit status, or the signal that ended it as a negative number."""
        return self._process.exitcode


def _train(spec: str, reads: Connection, writes: Connection) -> None:
    """What ``python -m workers.training.run --spec FILE`` does, behind its imports."""
    os.setsid()
    os.dup2(reads.fileno(), 0)
    os.dup2(writes.fileno(), 1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a descriptor is wanted
        os.dup2(nowhere.fileno(), 2)
    reads.close()
    writes.close()
    from workers.training.run.process import main

    sys.argv = ["workers.training.run", "--spec", spec]
    sys.exit(main())


@contextmanager
def preloaded() -> Iterator[type[ForkedRun]]:
    """The process that the others are forked from, for as long as the context lasts."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, so by the process that forks
    _CONTEXT.set_forkserver_preload(["workers.training.run.process", "trl.trainer.dpo_trainer"])
    try:
        forkserver.ensure_running()
        yield ForkedRun
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # it would stay, with all it imported, to the end
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
