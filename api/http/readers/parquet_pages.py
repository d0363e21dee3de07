"""The page headers of a Parquet file, read before its pages: a footer may say that a page is small which is not.

Headers are Thrift structures in the compact protocol (PageHeader in parquet.thrift). Only two of their numbers count.
"""

from __future__ import annotations

from typing import IO, Any

_HEADER_BYTES = 64 * 1024  # statistics make a header long
_UNCOMPRESSED, _COMPRESSED = 2, 3  # ids of PageHeader's fields
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
_VARINTS = (4, 5, 6)
_DEEPEST = 16
_FIXED = {_BYTE: 1, _DOUBLE: 8, _UUID: 16}


def unfolded_bytes(file: IO[bytes], metadata: Any, most: int) -> int:
    """Bytes of all pages once they are decompressed, or of as many as are more than ``most``.

    ``metadata``: the footer, as pyarrow reads it. Raises ValueError for headers that are none.
    """
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
                start = column.dictionary_page_offset
            at, end = start, start + column.total_compressed_size
            while at < end and total <= most:
                length, unfolded, packed = _page(file, at)
                total += unfolded
                at += length + packed
    return total


def _page(file: IO[bytes], at: int) -> tuple[int, int, int]:
    """Of the page that begins at ``at``: bytes of its header, of its content decompressed, and as it stands there."""
    file.seek(at)
    header = _Compact(file.read(_HEADER_BYTES))
    numbers = header.struct()
    unfolded, packed = numbers.get(_UNCOMPRESSED, -1), numbers.get(_COMPRESSED, -1)
    if unfolded < 0 or packed < 0:
        raise ValueError("not a page header")
    return header.at, unfolded, packed


class _Compact:
    """A reader of Thrift's compact protocol that keeps a structure's whole numbers and passes over the rest."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at, self._depth = data, 0, 0

    def struct(self) -> dict[int, int]:
        """The whole numbers of the structure that begins here, by field. Raises ValueError."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        numbers, field = {}, 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            if kind in _VARINTS:
                numbers[field] = self._zigzag()
            elif kind not in (_TRUE, _FALSE):
                self._skip(kind)
        self._depth -= 1
        return numbers

    def _skip(self, kind: int) -> None:
        if kind in _VARINTS:
            self._zigzag()
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                self._skip(head & 15)
        elif kind == _STRUCT:
            self.struct()
        elif kind in (_TRUE, _FALSE):  # in a list a truth value is a byte
            self._pass(1)
        elif kind in _FIXED:
            self._pass(_FIXED[kind])
        else:
            raise ValueError("not a page header")

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise ValueError("a page header is cut off")

    def _byte(self) -> int:
        self._pass(1)
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("not a page header")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
