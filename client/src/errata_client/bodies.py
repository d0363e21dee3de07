"""Files and rows as bodies of requests: read as they are sent, so that more than fits memory can be sent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import httpx2 as httpx

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


class _File:
    """A file's bytes, from its first one each time a request is sent: a retry sends the file anew."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def headers(self) -> dict[str, str]:
        """``Content-Length``: the service refuses too large a file before it comes. Raises OSError."""
        return {"Content-Length": str(self._file.stat().st_size)}

    def _pieces(self) -> Iterator[bytes]:
        with self._file.open("rb") as data:
            while piece := data.read(_PIECE):
                yield piece


class FileBody(_File):
    """The body of a request."""

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()


class AsyncFileBody(_File):
    """The body of a request of an asynchronous client, which takes no plain iterator."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece


class _Lines:
    """Rows as JSON lines, written out once, on disk where they are many: a retry sends them anew. To be closed."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        for row in rows:
            self._file.write(json.dumps(dict(row), ensure_ascii=False).encode() + b"\n")

    @property
    def headers(self) -> dict[str, str]:
        """``Content-Length`` and ``Content-Type``."""
        return {"Content-Length": str(self._file.seek(0, 2)), "Content-Type": CONTENT_TYPES[".jsonl"]}

    def _pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._file.close()


class LinesBody(_Lines):
    """The body of a request."""

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()


class AsyncLinesBody(_Lines):
    """The body of a request of an asynchronous client."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece
