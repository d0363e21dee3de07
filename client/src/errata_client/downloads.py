"""Downloading a file, or an archive of many: what lies under its name is complete and is what the manifest says."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from errata_client.errors import DigestMismatch, ErrataError, ServiceUnreachable
from errata_client.records import DatasetFile
from errata_client.transport import Transport

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
    _resume(part, lambda: _fetch(transport, file, part))
    if _sha256(part) != file.sha256:
        part.unlink()
        raise DigestMismatch(f"{file.path}: what arrived is not what the manifest says; download it again")
    part.replace(target)
    return target


def download_archive(transport: Transport, url: str, target: Path) -> Path:
    """The ZIP archive at ``url`` as ``target``, replaced if there. A cut download is resumed, now or at the next call.

    Raises DigestMismatch when what arrived is not what the service sent.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    about = transport.request("HEAD", url, headers={"Accept-Encoding": "identity", "Want-Repr-Digest": "sha-256=10"})
    etag = about.headers["etag"]
    # Named by its content: what another archive left is not taken for a part of this one.
    part = target.with_name(f"{target.name}.{etag.strip(chr(34))[:12]}.part")
    size, digest = int(about.headers["content-length"]), about.headers["repr-digest"]
    _resume(part, lambda: _fetch_part(transport, url, size, etag, part))
    if digest != f"sha-256=:{base64.b64encode(bytes.fromhex(_sha256(part))).decode()}:":
        part.unlink()
        raise DigestMismatch(f"{target.name}: what arrived is not what the service sent; download it again")
    part.replace(target)
    return target


def _resume(part: Path, fetch: Callable[[], None]) -> None:
    """Fetch until all has come: as often as it takes while something comes, a few times while nothing does."""
    left = _TRIES
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            fetch()
            return
        except ServiceUnreachable:
            came = part.exists() and part.stat().st_size > before
            left = _TRIES if came else left - 1
            if left == 0:
                raise


def _fetch(transport: Transport, file: DatasetFile, part: Path) -> None:
    _fetch_part(transport, file.url, file.bytes, f'"{file.sha256}"', part)


def _fetch_part(transport: Transport, url: str, size: int, etag: str, part: Path) -> None:
    """What is missing of ``part``, appended to it."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size and have:
        return
    # If-Range: should the file have changed, all of it comes (200) instead of a part that does not fit (206).
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if have else {}
    with (
        transport.stream(url, {"Accept-Encoding": "identity", **headers}) as response,
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
