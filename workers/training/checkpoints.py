"""Folders that are complete or absent: checkpoints and finished models on a local file system. Knows no torch.

A folder is written as ``NAME.tmp``; every file is flushed; ``manifest.json`` with sizes and SHA-256 is written last;
then the folder is renamed and its parent flushed. So a folder with a plain name was complete when it was named, and
``verify`` finds out whether it still is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_NAME = re.compile(r"^step-(\d{9})$")


class Damaged(Exception):
    """A folder is not what its manifest says."""


def _nobody(_done: int, _total: int) -> None:
    """Where nobody waits."""


def checkpoint_name(step: int) -> str:
    """``step-000000042``."""
    return f"step-{step:09d}"


def write_folder(
    target: Path, fill: Callable[[Path], None], about: dict[str, Any], tell: Callable[[int, int], None] = _nobody
) -> dict[str, Any]:
    """Let ``fill`` write into a temporary folder and make it ``target`` atomically; the answer is the manifest.

    An existing ``target`` is replaced. ``tell`` hears how many files are done of how many: a watchdog must see that
    large ones advance. Raises OSError when the disk is full; then ``target`` is as it was.
    """
    tell(0, 1)
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        manifest = {**about, "files": _describe(temporary, tell)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        _flush(temporary / MANIFEST)
        _flush(temporary)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        _remove(target)
    temporary.rename(target)
    _flush(target.parent)
    return manifest


def _describe(folder: Path, tell: Callable[[int, int], None]) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in paths:
        tell(len(files), len(paths))
        _flush(path)
        tell(len(files), len(paths))
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


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in ``folder`` by name, ascending; temporary folders are not among them."""
    if not folder.is_dir():
        return []
    return sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.match(path.name)))


def newest_good(folder: Path, reject: Callable[[int, str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that verifies, with its manifest; ``reject`` is told of each one passed over."""
    for step in reversed(steps(folder)):
        path = folder / checkpoint_name(step)
        try:
            return path, verify(path)
        except Damaged as error:
            reject(step, str(error))
    return None


def set_aside(folder: Path, step: int) -> None:
    """Take its name from a damaged checkpoint, that it may not count as one; the next :func:`prune` removes it."""
    path = folder / checkpoint_name(step)
    aside = path.with_name(path.name + ".damaged.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)


def best_step(folder: Path) -> int | None:
    """The step of the checkpoint with the lowest ``score`` in its manifest, the newest of equals, or None."""
    scores: dict[int, float] = {}
    for step in steps(folder):
        try:
            score = json.loads((folder / checkpoint_name(step) / MANIFEST).read_text(encoding="utf-8")).get("score")
        except (OSError, ValueError, AttributeError):
            continue  # damaged: found when it is to be loaded
        if isinstance(score, int | float):
            scores[step] = score
    return min(scores, key=lambda step: (scores[step], -step), default=None)


def prune(folder: Path, keep: int, best: int | None = None) -> list[int]:
    """Remove leftovers of interrupted writes and all but the newest ``keep`` and ``best``: the steps removed."""
    old = [step for step in steps(folder)[:-keep] if step != best]
    for path in folder.glob("*.tmp"):
        shutil.rmtree(path, ignore_errors=True)
    for step in old:
        _remove(folder / checkpoint_name(step))
    return old


def _remove(folder: Path) -> None:
    # Renamed first: a removal that is interrupted must not leave half a checkpoint under a good name.
    condemned = folder.with_name(folder.name + ".removed.tmp")
    shutil.rmtree(condemned, ignore_errors=True)
    folder.rename(condemned)
    shutil.rmtree(condemned, ignore_errors=True)
