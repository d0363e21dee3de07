# Made from _async/downloads.py by client/tools/generate.py: change that file, not this one.
"""Downloading a file, or an archive of many: what lies under its name is complete and is what the manifest says."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import httpx2 as httpx

from errata_client.errors import DigestMismatch, ServiceUnreachable
from errata_client.paths import inside
from errata_client.records import DatasetFile
from errata_client.transport import Transport
from errata_client.waiting import in_thread

_TRIES = 5


def download(transport: Transport, file: DatasetFile, folder: Path) -> Path:
    """``file`` under ``folder``. A cut download is resumed where it stopped, now or at the next call.

    Raises DigestMismatch, and ErrataError for a path that would leave the folder.
    """
    target = folder / inside(file.path)
    if target.is_file() and in_thread(_sha256, target) == file.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _resume(transport, file.url, file.bytes, f'"{file.sha256}"', part)
    if in_thread(_sha256, part) != file.sha256:
        part.unlink()
        raise DigestMismatch(f"{file.path}: what arrived is not what the manifest says; download it again")
    part.replace(target)
    return target


def download_archive(transport: Transport, url: str, target: Path) -> Path:
    """The ZIP archive at ``url`` as ``target``, replaced if there. A cut download is resumed, now or at the next call.

    Raises DigestMismatch when what arrived is not what the service sent.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    headers = {"Accept-Encoding": "identity", "Want-Repr-Digest": "sha-256=10"}
    about = transport.request("HEAD", url, headers=headers)
    etag = about.headers["etag"]
    # Named by its content: what another archive left is not taken for a part of this one.
    part = target.with_name(f"{target.name}.{etag.strip(chr(34))[:12]}.part")
    size, digest = int(about.headers["content-length"]), about.headers["repr-digest"]
    _resume(transport, url, size, etag, part)
    arrived = base64.b64encode(bytes.fromhex(in_thread(_sha256, part))).decode()
    if digest != f"sha-256=:{arrived}:":
        part.unlink()
        raise DigestMismatch(f"{target.name}: what arrived is not what the service sent; download it again")
    part.replace(target)
    return target


def _resume(transport: Transport, url: str, size: int, etag: str, part: Path) -> None:
    """Fetch until all has come: as often as it takes while something comes, a few times while nothing does."""
    left = _TRIES
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch(transport, url, size, etag, part)
            return
        except ServiceUnreachable:
            came = part.exists() and part.stat().st_size > before
            left = _TRIES if came else left - 1
            if left == 0:
                raise


def _fetch(transport: Transport, url: str, size: int, etag: str, part: Path) -> None:
    """What is missing of ``part``, appended to it."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size and have:
        return
    # If-Range: should the file have changed, all of it comes (200) instead of a part that does not fit (206).
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if have else {}
    with transport.stream(url, {"Accept-Encoding": "identity", **headers}) as response:
        _append(response, part)


def _append(response: httpx.Response, part: Path) -> None:
    with part.open("ab" if response.status_code == 206 else "wb") as out:
        for chunk in response.iter_raw():
            out.write(chunk)


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
