"""Parquet files: what they would unfold to is known before they do, and values become those that JSON has.

Repeated texts stay in their dictionaries until a row needs them, so that 740 bytes which stand for 1.5 GB are counted,
not written out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from api.http.readers.parquet_pages import unfolded_bytes
from api.http.readers.row import RawRow, Unreadable
from api.http.readers.unfolding import RATIO_FREE, RATIO_LIMIT, size_of

_BATCH_ROWS = 1024
_LEAST_ROWS = 16
_BATCH_BYTES = 16 * 1024 * 1024
_INDEX_COLUMN = "__index_level_"  # pandas writes its index as a column
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_LENGTH_BYTES = 4  # what a text costs besides its characters
_Convert = Callable[[Any], Any]


def parquet_rows(file: IO[bytes], size_limit: int, header: list[str]) -> Iterator[RawRow]:
    """Every row, numbered from 1, without null fields. Raises Unreadable; for too large a file before it unfolds."""
    size = size_of(file)
    most = min(size_limit, max(RATIO_FREE, RATIO_LIMIT * size))
    try:
        parquet = pq.ParquetFile(file)
        header += [name for name in parquet.schema_arrow.names if not name.startswith(_INDEX_COLUMN)]
        twice = next((name for name, count in Counter(header).items() if count > 1), None)
        if twice is not None:
            raise Unreadable(f"two columns are named '{twice[:80]}'; rename or drop one")
        if parquet.metadata.num_rows == 0:
            return
        _check_announced(file, parquet.metadata, most)
        columns = map(parquet.schema.column, range(len(parquet.schema)))
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        parquet = pq.ParquetFile(file, read_dictionary=texts)
        yield from _rows(parquet, most)
    except Unreadable:
        raise
    except (pa.ArrowException, OSError, OverflowError, ValueError, MemoryError) as error:
        raise Unreadable(f"not an acceptable Parquet file: {str(error)[:200]}") from None


def _rows(parquet: pq.ParquetFile, most: int) -> Iterator[RawRow]:
    rows = max(parquet.metadata.num_rows, 1)
    announced = sum(parquet.metadata.row_group(i).total_byte_size for i in range(parquet.metadata.num_row_groups))
    batch_rows = min(_BATCH_ROWS, max(_LEAST_ROWS, _BATCH_BYTES * rows // max(announced, 1)))
    line, unfolded = 0, 0
    converts = {field.name: _converter(field.type) for field in parquet.schema_arrow}
    for batch in parquet.iter_batches(batch_size=batch_rows):
        unfolded += sum(_size(column) for column in batch.columns)
        if unfolded > most:
            raise Unreadable(f"unfolds to more than {most} bytes; send it in parts")
        columns = _columns(batch, converts)
        for values in zip(*columns.values(), strict=True) if columns else [()] * batch.num_rows:
            line += 1
            yield RawRow(line, {n: v for n, v in zip(columns, values, strict=True) if v is not None})


def _check_announced(file: IO[bytes], metadata: Any, most: int) -> None:
    """Raise Unreadable where the file's own figures say that it is too large. Nothing but these has been read."""
    said = meant = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(number) for number in range(group.num_columns)]
        said += max(group.total_byte_size, sum(column.total_uncompressed_size for column in columns))
        # Run lengths make a billion equal numbers a few bytes: they are counted as they will stand in memory.
        meant += sum(column.num_values * _WIDTHS.get(column.physical_type, _LENGTH_BYTES) for column in columns)
    if max(said, meant) > most or unfolded_bytes(file, metadata, most) > most:
        raise Unreadable(f"unfolds to more than {most} bytes; send it in parts")


def _columns(batch: pa.RecordBatch, converts: dict[str, _Convert | None]) -> dict[str, list[Any]]:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name.startswith(_INDEX_COLUMN):
            continue
        values, convert = _values(name, column), converts[name]
        columns[name] = [v if v is None else convert(v) for v in values] if convert else values
    return columns


def _values(name: str, column: pa.Array) -> list[Any]:
    """The column's values. Times that Python's types cannot hold are texts. Raises Unreadable, naming the column."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (OverflowError, ValueError) as error:
        if pa.types.is_temporal(column.type) and not pa.types.is_duration(column.type):
            return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
        raise Unreadable(f"column '{name[:80]}': {str(error)[:200]}; correct or drop it") from None


def _size(column: pa.Array) -> int:
    """Bytes of the column once every row has its own copy of its value."""
    kind = column.type
    if pa.types.is_struct(kind):
        return sum(map(_size, column.flatten()))
    if pa.types.is_map(kind):
        return _size(column.keys) + _size(column.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _size(column.flatten()) + _LENGTH_BYTES * len(column)
    if not pa.types.is_dictionary(kind):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths).as_py() or 0) + _LENGTH_BYTES * len(column)


def _converter(kind: pa.DataType) -> _Convert | None:
    """What makes a value of this type one that JSON has; None where it is one already."""
    if pa.types.is_dictionary(kind):
        return _converter(kind.value_type)
    if pa.types.is_float16(kind):
        return lambda value: float(str(np.float16(value)))
    if pa.types.is_float32(kind):
        return _short_float
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _decoded
    if pa.types.is_decimal(kind):
        return str
    if pa.types.is_temporal(kind):
        return lambda value: value.isoformat() if hasattr(value, "isoformat") else str(value)
    if pa.types.is_map(kind):
        item = _converter(kind.item_type) or (lambda value: value)
        return lambda pairs: {str(key): value if value is None else item(value) for key, value in pairs}
    if pa.types.is_struct(kind):
        return _struct({field.name: _converter(field.type) for field in kind})
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type)
        return inner and (lambda values: [v if v is None else inner(v) for v in values])
    return None


def _struct(converts: dict[str, _Convert | None]) -> _Convert | None:
    if not any(converts.values()):
        return None
    return lambda row: {n: v if v is None or (c := converts[n]) is None else c(v) for n, v in row.items()}


def _short_float(value: float) -> float:
    """A 32-bit float as it was written: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def _decoded(value: bytes) -> str | bytes:
    """The text that bytes are. Others stay bytes: who needs that field refuses the row, and nothing is lost unseen."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
