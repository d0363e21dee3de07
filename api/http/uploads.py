"""Files in requests: bodies on disk, with what their sender says about them.

A body is spooled to disk while it streams in, as multipart or raw. What it holds is read by api.http.readers.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Annotated, Any, cast, get_args

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from api.http.errors import FieldError, Invalid, UnsupportedMediaType
from api.http.readers import Format, RawRow, Unreadable, read_rows, rows_of
from api.http.readers.encoding import known_charset
from api.http.readers.unfolding import Packing, actual_format, sniffed_format, unfolded

__all__ = [
    "Format",
    "RawRow",
    "Unreadable",
    "Upload",
    "UploadDep",
    "format_by_name",
    "read_rows",
    "receive_upload",
    "rows_of",
]
_IN_MEMORY = 1024 * 1024
_TYPES: dict[str, Format] = {
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/jsonlines": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "text/csv": "csv",
    "application/csv": "csv",
    "text/x-csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}
# Types that say how the content is packed, not what it is: that is seen once it is unfolded.
_PACKED_TYPES = ("application/gzip", "application/x-gzip", "application/zstd")
_SUFFIXES: dict[str, Format] = {name: name for name in get_args(Format)} | {"ndjson": "jsonl", "tab": "tsv"}
_PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_ENCODINGS: dict[str, Packing | None] = {"identity": None, "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_UNREAD = (".zip", ".xlsx", ".xls", ".ods")
_MOST_FIELDS = 16  # of a form, besides its file
_REMEDY = (
    "send application/json, or a file as application/jsonl, text/csv, text/tab-separated-values or"
    " application/vnd.apache.parquet, or as multipart/form-data with a field 'file'"
)


@dataclass
class Upload:
    """A body on disk. ``is_document``: a plain ``application/json`` request rather than a file.

    ``format`` is None where only the unfolded content tells it. ``packing``: compression that the sender declared;
    what is compressed without a word is recognised. ``charset``: "" where the sender names none.
    """

    file: IO[bytes]
    format: Format | None
    is_document: bool
    packing: Packing | None = None
    charset: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""  # the file's own, where a form tells it
    sha256: str = ""  # of the body as sent, in hex, where it was computed while it came in

    def digest(self) -> str:
        """SHA-256 of the body as sent, in hex."""
        if self.sha256:
            return self.sha256
        self.file.seek(0)
        digest = hashlib.file_digest(cast(Any, self.file), "sha256").hexdigest()
        self.file.seek(0)
        return digest

    def open(self, limit: int) -> IO[bytes]:
        """The content, no longer compressed. Raises TooLarge beyond ``limit`` bytes, BadRequest for damaged data."""
        return unfolded(self.file, limit, self.packing)

    def rows(self, limit: int, columns: Collection[str] = (), header: list[str] | None = None) -> Iterator[RawRow]:
        """Every row (see api.http.readers.read_rows); ``limit``: most bytes of the content. Raises as ``open``."""
        content = self.open(limit)
        return _rows(content, self.format or sniffed_format(content), limit, self.charset, columns, header)


def _rows(
    content: IO[bytes],
    named: Format,
    limit: int,
    charset: str,
    columns: Collection[str],
    header: list[str] | None,
) -> Iterator[RawRow]:
    found = actual_format(content, named)
    yield from read_rows(content, found, limit, charset=charset, columns=columns, header=header)


async def receive_upload(request: Request) -> AsyncIterator[Upload]:
    """The request's body on disk, removed when the request ends."""
    content_type, charset = _content_type(request.headers.get("content-type", ""))
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS:
        accepted = {"Accept-Encoding": "gzip, zstd"}
        message, remedy = "it must be gzip, zstd or absent", "compress the body by gzip or zstd, or not at all"
        raise _unsupported("Content-Encoding", message, remedy, accepted)
    if content_type == "multipart/form-data" and encoding == "identity":
        async for upload in _from_form(request):
            yield upload
        return
    if content_type not in _TYPES and content_type not in _PACKED_TYPES:
        named = f"'{content_type[:80]}'" if content_type else "a body without Content-Type"
        raise _unsupported("Content-Type", f"cannot read {named}", _REMEDY)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        digest = hashlib.sha256()
        async for chunk in request.stream():
            spool.write(chunk)
            digest.update(chunk)
        spool.seek(0)
        is_document = content_type == "application/json"
        file_format = _TYPES.get(content_type)
        packing, sha256 = _ENCODINGS[encoding], digest.hexdigest()
        yield Upload(cast(IO[bytes], spool), file_format, is_document, packing, charset, sha256=sha256)


async def _from_form(request: Request) -> AsyncIterator[Upload]:
    form = await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=64 * 1024)
    try:
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if set(files) != {"file"}:
            raise Invalid.field("file", "a form must hold exactly one file, named 'file'", _REMEDY)
        sent = files["file"]
        content_type, charset = _content_type(sent.content_type or "")
        file_format = format_by_name((sent.filename or "").lower()) or _TYPES.get(content_type)
        if file_format is None:
            named = ".jsonl, .json, .csv, .tsv or .parquet (or one of these and .gz or .zst)"
            packed = (sent.filename or "").lower().endswith(_UNREAD)
            remedy = "unpack it, or save the sheet as CSV" if packed else f"name it {named}"
            raise _unsupported("file", "cannot tell the file's format", remedy)
        own_name = sent.filename or ""
        yield Upload(cast(IO[bytes], sent.file), file_format, False, None, charset, fields, own_name)
    finally:
        with suppress(OSError):
            await form.close()


def format_by_name(name: str) -> Format | None:
    """The format that a file's name, in small letters, tells: also of one packed by gzip or Zstandard."""
    packed = next((suffix for suffix in _PACKED_SUFFIXES if name.endswith(suffix)), "")
    return _SUFFIXES.get(name.removesuffix(packed).rpartition(".")[2])


def _content_type(header: str) -> tuple[str, str]:
    """The media type and the charset. Raises UnsupportedMediaType for a charset that nobody knows."""
    message = Message()
    message["content-type"] = header or "application/octet-stream"
    charset = message.get_param("charset", "")
    known = message.get_content_type() if header else ""
    if charset and not (isinstance(charset, str) and known_charset(charset)):
        remedy = "send UTF-8, or name another encoding such as windows-1252"
        raise _unsupported("Content-Type", "the charset is unknown", remedy)
    return known, str(charset).lower()


def _unsupported(field: str, message: str, remedy: str, headers: dict[str, str] | None = None) -> UnsupportedMediaType:
    told = [FieldError(field=field, message=message, remedy=remedy)]
    return UnsupportedMediaType(f"{field}: {message}; {remedy}", told, headers)


UploadDep = Annotated[Upload, Depends(receive_upload, scope="function")]
