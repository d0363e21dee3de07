"""Files in requests: multipart or raw bodies, spooled to disk while they stream in, gunzipped within a limit."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Annotated, Any, cast

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from api.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType
from api.formats.readers import Format

_IN_MEMORY = 1024 * 1024
_CHUNK = 256 * 1024
_TYPES: dict[str, Format] = {
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/jsonlines": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}
_SUFFIXES: dict[str, Format] = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "csv": "csv",
    "parquet": "parquet",
}
_REMEDY = (
    "send application/json, or a file as application/jsonl, text/csv or application/vnd.apache.parquet,"
    " or as multipart/form-data with a field 'file'"
)


@dataclass
class Upload:
    """A body on disk. ``is_document``: a plain ``application/json`` request rather than a file."""

    file: IO[bytes]
    format: Format
    is_document: bool
    gzipped: bool
    fields: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 of the body as sent, in hex."""
        self.file.seek(0)
        digest = hashlib.file_digest(cast(Any, self.file), "sha256").hexdigest()
        self.file.seek(0)
        return digest

    def open(self, limit: int) -> IO[bytes]:
        """The content, gunzipped where needed. Raises TooLarge beyond ``limit`` bytes, BadRequest for bad gzip."""
        self.file.seek(0)
        if not self.gzipped:
            return self.file
        plain: IO[bytes] = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        try:
            with gzip.open(self.file) as packed:
                while chunk := packed.read(_CHUNK):
                    if plain.tell() + len(chunk) > limit:
                        raise TooLarge(f"the file unfolds to more than {limit} bytes; send it in parts")
                    plain.write(chunk)
        except (OSError, EOFError, zlib.error):
            raise BadRequest("the file is not complete gzip data") from None
        plain.seek(0)
        return plain


async def receive_upload(request: Request) -> AsyncIterator[Upload]:
    """The request's body on disk, removed when the request ends."""
    content_type, charset = _content_type(request.headers.get("content-type", ""))
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("text must be UTF-8")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMediaType("Content-Encoding must be gzip or absent", headers={"Accept-Encoding": "gzip"})
    if content_type == "multipart/form-data" and encoding == "identity":
        async for upload in _from_form(request):
            yield upload
        return
    if content_type not in _TYPES:
        raise UnsupportedMediaType(f"cannot read '{content_type[:80] or 'a body without Content-Type'}'; {_REMEDY}")
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        async for chunk in request.stream():
            spool.write(chunk)
        spool.seek(0)
        is_document = content_type == "application/json"
        yield Upload(cast(IO[bytes], spool), _TYPES[content_type], is_document, encoding == "gzip")


async def _from_form(request: Request) -> AsyncIterator[Upload]:
    form = await request.form(max_files=1, max_fields=8, max_part_size=64 * 1024)
    try:
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if set(files) != {"file"}:
            raise Invalid.field("file", "a form must hold exactly one file, named 'file'", _REMEDY)
        sent = files["file"]
        name, gzipped = (sent.filename or "").lower(), False
        if name.endswith(".gz"):
            name, gzipped = name.removesuffix(".gz"), True
        file_format = _SUFFIXES.get(name.rpartition(".")[2]) or _TYPES.get(_content_type(sent.content_type or "")[0])
        if file_format is None:
            raise UnsupportedMediaType("cannot tell the file's format; name it .jsonl, .json, .csv or .parquet (.gz)")
        yield Upload(cast(IO[bytes], sent.file), file_format, False, gzipped, fields)
    finally:
        with suppress(OSError):
            await form.close()


def _content_type(header: str) -> tuple[str, str]:
    message = Message()
    message["content-type"] = header or "application/octet-stream"
    charset = message.get_param("charset", "")
    known = message.get_content_type() if header else ""
    return known, charset.lower() if isinstance(charset, str) else "?"


UploadDep = Annotated[Upload, Depends(receive_upload, scope="function")]
