"""One GPU, lent to generation or to training, never to both: turns by file locks, which a dead process cannot keep.

Two locks of one folder: ``gpu.lock`` is the GPU, ``next.lock`` the place of the one that waits. Whoever wants the GPU
takes the waiting place first, so that a holder that comes back stands behind the one that waited. ``flock`` locks are
the kernel's: containers that share the folder share the turns, and a killed holder's turn ends with it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from workers.engines.base import EngineError

TurnMode = Literal["auto", "on", "off"]
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0  # a waiting place nobody has asked for since is given up: its shards went elsewhere


def gpu_is_shared(mode: TurnMode, gpus: Path = _NVIDIA) -> bool:
    """Whether generation and training share one GPU here; ``auto``: where the machine has exactly one."""
    if mode == "auto":
        return gpus.is_dir() and len(list(gpus.iterdir())) == 1
    return mode == "on"


class GpuLock:
    """One process's claim on the GPU. Not thread-safe. Folder and files are made where they are missing."""

    def __init__(self, folder: Path, who: str) -> None:
        self._folder, self._who = folder, who
        self._gpu: IO[str] | None = None
        self._next: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has the GPU."""
        return self._gpu is not None

    def take(self, what: str) -> bool:
        """Take the GPU for ``what`` if it is free and nobody waits before us; otherwise wait for it from now on.

        Never blocks. Held already: true. A false answer may have taken the waiting place: ask again, or ``leave``.
        """
        if self._gpu is None:
            # The waiting place first, even where the GPU is free: whoever waits already has it, and is next.
            self._next = self._next or self._lock("next.lock")
            if self._next is None:
                return False
            self._gpu = self._lock("gpu.lock")
            if self._gpu is None:
                return False
            self._close_next()
        self._gpu.seek(0)
        self._gpu.truncate()
        self._gpu.write(f"{self._who}: {what}")
        self._gpu.flush()
        return True

    def wanted(self) -> bool:
        """Whether another process waits for the GPU this one holds."""
        if self._next is not None:  # the one who waits is this process
            return False
        # There is no asking who holds a lock, so it is tried, and given back at once.
        probe = self._lock("next.lock")
        if probe is None:
            return True
        probe.close()
        return False

    def holder(self) -> str:
        """Who has the GPU and for what, as told by the holder; empty when it cannot be read."""
        try:
            return (self._folder / "gpu.lock").read_text(encoding="utf-8")[:500]
        except OSError:
            return ""

    def leave(self) -> None:
        """Give the GPU back, or the waiting place up."""
        self._close_next()
        if self._gpu is not None:
            # Emptied before the lock goes: a reader never takes the last holder for the present one.
            self._gpu.seek(0)
            self._gpu.truncate()
            self._gpu.close()
            self._gpu = None

    def _close_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def _lock(self, name: str) -> IO[str] | None:
        """An open, locked file; None when another process has it. Children do not inherit it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        file = os.fdopen(fd, "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file


class SharedGpu:
    """Generation's side of a shared GPU: lends it to batches of several threads, and gives it back when it is wanted.

    ``unload`` must free the GPU; it is called with no batch running. Engines stay loaded between batches as long as
    nobody else waits. Once somebody does, batches in hand end, new ones are refused (retryable: their shards are given
    back), the engines are unloaded and the GPU is given away.
    """

    def __init__(self, lock: GpuLock, unload: Callable[[], None]) -> None:
        self._gpu, self._unload = lock, unload
        self._batches_lock = threading.Lock()
        self._batches = 0
        self._asked = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="shared-gpu", daemon=True)
        self._thread.start()

    @contextmanager
    def lent(self, what: str) -> Iterator[None]:
        """The GPU for one batch. Raises EngineError (retryable), naming the holder, while another has it."""
        with self._batches_lock:
            self._asked = time.monotonic()
            if self._gpu.held and self._gpu.wanted():
                # No new batch although we hold it: with several threads the GPU would never be idle.
                self._give_back_if_idle()
                raise EngineError("the GPU is given to training, which waited for it", retryable=True)
            if not self._gpu.take(what):
                holder = self._gpu.holder() or "another process"
                raise EngineError(f"waiting for the GPU, which is lent to {holder}", retryable=True)
            self._batches += 1
        try:
            yield
        finally:
            with self._batches_lock:
                self._batches -= 1
                self._give_back_if_wanted()

    def close(self) -> None:
        """Give the GPU back; the caller has unloaded."""
        self._closed.set()
        self._thread.join()
        with self._batches_lock:
            self._gpu.leave()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            with self._batches_lock:
                if self._gpu.held:
                    self._give_back_if_wanted()
                # Kept for ever, a waiting place that no batch asks for would end training's run for nothing.
                elif time.monotonic() - self._asked > _PATIENCE_SECONDS:
                    self._gpu.leave()

    def _give_back_if_wanted(self) -> None:
        if self._gpu.held and self._gpu.wanted():
            self._give_back_if_idle()

    def _give_back_if_idle(self) -> None:
        if self._batches == 0:
            self._unload()
            self._gpu.leave()
