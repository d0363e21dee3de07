"""Rows out of uploaded files, each with its line, one at a time; a bad row is reported, not fatal.

Lines count from 1 as an editor shows them (CSV: where the row ends); for JSON arrays and Parquet the line is the row's
number. A file that cannot be read at all raises ``Unreadable``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from api import strict_json
from api.strict_json import JsonError

Format = Literal["jsonl", "json", "csv", "parquet"]
LINE_LIMIT = 8 * 1024 * 1024
_PARQUET_BATCH = 256
csv.field_size_limit(LINE_LIMIT)


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
        text.detach()


def _parquet(file: IO[bytes], size_limit: int) -> Iterator[RawRow]:
    try:
        table = pq.ParquetFile(file)
        groups = range(table.metadata.num_row_groups)
        if sum(table.metadata.row_group(i).total_byte_size for i in groups) > size_limit:
            raise Unreadable(f"unfolds to more than {size_limit} bytes; send it in parts")
        line = 0
        for batch in table.iter_batches(batch_size=_PARQUET_BATCH):
            for value in batch.to_pylist():
                line += 1
                yield RawRow(line, {name: item for name, item in value.items() if item is not None})
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise Unreadable(f"not an acceptable Parquet file: {str(error)[:200]}") from None
