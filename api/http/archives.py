"""Sending many stored files as one ZIP archive, streamed: nothing is copied, and any range of it can be asked for.

The archive is stored, not compressed, and its bytes follow from the files alone (models.archives): the ETag is made of
their digests, so a download is resumed like that of a file, also after a restart or from another server.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from fastapi import Request, Response

from api.http.downloads import Download, StoredFile, gone, send
from api.http.errors import documented
from models.archives import ArchiveLayout, Member
from models.files import FileStore, UnsafePath

_FORMAT = "errata-archive-1"  # part of the ETag: raised when the layout's bytes change
ARCHIVE_RESPONSES = {
    **documented(404, 409, 412, 416),
    200: {"description": "The archive.", "content": {"application/zip": {}}},
    206: {"description": "The range asked for.", "content": {"application/zip": {}}},
    304: {"description": "Not modified."},
}


def send_archive(request: Request, store: FileStore, files: Sequence[StoredFile], name: str) -> Response:
    """The files as ``name.zip``, in a folder ``name``, or the range of it that the request asks for.

    ``Repr-Digest`` is computed where the request has ``Want-Repr-Digest: sha-256``: that reads every file. Raises
    RangeNotSatisfiable, and NotFound when a file has gone.
    """
    try:
        found = _download(store, tuple(files), name, "sha-256" in request.headers.get("want-repr-digest", "").lower())
        return send(request, found)
    except (FileNotFoundError, UnsafePath, IsADirectoryError):
        raise gone() from None


def _download(store: FileStore, files: tuple[StoredFile, ...], name: str, want_digest: bool) -> Download:
    listed = "\n".join(f"{file.sha256} {file.size} {file.path}" for file in files)
    etag = hashlib.sha256(f"{_FORMAT}\n{name}\n{listed}".encode()).hexdigest()
    layout = _layout(store.url, files, name)
    chunks = partial(_chunks, store, layout, files)
    digest = partial(_digest, store.url, files, name)
    return Download(f"{name}.zip", "application/zip", layout.size, etag, chunks, digest if want_digest else _unknown)


def _unknown() -> None:
    """No digest was asked for."""


def _chunks(
    store: FileStore, layout: ArchiveLayout, files: Sequence[StoredFile], start: int, stop: int
) -> Iterator[bytes]:
    for file in files:  # looked at before the answer starts: a broken body would not say what is wrong
        if store.size(f"{file.folder}/{file.path}") != file.size:
            raise FileNotFoundError(file.path)
    return _stream(store, layout, files, start, stop)


def _stream(
    store: FileStore, layout: ArchiveLayout, files: Sequence[StoredFile], start: int, stop: int
) -> Iterator[bytes]:
    for piece in layout.pieces(start, stop):
        if isinstance(piece, bytes):
            yield piece
        else:
            file = files[piece.member]
            yield from store.chunks(f"{file.folder}/{file.path}", piece.start, piece.stop)


@lru_cache(maxsize=64)
def _layout(url: str, files: tuple[StoredFile, ...], name: str) -> ArchiveLayout:
    """Where everything stands. Kept, because files of manifests without a CRC-32 have to be read for it."""
    return ArchiveLayout([Member(f"{name}/{file.path}", file.size, _crc32(url, file)) for file in files])


def _crc32(url: str, file: StoredFile) -> int:
    if file.crc32 is not None:
        return file.crc32
    found = 0
    for chunk in FileStore(url).chunks(f"{file.folder}/{file.path}", 0, file.size):
        found = zlib.crc32(chunk, found)
    return found


@lru_cache(maxsize=64)
def _digest(url: str, files: tuple[StoredFile, ...], name: str) -> str:
    layout, found = _layout(url, files, name), hashlib.sha256()
    for chunk in _chunks(FileStore(url), layout, files, 0, layout.size):
        found.update(chunk)
    return found.hexdigest()
