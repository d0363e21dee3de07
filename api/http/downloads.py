"""Sending stored files: strong ETags, ranges, digests, and the same small memory at any size.

The manifest's SHA-256 is the ETag. ``Repr-Digest`` is that of the whole file, on every answer; ``Content-Digest`` that
of what is sent, so only on whole files (RFC 9530). Several ranges in one request are answered with the whole file.
:mod:`api.http.archives` sends many files as one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.http.errors import FieldError, NotFound, PreconditionFailed, RangeNotSatisfiable, documented
from api.schemas import RowAnswer
from models.files import FileStore, UnsafePath
from models.folders import MANIFEST

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
FILE_RESPONSES = {
    **documented(404, 409, 412, 416),
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    206: {"description": "The range asked for.", "content": {"application/octet-stream": {}}},
    304: {"description": "Not modified."},
}
_TYPES = {
    "jsonl": "application/jsonl",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}


@dataclass(frozen=True)
class StoredFile:
    """One file of a manifest; ``path`` is relative to ``folder`` of the file store."""

    folder: str
    path: str
    size: int
    sha256: str
    rows: int | None = None
    crc32: int | None = None  # null: of a manifest that does not tell it

    @property
    def media_type(self) -> str:
        """By the name's ending."""
        return _TYPES.get(self.path.rpartition(".")[2], "application/octet-stream")


class FileOut(RowAnswer):
    """A file of a dataset or of a trained language model; ``url`` is where it is downloaded."""

    object: Literal["file"] = "file"
    path: str
    bytes: int = Field(validation_alias="size")
    sha256: str
    rows: int | None
    url: str

    @classmethod
    def listed(cls, files: Iterable[StoredFile], url: str) -> list[FileOut]:
        """The entries of a list of files that are downloaded below ``url``."""
        return [cls.of(file, url=f"{url}/{quote(file.path)}") for file in files]


def manifest_files(folder: str | None, manifest: Mapping[str, Any] | None) -> list[StoredFile]:
    """The files a manifest lists; none while there is no manifest."""
    files = (manifest or {}).get("files", [])
    entries = [{"path": name, **entry} for name, entry in files.items()] if isinstance(files, dict) else files
    return [
        StoredFile(
            folder or "",
            str(entry["path"]),
            int(entry.get("bytes", entry.get("size", 0))),
            str(entry["sha256"]),
            entry.get("rows"),
            entry.get("crc32"),
        )
        for entry in entries
    ]


def manifest_itself(store: FileStore, folder: str | None, sha256: str | None) -> list[StoredFile]:
    """The manifest as a file: it cannot list itself, the row holds its digest."""
    path = f"{folder}/{MANIFEST}"
    if not folder or not sha256 or not store.exists(path):
        return []
    return [StoredFile(folder, MANIFEST, store.size(path), sha256)]


def send_listed(request: Request, store: FileStore, files: Iterable[StoredFile], path: str) -> Response:
    """The file of this path among ``files``, or a range of it. Raises NotFound: no other file exists."""
    for file in files:
        if file.path == path:
            return send_file(request, store, file)
    raise NotFound("there is no such file here; see /files")


def send_file(request: Request, store: FileStore, file: StoredFile) -> Response:
    """The file, or the part the request asks for. Raises RangeNotSatisfiable, NotFound when the file has gone."""

    def chunks(start: int, stop: int) -> Iterator[bytes]:
        try:
            return store.chunks(f"{file.folder}/{file.path}", start, stop)
        except (FileNotFoundError, UnsafePath, IsADirectoryError):
            raise gone() from None

    name = file.path.rpartition("/")[2].replace('"', "")
    return send(request, Download(name, file.media_type, file.size, file.sha256, chunks, lambda: file.sha256))


def gone() -> NotFound:
    """The refusal where a manifest lists a file that is not there."""
    return NotFound("the file is no longer in the file store")


@dataclass(frozen=True)
class Download:
    """Something to send: ``size`` bytes that never change while ``etag`` is the same.

    ``chunks`` gives the bytes of a range piece by piece; it raises NotFound before the first. ``sha256`` (hex) is that
    of the whole; None where it is not known, and would have to be asked for.
    """

    name: str
    media_type: str
    size: int
    etag: str
    chunks: Callable[[int, int], Iterator[bytes]]
    sha256: Callable[[], str | None]


# Starlette's FileResponse does not serve: it answers 400 where RFC 9110 ignores a range, knows no If-None-Match, says
# 416 in plain text, puts the whole file's Content-Digest on its parts, and reads local paths only.
def send(request: Request, found: Download) -> Response:
    """All of it, or the part the request asks for.

    Raises RangeNotSatisfiable, PreconditionFailed and what ``chunks`` raises.
    """
    etag, sha256 = f'"{found.etag}"', found.sha256()
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=86400, immutable"}
    if sha256:
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    _check_still(request, etag)
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    # Size and digest are the manifest's, so that the answer to HEAD needs no look at the store. Ranges are GET's alone.
    part = _range(request, found.size, etag) if request.method == "GET" else None
    start, stop = part or (0, found.size)
    status = 206 if part else 200
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
    elif sha256:
        headers["Content-Digest"] = headers["Repr-Digest"]
    headers |= {"Content-Length": str(stop - start), "Content-Disposition": f'attachment; filename="{found.name}"'}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=found.media_type)
    chunks = found.chunks(start, stop)  # before the answer starts: a file that has gone is a 404, not a broken body
    return StreamingResponse(chunks, status, headers, media_type=found.media_type)


def matches(header: str | None, etag: str) -> bool:
    """Weak comparison, as If-None-Match wants it."""
    if header is None:
        return False
    return header.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in header.split(",")]


def _check_still(request: Request, etag: str) -> None:
    """Raises PreconditionFailed where If-Match (strong comparison) names other content than there is."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*" or etag in map(str.strip, header.split(",")):
        return
    message, remedy = "the file is another one now", "download it anew from its first byte, without If-Match"
    told = [FieldError(field="If-Match", message=message, remedy=remedy)]
    raise PreconditionFailed(message, told, {"ETag": etag})


def _range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The range asked for; None for the whole file. Raises RangeNotSatisfiable.

    A range we cannot read, several of them, or one of other content (If-Range, strong comparison) is ignored, as
    RFC 9110 says.
    """
    condition = request.headers.get("if-range")
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or not any(match.groups()) or (condition is not None and condition.strip() != etag):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        message, remedy = f"the file has {size} bytes", "ask for a range that begins inside it, or for the whole file"
        told = [FieldError(field="Range", message=message, remedy=remedy)]
        raise RangeNotSatisfiable(message, told, {"Content-Range": f"bytes */{size}"})
    return start, stop
