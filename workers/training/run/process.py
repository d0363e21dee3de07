"""The process of a run around the run itself: command line, pipes to the supervisor, lock, exit status.

``python -m workers.training.run --spec FILE``, or the same module under torchrun or ``accelerate launch -m``. Reads a
spec and frozen files and never touches the database. Exit status 0: finished, or stopped as asked. 1: failed, as the
``error`` message says. 3: the supervisor is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import json
import math
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from workers.training.protocol import CannotTrain, MessageSink, RunSpec, map_leaves
from workers.training.run.data import DatasetError
from workers.training.run.pipeline import train
from workers.training.run.process_group import join_on_cpu
from workers.training.run.trl_adapter import set_reporting_environment

ORPHANED = 3  # exit status of a process whose supervisor is gone
LOCK_MARGIN_SECONDS = 10.0
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def main() -> int:
    """Command line. Returns the exit status; errors are reported, never raised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True)
    spec = RunSpec.model_validate_json(parser.parse_args().spec.read_text(encoding="utf-8"))
    set_reporting_environment(spec)
    is_first, is_first_here = (int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK"))
    if "LOCAL_RANK" in os.environ:
        _die_with_parent()
    pipe = SupervisorPipe(muted=not is_first_here)
    if is_first_here:
        pipe.listen(spec.lease_seconds)
    try:
        with _exclusive_folder(spec, pipe) if is_first else contextlib.nullcontext():
            join_on_cpu()
            train(spec, pipe)
        if torch.distributed.is_initialized():
            gc.collect()  # what is left of the trainer may hold on to the group
            torch.distributed.destroy_process_group()
    except Exception as error:
        traceback.print_exc()
        fatal = isinstance(error, CannotTrain | DatasetError)
        pipe.send("error", message=str(error) if fatal else f"{type(error).__name__}: {error}", fatal=fatal)
        return 1
    return 0


def _die_with_parent() -> None:
    """A launcher starts its processes in sessions of their own: whoever kills it by its group would not reach them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


@contextlib.contextmanager
def _exclusive_folder(spec: RunSpec, sink: MessageSink) -> Iterator[None]:
    """Lock the run's folder: a process whose supervisor just died or stalled may take as long as its lease to end.

    Raises RuntimeError when the other process does not end in that time.
    """
    folder = spec.checkpoints
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        deadline = time.monotonic() + spec.lease_seconds + LOCK_MARGIN_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"another process still trains in {folder}") from None
                sink.send("progress", phase="loading", done=0, total=1)
                time.sleep(0.2)
        yield


class SupervisorPipe:
    """The process's end of the pipes. Takes over standard output; whatever else prints goes to standard error.

    Only the first process of each host sends: the others are ``muted``.
    """

    def __init__(self, *, muted: bool = False) -> None:
        # Libraries print to descriptor 1, from C too: the messages get a descriptor that nobody else knows.
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._muted = muted
        self._lock = threading.Lock()
        self.stop_asked = threading.Event()

    def listen(self, silence_seconds: float) -> None:
        """Watch standard input in a thread: ``stop``, or the end of the supervisor."""
        threading.Thread(target=self._listen, args=(silence_seconds,), name="supervisor-pipe", daemon=True).start()

    def _listen(self, silence_seconds: float) -> None:
        unread, why = b"", f"the daemon has been silent for {silence_seconds:g} s"
        while select.select([0], [], [], silence_seconds)[0]:
            data = os.read(0, 4096)
            if not data:
                why = "the daemon is gone"
                break
            *lines, unread = (unread + data).split(b"\n")
            if b"stop" in lines:
                self.stop_asked.set()
        with contextlib.suppress(OSError):
            os.write(2, f"{why}: this process ends itself\n".encode())
        os._exit(ORPHANED)  # no clean-up: another daemon may already be waiting for the run's folder

    def send(self, kind: str, **data: Any) -> None:
        """Write one message. Non-finite numbers become null: JSON has none."""
        if self._muted:
            return
        with self._lock:  # the trainer's thread sends, and so may a callback of a library
            try:
                self._out.write(json.dumps({"type": kind, **map_leaves(data, _finite)}) + "\n")
            except BrokenPipeError:
                os._exit(ORPHANED)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
