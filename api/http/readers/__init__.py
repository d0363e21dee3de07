"""Rows out of files, one at a time: compression, encoding and format are recognised, and what they may cost is bounded.

Lines count from 1 as an editor shows them (CSV: where the row ends); for JSON arrays and Parquet the line is the row's
number. A bad row is told and reading goes on; only a file that is not what it claims to be as a whole ends it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO

from api.http.readers.json_text import json_rows, jsonl_rows
from api.http.readers.parquet import parquet_rows
from api.http.readers.row import LINE_LIMIT, Format, RawRow, Unreadable, rows_of
from api.http.readers.tables import table_rows

__all__ = ["LINE_LIMIT", "Format", "RawRow", "Unreadable", "read_rows", "rows_of"]


def read_rows(
    file: IO[bytes],
    file_format: Format,
    size_limit: int,
    *,
    charset: str = "",
    columns: Collection[str] = (),
    header: list[str] | None = None,
) -> Iterator[RawRow]:
    """Every row of a file that is no longer compressed. Raises Unreadable, at once or while rows are read.

    ``size_limit`` (bytes) bounds what Parquet may unfold to. ``charset``: the encoding that the sender names, "" where
    it is to be recognised. ``columns``: names that a table's header is likely to have; they help to find its delimiter.
    """
    header = [] if header is None else header
    if file_format == "parquet":
        return parquet_rows(file, size_limit, header)
    if file_format == "jsonl":
        return jsonl_rows(file, charset)
    if file_format == "json":
        return json_rows(file, charset)
    return table_rows(file, charset, columns, header, tabs=file_format == "tsv")
