"""The bytes of a ZIP archive of stored files, known before any file is read: any range of it can be sent at once.

Files are stored, not compressed, so that every offset follows from names and sizes alone; CRC-32s are given. Times are
fixed and names are UTF-8: the same files give the same bytes, whoever sends them. ZIP64 where a size, an offset or the
number of files needs it (APPNOTE.TXT 6.3.10).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_UTF8 = 0x800
_DATE = 0x21  # 1980-01-01, the first day there is
_LONG, _SHORT = 0xFFFFFFFF, 0xFFFF
_PLAIN, _ZIP64 = 20, 45  # versions needed to extract
_UNIX, _MODE = 3, 0o100644


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: its name in there, its size in bytes and its CRC-32."""

    name: str
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes ``[start, stop)`` of the archive's file number ``member``."""

    member: int
    start: int
    stop: int


class ArchiveLayout:
    """Where everything stands in an archive of ``members``, in their order. ``size`` is the archive's, in bytes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._starts: list[int] = []
        self._parts: list[bytes | tuple[int, int]] = []  # bytes, or number and size of a member
        self.size = 0
        directory = []
        for number, member in enumerate(members):
            directory.append(_directory_entry(member, self.size))
            self._add(_local_header(member))
            self._add((number, member.size))
        start = self.size
        self._add(b"".join(directory))
        self._add(_end(len(members), self.size - start, start))

    def _add(self, part: bytes | tuple[int, int]) -> None:
        size = len(part) if isinstance(part, bytes) else part[1]
        if size:
            self._starts.append(self.size)
            self._parts.append(part)
            self.size += size

    def pieces(self, start: int, stop: int) -> Iterator[bytes | Piece]:
        """What stands in ``[start, stop)`` of the archive, in order: bytes, and pieces of its files."""
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            begin, part = self._starts[at], self._parts[at]
            end = begin + (len(part) if isinstance(part, bytes) else part[1])
            upto = min(end, stop)
            if isinstance(part, bytes):
                yield part[start - begin : upto - begin]
            else:
                yield Piece(part[0], start - begin, upto - begin)
            start, at = upto, at + 1


def _local_header(member: Member) -> bytes:
    large = member.size >= _LONG
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if large else b""
    size, name = _LONG if large else member.size, member.name.encode()
    common = _common(member, _ZIP64 if large else _PLAIN, size, len(name), len(extra))
    return b"PK\x03\x04" + common + name + extra


def _directory_entry(member: Member, offset: int) -> bytes:
    large = member.size >= _LONG
    values = ([member.size] * 2 if large else []) + ([offset] if offset >= _LONG else [])
    extra = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values) if values else b""
    version = _ZIP64 if values else _PLAIN
    size, name = _LONG if large else member.size, member.name.encode()
    common = _common(member, version, size, len(name), len(extra))
    # No comment, first disk, no internal attributes.
    about = struct.pack("<HHHII", 0, 0, 0, _MODE << 16, min(offset, _LONG))
    return b"PK\x01\x02" + struct.pack("<H", _UNIX << 8 | version) + common + about + name + extra


def _common(member: Member, version: int, size: int, name: int, extra: int) -> bytes:
    """What a local header and the directory say alike: method 0 is "stored", so both sizes are one."""
    return struct.pack("<HHHHHIIIHH", version, _UTF8, 0, 0, _DATE, member.crc32, size, size, name, extra)


def _end(count: int, size: int, start: int) -> bytes:
    """The end of the directory, of ``size`` bytes from ``start``."""
    records = b""
    if count >= _SHORT or size >= _LONG or start >= _LONG:
        versions = (_UNIX << 8 | _ZIP64, _ZIP64)
        records = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, *versions, 0, 0, count, count, size, start)
        records += b"PK\x06\x07" + struct.pack("<IQI", 0, start + size, 1)
    few = min(count, _SHORT)
    return records + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, few, few, min(size, _LONG), min(start, _LONG), 0)
