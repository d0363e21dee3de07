"""Folders that are complete or absent, on a local file system, and whether the disk has room for them.

A folder is written as ``NAME.tmp``; every file is flushed; ``manifest.json`` with sizes and SHA-256 is written last;
then the folder is renamed and its parent flushed. So a folder with a plain name was complete when it was named, and
``verify`` finds out whether it still is. Checkpoints, finished models and reference log-probabilities are such folders.

Free of torch: both rooms import this module.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, Progress

MANIFEST = "manifest.json"
_SLACK_BYTES = 1_000_000  # tokenizer, random states, manifests


class Damaged(Exception):
    """A folder is not what its manifest says."""


class DiskFull(Exception):
    """There is no room for what is to be written. May be tried again: space can be made meanwhile."""


def _unreported(_done: int, _total: int) -> None:
    """Where no watchdog waits."""


def write_folder(
    target: Path, fill: Callable[[Path], None], about: dict[str, Any], on_progress: Progress = _unreported
) -> dict[str, Any]:
    """Let ``fill`` write into a temporary folder and make it ``target`` atomically. Returns the manifest.

    An existing ``target`` is replaced. ``on_progress`` is called with files done and files in all: a watchdog must see
    that large ones advance. Raises OSError when the disk is full; then ``target`` is as it was.
    """
    on_progress(0, 1)
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        manifest = {**about, "files": _describe(temporary, on_progress)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        _flush(temporary / MANIFEST)
        _flush(temporary)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        remove_folder(target)
    temporary.rename(target)
    _flush(target.parent)
    return manifest


def _describe(folder: Path, on_progress: Progress) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in paths:
        on_progress(len(files), len(paths))
        _flush(path)  # may take minutes for a large file, and so may the digest: progress before each
        on_progress(len(files), len(paths))
        files.append(
            {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": _digest(path)}
        )
    return files


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose every file is as it was written. Raises Damaged."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for entry in manifest["files"]:
            path = folder / entry["path"]
            if not path.is_file():
                raise Damaged(f"{folder.name}/{entry['path']} is missing")
            if path.stat().st_size != entry["bytes"]:
                raise Damaged(f"{folder.name}/{entry['path']} has {path.stat().st_size} of {entry['bytes']} bytes")
            if _digest(path) != entry["sha256"]:
                raise Damaged(f"{folder.name}/{entry['path']} is corrupt")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder.name} has no readable manifest: {error!r}") from error
    return manifest


def fingerprint(manifest: dict[str, Any]) -> str:
    """SHA-256 (hex) over a manifest's files: the same content has the same fingerprint."""
    listed = "\n".join(f"{entry['sha256']}  {entry['path']}" for entry in manifest["files"])
    return hashlib.sha256(listed.encode()).hexdigest()


def remove_folder(folder: Path) -> None:
    """Remove ``folder``. Its name goes first: an interrupted removal must not leave half of it there."""
    unnamed = folder.with_name(folder.name + ".removed.tmp")
    shutil.rmtree(unnamed, ignore_errors=True)
    folder.rename(unnamed)
    shutil.rmtree(unnamed, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """What is free on the disk of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def checkpoint_copies(config: TrainingConfig) -> int:
    """Checkpoints that stand side by side at most: the newest ``keep``, the best, and the one being written."""
    return config.keep + (config.best != "none") + 1


def require_room_for_run(folder: Path, config: TrainingConfig, checkpoint_bytes: int, result_bytes: int) -> None:
    """Raise CannotTrain naming the bytes when the run's checkpoints and its result do not fit on the disk.

    What the folder already holds counts as room: a resumed run writes over it.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    copies = checkpoint_copies(config)
    needed = copies * (checkpoint_bytes + _SLACK_BYTES) + result_bytes + _SLACK_BYTES
    free = free_bytes(folder)
    if free + there < needed:
        raise CannotTrain(
            f"the disk is too full: the run needs {needed} bytes ({copies} checkpoints of {checkpoint_bytes}, a"
            f" result of {result_bytes}), {free} are free. Free {needed - free - there} bytes, or lower 'keep'."
        )


@contextmanager
def room_for(folder: Path, size: int, what: str) -> Iterator[None]:
    """Around the writing of ``size`` bytes below ``folder``. Raises DiskFull naming the bytes, before or meanwhile."""
    free = free_bytes(folder)
    if free < size + _SLACK_BYTES:
        raise DiskFull(f"the disk is too full for {what}: it needs {size + _SLACK_BYTES} bytes, {free} are free")
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise DiskFull(f"the disk filled up while writing {what} of about {size} bytes") from error
