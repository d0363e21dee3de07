"""One row of a file, and what is wrong with a file as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Format = Literal["jsonl", "json", "csv", "tsv", "parquet"]
LINE_LIMIT = 8 * 1024 * 1024
"""Most bytes of one line of JSON lines, one value of a JSON array, or one cell of a table."""


class Unreadable(ValueError):
    """The file as a whole is not what it claims to be. What helps stands behind the message's last semicolon."""

    def told(self) -> tuple[str, str]:
        """What is wrong, and what helps."""
        said, _, remedy = str(self).rpartition("; ")
        return (said, remedy) if said else (remedy, "repair the file")


class RawRow(NamedTuple):
    """One row: an object, or why it is none. ``like``: what equal reasons share, "" for the reason itself."""

    line: int
    value: dict[str, Any] | None
    error: str | None = None
    like: str = ""


def rows_of(values: Any) -> Iterator[RawRow]:
    """The rows of a JSON list."""
    for line, value in enumerate(values, start=1):
        yield as_row(line, value)


def as_row(line: int, value: Any) -> RawRow:
    """The row that a JSON value is."""
    return RawRow(line, value) if isinstance(value, dict) else RawRow(line, None, "not a JSON object")
