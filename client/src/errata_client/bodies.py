"""Files as bodies of requests: read as they are sent, so that a file larger than memory can be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

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
_PIECE = 256 * 1024


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
