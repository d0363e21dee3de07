"""Rows in PostgreSQL's binary format of COPY, as Arrow columns in any order, without an object for each value.

The format (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"): a header; of each row the number of
its fields in 16 bits, then of each field its length in 32 bits, -1 for null, and its bytes; at the end 16 bits of -1.
Numbers are big-endian. Texts are in the connection's encoding, which has to be UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_FIXED = len(_SIGNATURE) + 8  # of the header: flags and the length of its extension follow the signature
_END = struct.pack("!h", -1)
_MOST = 2**31 - 1  # bytes: Arrow's texts are found by 32 bits
_JSONB = b"\x01"  # the version that stands before the text of a jsonb
Places = NDArray[np.int64]


class BinaryRows:
    """The rows of one COPY: where each field begins and how long it is, found of all rows at once.

    ``sizes`` are those of the messages that it came in: a row in each and the end in the last, as PostgreSQL sends
    them; the header stands before the first. ``jsonb``: places of the columns of that type. Raises ValueError where the
    messages are not such rows, or have over 2 GB.
    """

    def __init__(self, data: bytearray, sizes: Sequence[int], jsonb: Collection[int] = ()) -> None:
        self._data, self.size = data, len(data)
        if self.size > _MOST:
            raise ValueError(f"{self.size:,} bytes of rows came at once, of which 2 GB can be held")
        ends = np.cumsum(np.array(sizes, np.int64))
        begins = ends - np.array(sizes, np.int64)
        begins[0] = self._header()
        if self._data[begins[-1] :] != _END:
            raise ValueError("the rows of COPY do not end as its binary format does")
        self.count = len(sizes) - 1
        self._begins, self._lengths = self._fields(begins[:-1], ends[:-1])
        self._kept: dict[int, Any] = {}  # by column
        for column in jsonb if self.count else ():
            self._skip_version(column)

    def _header(self) -> int:
        if not self._data.startswith(_SIGNATURE) or self.size < _FIXED:
            raise ValueError("COPY sent no header of its binary format")
        return _FIXED + int.from_bytes(self._data[_FIXED - 4 : _FIXED], "big")

    def _numbers(self, places: Places, width: int, kind: str = "i") -> NDArray[Any]:
        """The big-endian numbers of so many bytes at these places, as 64 bits; ``kind``: numpy's i or f."""
        # Every byte begins a number of this view: numpy reads those that are asked for.
        every = np.ndarray((self.size - width + 1,), f">{kind}{width}", self._data, strides=(1,))
        return every[places].astype(f"{kind}8")

    def _fields(self, at: Places, ends: Places) -> tuple[list[Places], list[Places]]:
        """Of each column where its fields begin and how long they are, in the order of the rows."""
        begins: list[Places] = []
        lengths: list[Places] = []
        if not len(at):
            return begins, lengths
        counts = self._numbers(at, 2)
        at = at + 2
        for _ in range(int(counts[0])):
            length = self._numbers(at, 4)
            begins.append(at + 4)
            lengths.append(length)
            at = at + 4 + np.maximum(length, 0)
        if np.any(counts != counts[0]) or np.any(at != ends):
            raise ValueError("the messages of COPY do not hold a row each")
        return begins, lengths

    def _skip_version(self, column: int) -> None:
        there = self._lengths[column] > 0
        data = np.frombuffer(self._data, np.uint8)
        if np.any(data[self._begins[column][there]] != _JSONB[0]):
            raise ValueError("a jsonb came in another version of its binary format than 1")
        self._begins[column] = self._begins[column] + there
        self._lengths[column] = self._lengths[column] - there

    def column(self, at: int, kind: pa.DataType, order: Places | None = None) -> pa.Array:
        """A column as texts, whole numbers or doubles (``kind``); with ``order`` of the rows that it lists, so ordered.

        Raises ValueError where the column holds no numbers of the kind.
        """
        if not self.count:
            return pa.array([], kind)
        if pa.types.is_string(kind):
            return self._texts(at, order)
        return self._of_numbers(at, kind, order)

    def _texts(self, at: int, order: Places | None) -> pa.Array:
        rows = np.arange(self.count) if order is None else order
        missing = self._lengths[at][rows] < 0
        return self._fields_of(at).take(pa.array(2 * rows, mask=missing if missing.any() else None))

    def _fields_of(self, at: int) -> pa.Array:
        """All texts from the first field of a column to its last one: its fields, and what lies between them."""
        if at not in self._kept:
            begins, lengths = self._begins[at], self._lengths[at]
            edges = np.empty(2 * self.count + 1, np.int32)
            edges[:-1:2], edges[1::2] = begins, begins + np.maximum(lengths, 0)
            edges[-1] = edges[-2]
            buffers = [None, pa.py_buffer(edges), pa.py_buffer(self._data)]
            self._kept[at] = pa.Array.from_buffers(pa.string(), 2 * self.count, buffers)
        return self._kept[at]

    def _of_numbers(self, at: int, kind: pa.DataType, order: Places | None) -> pa.Array:
        begins, lengths = self._begins[at], self._lengths[at]
        if order is not None:
            begins, lengths = begins[order], lengths[order]
        missing = lengths < 0
        width = int(lengths.max(initial=-1))
        if width < 0:
            return pa.nulls(len(lengths), kind)
        code, widths = ("f", (4, 8)) if pa.types.is_floating(kind) else ("i", (2, 4, 8))
        if width not in widths or np.any(lengths[~missing] != width):
            raise ValueError(f"column {at} of COPY holds no numbers of the type {kind}")
        values = self._numbers(np.where(missing, 0, begins), width, code)
        return pa.array(values, kind, mask=missing if missing.any() else None)
