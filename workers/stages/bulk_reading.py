"""Rows of the database in bulk, as Arrow tables: by COPY from PostgreSQL, as plain tuples from SQLite."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

import orjson
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from workers.stages.binary_rows import BinaryRows, Places
from workers.stages.copying import copied

_LINE_END = orjson.Fragment(b"\n")
_KEPT_MS = 10_000
_AHEAD = 1  # items made before they are asked for
T = TypeVar("T")


class Rows(Protocol):
    """Rows as the database sent them. ``size``: bytes, about."""

    count: int
    size: int

    def column(self, at: int, kind: pa.DataType, order: Places | None = None) -> pa.Array:
        """A column by its place: texts, whole numbers or doubles; with ``order`` of the rows that it lists."""
        ...


class TupleRows:
    """Rows of SQLite."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.count = len(rows)
        self._columns = list(zip(*rows, strict=True))
        # Texts are measured in one row of many: all of them would cost as much as reading them did.
        looked_at = rows[:: max(1, len(rows) // 64)]
        size = sum(len(value) for row in looked_at for value in row if isinstance(value, str))
        self.size = size * len(rows) // max(1, len(looked_at))

    def column(self, at: int, kind: pa.DataType, order: Places | None = None) -> pa.Array:
        """See Rows."""
        values = pa.array(self._columns[at] if self.count else (), kind)
        return values if order is None else values.take(pa.array(order))


def table_of(
    rows: Rows, schema: pa.Schema, names: Sequence[str] | None = None, order: Places | None = None
) -> pa.Table:
    """Rows as a table. The schema's columns are theirs, in order; ``names`` and ``order`` say which are wanted."""
    wanted = schema.names if names is None else names
    columns = (rows.column(schema.get_field_index(name), schema.field(name).type, order) for name in wanted)
    return pa.Table.from_arrays(list(columns), schema=pa.schema([schema.field(name) for name in wanted]))


def fetch(session: Session, query: Select[Any]) -> Rows:
    """A query's rows, JSON as the text that the database holds. Raises SQLAlchemy's DBAPIError."""
    connection = session.connection()
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    raw: Any = connection.connection
    try:
        return (_copied if connection.dialect.name == "postgresql" else _selected)(raw, compiled)
    except (psycopg.Error, sqlite3.Error) as error:
        base = psycopg.Error if isinstance(error, psycopg.Error) else sqlite3.Error
        lost = isinstance(error, psycopg.Error) and bool(raw.closed)
        raised: Any = DBAPIError.instance(str(compiled), {}, error, base, connection_invalidated=lost)
        raise raised from error


def _copied(raw: Any, compiled: Any) -> Rows:
    kinds = [column.type.dialect_impl(compiled.dialect) for column in compiled.statement.selected_columns]
    jsonb = [at for at, kind in enumerate(kinds) if isinstance(kind, JSONB)]
    return BinaryRows(*copied(raw.driver_connection, str(compiled), compiled.params), jsonb)


def _selected(raw: Any, compiled: Any) -> Rows:
    with closing(raw.cursor()) as cursor:
        values = [compiled.params[name] for name in compiled.positiontup or ()]
        return TupleRows(cursor.execute(str(compiled), values).fetchall())


@contextmanager
def steady_memory() -> Iterator[None]:
    """Meanwhile Arrow's tables lie in memory that is used again and again; then what is left goes back to the system.

    By default Arrow gives memory back within milliseconds, and the system clears it for the next table: a third of the
    processor time of a freeze. jemalloc keeps what it has for some seconds; on a system without it nothing changes.
    A pool named in ARROW_DEFAULT_MEMORY_POOL stays.
    """
    if "jemalloc" in pa.supported_memory_backends() and not os.environ.get("ARROW_DEFAULT_MEMORY_POOL"):
        pa.jemalloc_set_decay_ms(_KEPT_MS)
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.default_memory_pool().release_unused()


def ahead(items: Iterable[T], depth: int = _AHEAD) -> Generator[T]:
    """The items, made in a thread of their own up to ``depth`` of them before they are asked for.

    What making one raises is raised here. Closing the iterator ends the thread before it makes another one.
    """
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                made.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


def canonical_json(column: pa.ChunkedArray) -> pa.Array:
    """JSON texts with sorted keys and no spaces: the same on every database. JSON's null is a null."""
    if not len(column):
        return pa.array([], pa.string())
    # All at once as one list: a call of the reader for each text costs as much as the reading.
    values = orjson.loads(f"[{','.join('null' if text is None else text for text in text_list(column))}]")
    parted: list[Any] = [_LINE_END] * (2 * len(values) - 1)
    parted[::2] = values
    # Written at once, too: orjson takes a kilobyte for each text that it writes. A line end that is no part of a value
    # stands between two of them: in JSON's texts it is escaped.
    told = orjson.dumps(parted, option=orjson.OPT_SORT_KEYS)[1:-1].split(b",\n,")
    texts = pa.array(told, pa.binary()).cast(pa.string())
    return pc.if_else(pc.equal(texts, "null"), None, texts)


def text_list(column: pa.ChunkedArray) -> list[Any]:
    """The texts of a column, None for null; several times as fast as ``to_pylist``, which makes a scalar of each."""
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found


def value_list(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column of any type as Python's own, as fast as its type allows."""
    if pa.types.is_string(column.type):
        return text_list(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return list(column.to_pylist())
    if column.null_count == len(column):
        return [None] * len(column)
    numbers = pc.fill_null(column, 0).to_numpy()
    if column.null_count:
        numbers = numbers.astype(object)
        numbers[pc.is_null(column).to_numpy()] = None
    found: list[Any] = numbers.tolist()
    return found
