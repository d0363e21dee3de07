"""Files as bodies of requests: read as they are sent, so that a file larger than memory can be sent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import httpx

from client.transport import Transport

#: Of files of rows, by the ending of their name.
CONTENT_TYPES = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".tab": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
    ".gz": "application/gzip",
    ".gzip": "application/gzip",
    ".zst": "application/zstd",
    ".zstd": "application/zstd",
}
DOCUMENT = ".json"  # application/json would be a request of its own, not a file of rows: it goes as a form's file
PATIENCE = httpx.Timeout(1800.0, connect=10.0)  # a million rows are stored before the answer comes
_PIECE = 256 * 1024
_IN_MEMORY = 1024 * 1024


class FileBody:
    """A file's bytes, from its first one each time a request is sent: a retry sends the file anew."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def headers(self) -> dict[str, str]:
        """``Content-Length``: the service refuses too large a file before it comes. Raises OSError."""
        return {"Content-Length": str(self._file.stat().st_size)}

    def __iter__(self) -> Iterator[bytes]:
        with self._file.open("rb") as data:
            while piece := data.read(_PIECE):
                yield piece


class LinesBody:
    """Rows as JSON lines, written out once, on disk where they are many: a retry sends them anew. To be closed."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        for row in rows:
            self._file.write(json.dumps(dict(row), ensure_ascii=False).encode() + b"\n")

    @property
    def headers(self) -> dict[str, str]:
        """``Content-Length`` and ``Content-Type``."""
        return {"Content-Length": str(self._file.seek(0, 2)), "Content-Type": CONTENT_TYPES[".jsonl"]}

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def __enter__(self) -> LinesBody:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._file.close()


def post_file(transport: Transport, path: str, file: Path, fields: Mapping[str, Any]) -> Any:
    """The JSON answer to a file of rows, which is read as it is sent. ``fields``: what is told of it.

    Raises ValueError for a name whose ending tells no format, OSError for a file that cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix == DOCUMENT:
        form = {key: str(each).lower() if isinstance(each, bool) else each for key, each in fields.items()}
        return post_form(transport, path, file, form)
    kind = CONTENT_TYPES.get(suffix)
    if kind is None:
        raise ValueError(f"{file.name}: give a file that ends in {', '.join((*CONTENT_TYPES, DOCUMENT))}")
    body = FileBody(file)
    headers = {"Content-Type": kind, **body.headers}
    return transport.post(path, content=body, params=dict(fields), headers=headers, timeout=PATIENCE)


def post_form(transport: Transport, path: str, file: Path, form: Mapping[str, Any]) -> Any:
    """The same as a form's file, which tells its name; httpx reads it from its beginning for each try."""
    with file.open("rb") as data:
        return transport.post(path, data=dict(form), files={"file": (file.name, data)}, timeout=PATIENCE)
