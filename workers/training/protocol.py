"""What the supervised process and the daemon say to each other: one JSON object per line, over pipes.

Child to daemon, ``type``:

- ``progress``: ``phase`` (loading, encoding, reference, training, saving), ``done``, ``total`` - something *advanced*;
- ``ready``: ``total_steps``, ``report`` (preflight), ``packing``, ``note`` - the data are validated;
- ``resumed``: ``step``, and ``rejected``: checkpoints passed over with the reason;
- ``metrics``: ``step``, ``values``, and ``phase`` where it is not ``train`` (``eval``: the held-out split);
- ``shrunk``: ``step``, ``micro_batch`` - out of memory, and the step is done again in smaller parts;
- ``skipped``: ``step``, ``why``, ``pairs`` - a batch without a finite loss and gradient, not applied;
- ``checkpoint``: ``step``, ``path``, ``size_bytes``, ``manifest``, ``deleted`` (steps);
- ``stopped``: ``step`` - as asked, after a checkpoint;
- ``finished``: ``step``, ``path``, ``manifest``, ``summary``;
- ``error``: ``message``, ``fatal`` (trying again cannot help).

Daemon to child: ``stop`` (checkpoint, then end), and ``beat`` whenever it renewed its lease. End of file means that the
daemon is gone, silence for as long as a lease lasts that it is as good as gone: end at once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import threading
from collections.abc import Callable
from typing import Any, Protocol, TextIO

ORPHANED = 3  # exit status of a child whose daemon is gone
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Refused(Exception):
    """The run cannot succeed as it is configured; trying again cannot help."""


class Voice(Protocol):
    """Whoever a run speaks to."""

    stop_asked: threading.Event

    def send(self, kind: str, **data: Any) -> None:
        """Say one message."""


def saving(line: Voice) -> Callable[[int, int], None]:
    """Tells of files that are being saved: ``done`` of ``total``."""
    return lambda done, total: line.send("progress", phase="saving", done=done, total=total)


class Line:
    """The child's end. Takes over standard output; whatever else prints goes to standard error.

    Only the first process of a distributed run talks; the others keep silent.
    """

    def __init__(self, *, talks: bool = True) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._talks = talks
        self._lock = threading.Lock()
        self.stop_asked = threading.Event()

    def listen(self, silence_seconds: float) -> None:
        """Watch standard input in a thread: ``stop``, or the end of the daemon."""
        threading.Thread(target=self._listen, args=(silence_seconds,), name="daemon-line", daemon=True).start()

    def _listen(self, silence_seconds: float) -> None:
        heard, why = b"", f"the daemon has been silent for {silence_seconds:g} s"
        while select.select([0], [], [], silence_seconds)[0]:
            data = os.read(0, 4096)
            if not data:
                why = "the daemon is gone"
                break
            *lines, heard = (heard + data).split(b"\n")
            if b"stop" in lines:
                self.stop_asked.set()
        with contextlib.suppress(OSError):
            os.write(2, f"{why}: this process ends itself\n".encode())
        os._exit(ORPHANED)  # no clean-up: another daemon may already be waiting for the run's folder

    def send(self, kind: str, **data: Any) -> None:
        """Write one message. Non-finite numbers become null: JSON has none."""
        if not self._talks:
            return
        with self._lock:
            try:
                self._out.write(json.dumps({"type": kind, **_finite(data)}) + "\n")
            except BrokenPipeError:
                os._exit(ORPHANED)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def storable(text: str) -> str:
    """The text as a database takes it: U+FFFD stands for NUL and for halves of surrogate pairs."""
    return _UNSTORABLE.sub("\ufffd", text)


def _storable_in(value: Any) -> Any:
    if isinstance(value, dict):
        return {storable(key): _storable_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable_in(item) for item in value]
    return storable(value) if isinstance(value, str) else value


def parse(line: str) -> dict[str, Any] | None:
    """One message, with text as a database takes it, or None for a line that is not one."""
    try:
        message = _storable_in(json.loads(line))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None
