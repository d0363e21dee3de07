"""Many rows at once: written to disk as they are made, inserted in one go. Memory stays flat however many they are.

The file is in PostgreSQL's text format of COPY, so that PostgreSQL reads it as it is; SQLite gets its rows in batches.
Values are texts. An empty text is stored as null: columns that may hold empty texts cannot be written this way.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import IO, Any, cast

from sqlalchemy.orm import Session

from models.base import Base

_IN_MEMORY = 1024 * 1024
_COPY_BYTES = 8 * 1024 * 1024  # of one COPY: a statement's time is limited (models.session)
_BATCH = 1000
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class RowFile:
    """Rows of one table on disk; removed when it is closed."""

    def __init__(self, table: type[Base], columns: Sequence[str], in_memory: int = _IN_MEMORY) -> None:
        """``columns``: names of the values that ``add`` takes, in order. ``in_memory``: bytes kept off the disk."""
        self._table, self._columns = table, tuple(columns)
        self.size = 0  # bytes
        self._file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=in_memory))  # noqa: SIM115

    def add(self, rows: Iterable[Sequence[str | None]]) -> None:
        """Append rows. Texts may hold anything but NUL, which PostgreSQL cannot store either."""
        # Until tabs and line breaks in values are escaped, NUL and a letter stand for those between them: no value
        # holds a NUL. All rows are escaped together, which takes a third of the time.
        text = "".join(["\0t".join([value or "" for value in values]) + "\0n" for values in rows])
        data = _escaped(text).replace("\0t", "\t").replace("\0n", "\n").encode()
        self.size += len(data)
        self._file.write(data)

    def take(self) -> bytes:
        """The rows so far, for ``insert_lines``; the file is empty again."""
        self._file.seek(0)
        data = self._file.read()
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        return data

    def insert(self, session: Session, **constants: str) -> None:
        """Insert every row in the caller's transaction. ``constants``: columns that are the same in every row."""
        self._file.seek(0)
        columns = (*self._columns, *constants)
        if session.get_bind().dialect.name == "postgresql":
            _copy(session, self._table.__tablename__, columns, self._with(constants))
        else:
            _insert(session, self._table.__tablename__, columns, self._file, tuple(constants.values()))

    def _with(self, constants: Mapping[str, str]) -> Iterator[bytes]:
        end = "".join(f"\t{_escaped(value)}" for value in constants.values()).encode() + b"\n"
        while lines := self._file.readlines(_COPY_BYTES):
            data = b"".join(lines)
            # Inside values a line break is escaped: each one that stands here ends a row.
            yield data.replace(b"\n", end) if constants else data

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._file.close()


def insert_lines(session: Session, table: type[Base], columns: Sequence[str], lines: bytes) -> None:
    """Insert what ``RowFile.take`` gave, or whole lines of it, in the caller's transaction."""
    if session.get_bind().dialect.name == "postgresql":
        _copy(session, table.__tablename__, columns, iter([lines]))
    else:
        _insert(session, table.__tablename__, columns, io.BytesIO(lines), ())


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _copy(session: Session, table: str, columns: Sequence[str], pieces: Iterator[bytes]) -> None:
    session.flush()
    driver: Any = session.connection().connection.driver_connection
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH (NULL '', ENCODING 'UTF8')"
    with driver.cursor() as cursor:
        for piece in pieces:
            with cursor.copy(statement) as copy:
                copy.write(piece)


def _insert(session: Session, table: str, columns: Sequence[str], lines: IO[bytes], end: tuple[str, ...]) -> None:
    session.flush()
    connection = session.connection()
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    while batch := [(*_values(line), *end) for line in islice(lines, _BATCH)]:
        connection.exec_driver_sql(statement, batch)


def _values(line: bytes) -> list[str | None]:
    text = line.decode()
    values: list[str | None] = [value or None for value in text[:-1].split("\t")]
    if "\\" not in text:
        return values
    return [
        value and (_ESCAPED.sub(lambda m: _MEANT[m.group(1)], value) if "\\" in value else value) for value in values
    ]
