"""One supervised process: started in a process group of its own, heard through a thread, stopped or killed whole."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from workers.training.protocol import parse
from workers.training.supervise.launch import launcher
from workers.training.supervise.settings import TrainerSettings

_TAIL_BYTES = 4000
_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",  # in launchers and every process of theirs: a SIGSEGV leaves its traceback in the log
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",
}


def command(settings: TrainerSettings, spec: Path) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a run: plain, or under a launcher where the operator configured it."""
    arguments, environment = launcher(settings.accelerate_config) if settings.accelerate_config else ([], {})
    if settings.threads:
        environment = {**environment, "OMP_NUM_THREADS": str(settings.threads)}
    line = [sys.executable, *arguments, "-m", "workers.training.run", "--spec", str(spec)]
    return line, {**os.environ, **_ENVIRONMENT, **environment}


class Child:
    """A running training process. ``messages`` holds what it sends, then None once its standard output is closed."""

    def __init__(self, settings: TrainerSettings, spec: Path, log: Path) -> None:
        line, environment = command(settings, spec)
        self._log = log
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=self._read, name="training-messages", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = parse(line.decode("utf-8", "replace"))
            if message is not None:
                self.messages.put(message)
        self.messages.put(None)

    @property
    def pid(self) -> int:
        """Process (and process group) id."""
        return self._process.pid

    def stop(self) -> None:
        """Ask for a checkpoint and an end."""
        self._send(b"stop\n")

    def heartbeat(self) -> None:
        """Tell that the lease was renewed: a process that does not hear this for long ends itself."""
        self._send(b"beat\n")

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def kill(self) -> None:
        """Kill the whole group and wait for the process; nothing of the run is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def wait(self) -> int:
        """Exit status of a process that has closed its output (negative: a signal); it is killed if it does not end."""
        try:
            status = self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        self.kill()
        return status

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def log_tail(self) -> str:
        """The end of what it wrote to standard error; empty when it cannot be read."""
        with contextlib.suppress(OSError), self._log.open("rb") as handle:
            handle.seek(max(self._log.stat().st_size - 4 * _TAIL_BYTES, 0))
            lines = handle.read().decode("utf-8", "replace").splitlines(keepends=True)
            # faulthandler ends with one line of every native module loaded, longer than the traceback before it.
            return "".join(line for line in lines if not line.startswith("Extension modules:"))[-_TAIL_BYTES:]
        return ""
