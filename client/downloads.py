"""Downloading a file so that what lies under its name is complete and is what the manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from client.errors import DigestMismatch, ErrataError, ServiceUnreachable
from client.records import DatasetFile
from client.transport import Transport

_TRIES = 5


def download(transport: Transport, file: DatasetFile, folder: Path) -> Path:
    """``file`` under ``folder``. A cut download is resumed where it stopped, now or at the next call.

    Raises DigestMismatch, and ErrataError for a path that would leave the folder.
    """
    target = folder / _inside(file.path)
    if target.is_file() and _sha256(target) == file.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for attempt in range(_TRIES):
        try:
            _fetch(transport, file, part)
            break
        except ServiceUnreachable:
            if attempt == _TRIES - 1:
                raise
    if _sha256(part) != file.sha256:
        part.unlink()
        raise DigestMismatch(f"{file.path}: what arrived is not what the manifest says; download it again")
    part.replace(target)
    return target


def _fetch(transport: Transport, file: DatasetFile, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > file.bytes:
        part.unlink()
        have = 0
    if have == file.bytes and have:
        return
    # If-Range: should the file have changed, all of it comes (200) instead of a part that does not fit (206).
    headers = {"Range": f"bytes={have}-", "If-Range": f'"{file.sha256}"'} if have else {}
    with (
        transport.stream(file.url, {"Accept-Encoding": "identity", **headers}) as response,
        part.open("ab" if response.status_code == 206 else "wb") as out,
    ):
        for chunk in response.iter_raw():
            out.write(chunk)


def _inside(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ErrataError(f"the service names a file outside the dataset: {path!r}")
    return pure


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
