"""Whether the disk has room for what a run is about to write: asked before it starts and before every save."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from workers.training.config import TrainingConfig
from workers.training.protocol import Refused

_SLACK = 1_000_000  # tokenizer, random states, manifests


class DiskFull(Exception):
    """There is no room for what is to be written. May be tried again: space can be made meanwhile."""


def free_bytes(folder: Path) -> int:
    """What is free on the disk of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def copies(config: TrainingConfig) -> int:
    """Checkpoints that stand side by side at most: those kept, the best, and the one being written."""
    return config.keep + (config.best != "none") + 1


def require_room_for_run(folder: Path, config: TrainingConfig, checkpoint_bytes: int, result_bytes: int) -> None:
    """Raise Refused naming the bytes when the run's checkpoints and result do not fit; those there count as room."""
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    needed = copies(config) * (checkpoint_bytes + _SLACK) + result_bytes + _SLACK
    free = free_bytes(folder)
    if free + there < needed:
        raise Refused(
            f"the disk is too full: the run needs {needed} bytes ({copies(config)} checkpoints of {checkpoint_bytes}, a"
            f" result of {result_bytes}), {free} are free. Free {needed - free - there} bytes, or lower 'keep'."
        )


def require_room(folder: Path, size: int, what: str) -> None:
    """Raise DiskFull naming the bytes when ``size`` of them do not fit on the disk of ``folder``."""
    free = free_bytes(folder)
    if free < size + _SLACK:
        raise DiskFull(f"the disk is too full for {what}: it needs {size + _SLACK} bytes, {free} are free")


@contextmanager
def named_when_full(size: int, what: str) -> Iterator[None]:
    """Turn a disk that is full after all into DiskFull naming the bytes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise DiskFull(f"the disk filled up while writing {what} of about {size} bytes") from error
