"""Archives by their layout: what zipfile reads of them, range by range, beyond 4 GiB and beyond 65,535 files."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from models.archives import ArchiveLayout, Member

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=20)
FILES = st.dictionaries(NAMES, st.binary(max_size=300), max_size=6)


def layout_of(files: dict[str, bytes]) -> ArchiveLayout:
    return ArchiveLayout([Member(name, len(data), zlib.crc32(data)) for name, data in files.items()])


def read(layout: ArchiveLayout, data: Callable[[int, int, int], bytes], start: int, stop: int) -> bytes:
    parts = layout.pieces(start, stop)
    return b"".join(part if isinstance(part, bytes) else data(part.member, part.start, part.stop) for part in parts)


class Archive(io.RawIOBase):
    """An archive as a file that is made as it is read."""

    def __init__(self, layout: ArchiveLayout, data: Callable[[int, int, int], bytes]) -> None:
        self.layout, self.data, self.at = layout, data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + {0: 0, 1: self.at, 2: self.layout.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        stop = self.layout.size if size < 0 else min(self.at + size, self.layout.size)
        found = read(self.layout, self.data, self.at, stop)
        self.at = max(self.at, stop)
        return found


@given(FILES, st.randoms(use_true_random=False))
def test_zipfile_reads_what_went_in_and_ranges_are_parts_of_the_whole(
    files: dict[str, bytes], chance: random.Random
) -> None:
    layout, contents = layout_of(files), list(files.values())

    def data(number: int, start: int, stop: int) -> bytes:
        return contents[number][start:stop]

    whole = read(layout, data, 0, layout.size)
    assert len(whole) == layout.size
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(files)
        assert {name: archive.read(name) for name in files} == files
    for _ in range(5):
        start, stop = sorted(chance.randint(0, layout.size) for _ in range(2))
        assert read(layout, data, start, stop) == whole[start:stop]
    assert read(layout_of(files), data, 0, layout.size) == whole, "the same files give the same bytes"


def test_files_and_offsets_beyond_4_gib() -> None:
    huge, small = 5 * 2**30, b"behind five gibibytes"
    layout = ArchiveLayout([Member("huge", huge, 1), Member("small", len(small), zlib.crc32(small))])

    def data(number: int, start: int, stop: int) -> bytes:
        return small[start:stop] if number else bytes(stop - start)

    with zipfile.ZipFile(Archive(layout, data)) as archive:  # type: ignore[arg-type]
        assert archive.read("small") == small
        assert archive.getinfo("huge").file_size == huge
        with archive.open("huge") as opened:
            assert opened.read(10) == bytes(10)


def test_more_files_than_65535() -> None:
    layout = ArchiveLayout([Member(f"{n}", 1, zlib.crc32(b"x")) for n in range(70_000)])
    with zipfile.ZipFile(Archive(layout, lambda _number, start, stop: b"x" * (stop - start))) as archive:  # type: ignore[arg-type]
        assert len(archive.namelist()) == 70_000
        assert archive.read("69999") == b"x"
