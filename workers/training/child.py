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

from workers.training.launch import launcher
from workers.training.protocol import parse
from workers.training.settings import TrainerSettings

_TAIL_BYTES = 4000


def command(settings: TrainerSettings, spec: Path) -> list[str]:
    """The command line of a run: plain, or under a launcher where the operator configured it."""
    before = launcher(settings.accelerate_config)[0] if settings.accelerate_config else []
    return [sys.executable, *before, "-m", "workers.training.run", "--spec", str(spec)]


class Child:
    """A running training process. ``messages`` yields what it says, then None when it has nothing more to say."""

    def __init__(self, settings: TrainerSettings, spec: Path, log: Path) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TQDM_DISABLE": "1"}
        if settings.accelerate_config is not None:
            environment |= launcher(settings.accelerate_config)[1]
        if settings.threads:
            environment["OMP_NUM_THREADS"] = str(settings.threads)
        self._log = log
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command(settings, spec),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=self._read, name="training-line", daemon=True).start()

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
        self._say(b"stop\n")

    def beat(self) -> None:
        """Tell that the lease was renewed: a process that does not hear this for long ends itself."""
        self._say(b"beat\n")

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def kill(self) -> None:
        """Kill the whole group and wait for it; nothing of the run is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def wait(self) -> int:
        """Exit status of a process that has ended its line; it is killed when it does not follow."""
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

    def tail(self) -> str:
        """The end of what it wrote to standard error."""
        with contextlib.suppress(OSError), self._log.open("rb") as handle:
            handle.seek(max(self._log.stat().st_size - _TAIL_BYTES, 0))
            return handle.read().decode("utf-8", "replace")
        return ""
