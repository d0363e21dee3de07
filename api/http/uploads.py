"""Files in requests: bodies on disk, gunzipped within a limit, and rows out of them, each with its line.

A body is spooled to disk while it streams in, as multipart or raw. Rows are read one at a time; a bad row is reported,
not fatal. Lines count from 1 as an editor shows them (CSV: where the row ends); for JSON arrays and Parquet the line is
the row's number.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Annotated, Any, Literal, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from api.http import strict_json
from api.http.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType
from api.http.strict_json import JsonError

Format = Literal["jsonl", "json", "csv", "parquet"]
LINE_LIMIT = 8 * 1024 * 1024
_PARQUET_BATCH = 256
csv.field_size_limit(LINE_LIMIT)
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
_SUFFIXES: dict[str, Format] = {name: name for name in get_args(Format)} | {"ndjson": "jsonl"}
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
    name: str = ""  # the file's own, where a form tells it

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
                    if plain.tell() + len(chunk) > limit:  # while unfolding: a gzip bomb never gets its size
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
        own_name = sent.filename or ""
        yield Upload(cast(IO[bytes], sent.file), file_format, False, gzipped, fields, own_name)
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


class Unreadable(ValueError):
    """The file as a whole is not what it claims to be."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row: an object, or the reason why it is none."""

    line: int
    value: dict[str, Any] | None
    error: str | None = None


def read_rows(file: IO[bytes], file_format: Format, size_limit: int) -> Iterator[RawRow]:
    """Every row of a file. Raises Unreadable; ``size_limit`` (bytes) bounds what Parquet may unfold to."""
    if file_format == "jsonl":
        return _jsonl(file)
    if file_format == "csv":
        return _csv(file)
    return _parquet(file, size_limit) if file_format == "parquet" else _json(file)


def rows_of(values: Any) -> Iterator[RawRow]:
    """The rows of a JSON list."""
    for line, value in enumerate(values, start=1):
        yield RawRow(line, value) if isinstance(value, dict) else RawRow(line, None, "not a JSON object")


def _jsonl(file: IO[bytes]) -> Iterator[RawRow]:
    line = 0
    while data := file.readline(LINE_LIMIT):
        line += 1
        # The rest of an overlong line is read away in pieces, so that it never stands in memory as a whole.
        if len(data) == LINE_LIMIT and not data.endswith(b"\n"):
            while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield RawRow(line, None, f"longer than {LINE_LIMIT} bytes")
            continue
        if not data.strip():
            continue
        try:
            value = strict_json.loads(data)
        except JsonError as error:
            yield RawRow(line, None, f"not acceptable JSON: {error}")
            continue
        yield RawRow(line, value) if isinstance(value, dict) else RawRow(line, None, "not a JSON object")


def _json(file: IO[bytes]) -> Iterator[RawRow]:
    try:
        value = strict_json.loads(file.read())
    except JsonError as error:
        raise Unreadable(f"not acceptable JSON: {error}") from None
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(lists) == 1 else value
    if not isinstance(value, list):
        raise Unreadable("a JSON file must hold one list of objects")
    return rows_of(value)


def _csv(file: IO[bytes]) -> Iterator[RawRow]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if not header or len(set(header)) != len(header):
            raise Unreadable("a CSV file must start with a header of distinct column names")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                message = f"{len(cells)} columns, but the header has {len(header)}"
                yield RawRow(reader.line_num, None, message)
                continue
            yield RawRow(reader.line_num, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""})
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: not acceptable CSV: {error}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"after line {reader.line_num}: not UTF-8") from None
    finally:
        text.detach()  # or the wrapper would close the request's file when it is collected


def _parquet(file: IO[bytes], size_limit: int) -> Iterator[RawRow]:
    try:
        table = pq.ParquetFile(file)
        groups = range(table.metadata.num_row_groups)
        # Parquet's own sizes, read before any data: a small file can unfold to many gigabytes.
        if sum(table.metadata.row_group(i).total_byte_size for i in groups) > size_limit:
            raise Unreadable(f"unfolds to more than {size_limit} bytes; send it in parts")
        line = 0
        for batch in table.iter_batches(batch_size=_PARQUET_BATCH):
            for value in batch.to_pylist():
                line += 1
                yield RawRow(line, {name: item for name, item in value.items() if item is not None})
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise Unreadable(f"not an acceptable Parquet file: {str(error)[:200]}") from None
