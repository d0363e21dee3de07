"""CSV and TSV: which delimiter and quoting a table uses is found by reading its first rows with each that may be.

The one under which the rows agree with the header wins, and header names that are known count most. (csv.Sniffer goes
by character counts and takes a comma in prose for a delimiter.)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from api.http.readers.encoding import as_utf8
from api.http.readers.row import LINE_LIMIT, RawRow, Unreadable

csv.field_size_limit(LINE_LIMIT)
_SAMPLE = 256 * 1024
_SAMPLE_ROWS = 200
_DELIMITERS = (",", ";", "\t", "|")
_HINT = "sep="  # Excel's own first line


@dataclass(frozen=True)
class Dialect:
    """How a table is written. ``escape``: a backslash before a quote instead of a second quote."""

    delimiter: str
    quoted: bool = True
    escape: bool = False

    def reader(self, text: Any) -> Any:
        """A csv.reader of this dialect."""
        if not self.quoted:
            return csv.reader(text, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        if self.escape:
            return csv.reader(text, delimiter=self.delimiter, doublequote=False, escapechar="\\", strict=True)
        return csv.reader(text, delimiter=self.delimiter, strict=True)


def table_rows(
    file: IO[bytes], charset: str, columns: Collection[str], header: list[str], *, tabs: bool
) -> Iterator[RawRow]:
    """Every row as an object of texts; empty cells are left out, and so are rows and unnamed columns without any text.

    ``columns``: names that the header is likely to have; ``header`` gets those it has. ``tabs``: the sender says that
    tabs are between the cells. Raises Unreadable.
    """
    file = as_utf8(file, charset, guess=True)
    began = file.tell()
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        hint = _hint(text)
        start = text.tell() if hint else began
        text.seek(start)
        sample = text.read(_SAMPLE)
        whole = len(sample) < _SAMPLE
        text.seek(start)
        dialect = Dialect(hint) if hint else _dialect(sample, whole, columns, tabs)
        yield from _rows(dialect.reader(text), 1 if hint else 0, header)
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8; name the encoding in Content-Type (charset=), or save the file as UTF-8") from None
    finally:
        text.detach()  # or the wrapper would close the request's file when it is collected


def _rows(reader: Any, before: int, header: list[str]) -> Iterator[RawRow]:
    """``before``: lines above the header."""
    try:
        # Lines without any text above the header are no rows, as they are none below it.
        first: list[str] = next((cells for cells in reader if any(map(str.strip, cells))), [])
        names = [name.strip() for name in first]
        header += [name for name in names if name]
        if not header:
            raise Unreadable("the file is empty; send a table that starts with a header of column names")
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise Unreadable(f"the column '{twice[:80]}' stands there twice; rename or drop one")
        width = len(names)
        for cells in reader:
            if len(cells) != width:
                if any(cells):
                    found = f"{len(cells)} columns, but the header has {width}"
                    yield RawRow(reader.line_num + before, None, found)
                continue
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell and name}
            if row:
                yield RawRow(reader.line_num + before, row)
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num + before}: not acceptable CSV: {error}") from None


def _hint(text: io.TextIOWrapper) -> str:
    """The delimiter that a first line like ``sep=;`` names; "" where there is none."""
    line = text.readline(16)
    stripped = line.rstrip("\r\n").strip('"')
    return stripped[-1] if len(stripped) == len(_HINT) + 1 and stripped.lower().startswith(_HINT) else ""


def _dialect(sample: str, whole: bool, columns: Collection[str], tabs: bool) -> Dialect:
    """The dialect under which the sample reads best; equal ones in the order of trying. ``whole``: it is the file."""
    delimiters = sorted(_DELIMITERS, key=lambda delimiter: delimiter != "\t") if tabs else _DELIMITERS
    candidates = [Dialect(delimiter) for delimiter in delimiters]
    candidates += [Dialect(delimiter, escape=True) for delimiter in delimiters if '\\"' in sample]
    candidates += [Dialect(delimiter, quoted=False) for delimiter in delimiters]
    return max(candidates, key=lambda candidate: _score(candidate, sample, whole, columns, tabs))


def _score(dialect: Dialect, sample: str, whole: bool, columns: Collection[str], tabs: bool) -> tuple[float, ...]:
    """Higher is likelier: known names in the header, no error, quotes that mean quotes, rows as wide as it, width."""
    rows: list[list[str]] = []
    sound = True
    reader = dialect.reader(io.StringIO(sample, newline=""))
    try:
        while len(rows) <= _SAMPLE_ROWS and (cells := next(reader, None)) is not None:
            rows.append(cells)
        ended = len(rows) <= _SAMPLE_ROWS
    except csv.Error as error:
        # The sample may end inside a quoted cell. A whole file that does is cut off, and is to be refused as that; but
        # where tabs are between the cells, quotes may just be quotes.
        ended, sound = True, "unexpected end" in str(error) and not (whole and tabs)
    if ended and not whole:
        with suppress(IndexError):
            rows.pop()  # cut off
    rows = [cells for cells in rows if any(cells)]
    if not rows:
        return (0.0, float(sound), 0.0, 0.0, 0.0)
    header = [name.strip() for name in rows[0]]
    known = sum(name in columns for name in header)
    fitting = sum(len(cells) == len(header) for cells in rows[1:]) / max(len(rows) - 1, 1)
    fitting = round(fitting, 2) if len(header) > 1 else 0.0
    return (float(known), float(sound), float(dialect.quoted), fitting, float(len(header)))
