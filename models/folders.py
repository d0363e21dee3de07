"""Local folders that are whole or absent: checkpoints, finished models, datasets. Needs the standard library only.

A folder is filled under a temporary name. Every file in it is flushed to the disk. ``manifest.json``, which lists each
file with its size and SHA-256, is written last; then the folder gets its name and its parent is flushed. So a folder
that has its name was complete when it got it, and :func:`verify` finds out whether it still is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
Progress = Callable[[int, int], None]
"""Hears how many files are done, of how many. A watchdog needs it: a large file takes minutes to flush and hash."""


class Damaged(Exception):
    """A folder is not what its manifest says."""


def _ignore(_done: int, _total: int) -> None:
    """Progress that nobody waits for."""


def write_folder(
    target: Path, fill: Callable[[Path], None], about: Mapping[str, Any], progress: Progress = _ignore
) -> dict[str, Any]:
    """Let ``fill`` write into a temporary folder beside ``target`` and replace ``target`` by it. Returns the manifest.

    ``about`` is the manifest without its ``files``. Raises OSError, on a full disk for example; ``target`` is then as
    it was.
    """
    progress(0, 1)
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        manifest = {**about, "files": list_files(temporary, progress)}
        write_manifest(temporary, manifest)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        remove_folder(target)
    name_folder(temporary, target)
    return manifest


def list_files(
    folder: Path, progress: Progress = _ignore, extra: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Flush every file of a folder and describe it: ``path`` (relative, ``/``), ``bytes``, ``sha256``, ``crc32``.

    ``extra`` adds values to the entries of these paths.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files: list[dict[str, Any]] = []
    for path in paths:
        progress(len(files), len(paths))
        flush(path)
        progress(len(files), len(paths))
        name = path.relative_to(folder).as_posix()
        sha256, crc32 = _digests(path)
        entry = {"path": name, "bytes": path.stat().st_size, "sha256": sha256, "crc32": crc32}
        files.append({**entry, **(extra or {}).get(name, {})})
    return files


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """Write and flush the manifest of a filled folder, and the folder's own entries. Returns the manifest's bytes."""
    data = (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
    (folder / MANIFEST).write_bytes(data)
    flush(folder / MANIFEST)
    for inner in folder.rglob("*"):
        if inner.is_dir():
            flush(inner)
    flush(folder)
    return data


def name_folder(temporary: Path, target: Path) -> None:
    """Rename a flushed folder to ``target``. Raises FileExistsError when that is taken: nothing is replaced."""
    if target.exists():
        raise FileExistsError(f"already there: {target}")
    try:
        # rename() replaces an empty folder silently, and fails on one with content that appeared since the check.
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise FileExistsError(f"already there: {target}") from error
    # The new name is an entry of the parent: without this flush a power cut may lose it although the files are safe.
    flush(target.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder. It loses its name first: a deletion that is interrupted must not leave half of it under it.

    What an interrupted deletion left is deleted as well. Nothing happens where there is no folder.
    """
    condemned = folder.with_name(folder.name + ".removed.tmp")
    shutil.rmtree(condemned, ignore_errors=True)
    if folder.exists():
        folder.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)


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
            if sha256_file(path) != entry["sha256"]:
                raise Damaged(f"{folder.name}/{entry['path']} is corrupt")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder.name} has no readable manifest: {error!r}") from error
    return manifest


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over a manifest's files: the same content has the same fingerprint."""
    listed = "\n".join(f"{entry['sha256']}  {entry['path']}" for entry in manifest["files"])
    return hashlib.sha256(listed.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a local file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _digests(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and CRC-32 of a local file, read once. Archives need the CRC-32 before they send the file."""
    sha256, crc32 = hashlib.sha256(), 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            sha256.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
    return sha256.hexdigest(), crc32


def flush(path: Path) -> None:
    """fsync a file, or a folder: a folder's own entries (new names, renames) are on the disk only after that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
