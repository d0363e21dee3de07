"""A role run as a child of ``errata serve`` and kept: started again, with growing waits, whenever it ends by itself."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

log = logging.getLogger(__name__)
_STOP_SECONDS = 30.0


class Kept:
    """One child process, from ``with`` to its end. Times in seconds.

    Its standard input is a pipe held here, whose end tells it that we are gone. ``first``: the wait before it is
    started again, doubled up to ``settled`` each time it has run for less than that.
    """

    def __init__(self, name: str, command: Sequence[str], *, first: float = 1.0, settled: float = 60.0) -> None:
        self._name, self._command, self._first, self._settled = name, command, first, settled
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name=f"kept-{name}", daemon=True)

    def __enter__(self) -> Kept:
        self._start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._stopping.set()
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_STOP_SECONDS)
        self._child.kill()
        self._watcher.join()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._child.pid

    def _start(self) -> None:
        # A session of its own: Ctrl-C at the terminal reaches this process, which then stops the child in order.
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
        self._since = time.monotonic()

    def _watch(self) -> None:
        wait = self._first
        while True:
            status = self._child.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - self._since >= self._settled:
                wait = self._first
            log.error("the %s ended with status %d; it is started again in %g s", self._name, status, wait)
            if self._stopping.wait(wait):
                return
            wait = min(2 * wait, self._settled)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._start()
