"""Compressed files: recognised by their bytes, unfolded within limits, refused when damaged."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.errors import BadRequest, TooLarge
from api.http.readers.unfolding import RATIO_FREE, RATIO_LIMIT, unfolded

LIMIT = 1 << 30


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


PACKERS = {"gzip": gzip.compress, "zstd": zstd}


@settings(max_examples=40)
@given(data=st.binary(max_size=300), names=st.lists(st.sampled_from(["gzip", "zstd"]), max_size=2))
def test_the_content_comes_out_as_it_went_in(data: bytes, names: list[str]) -> None:
    data = b"{" + data
    packed = data
    for name in names:
        packed = PACKERS[name](packed)
    file = io.BytesIO(packed)
    assert unfolded(file, LIMIT).read() == data
    assert not file.closed


def test_zstandard_may_begin_with_a_frame_that_is_skipped() -> None:
    """As pzstd and seekable Zstandard write it."""
    skipped = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"size"
    assert unfolded(io.BytesIO(skipped + zstd(b"ab\n") + skipped + zstd(b"cd\n")), LIMIT).read() == b"ab\ncd\n"


@pytest.mark.parametrize("name", PACKERS)
def test_several_members_are_one_content(name: str) -> None:
    assert unfolded(io.BytesIO(PACKERS[name](b"ab\n") + PACKERS[name](b"cd\n")), LIMIT).read() == b"ab\ncd\n"


@pytest.mark.parametrize("name", PACKERS)
@given(at=st.integers(5, 60))
def test_damaged_data_is_refused(name: str, at: int) -> None:
    packed = PACKERS[name](bytes(range(256)) * 2)
    with pytest.raises(BadRequest):
        unfolded(io.BytesIO(packed[:-at]), LIMIT).read()


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_never_gets_its_size(name: str) -> None:
    bomb = PACKERS[name](bytes(RATIO_FREE + RATIO_LIMIT * 100_000))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(TooLarge, match="times its size"):
        unfolded(io.BytesIO(bomb), LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        unfolded(io.BytesIO(bomb), 1000)


def test_what_repeats_itself_a_little_is_taken() -> None:
    data = b'{"question": "What is 3 + 4?", "gold_answer": "7"}\n' * 100_000
    assert len(unfolded(io.BytesIO(zstd(data)), LIMIT).read()) == len(data)


def test_layers_and_declarations_are_held_to() -> None:
    with pytest.raises(BadRequest, match="more than 2 times"):
        unfolded(io.BytesIO(zstd(zstd(zstd(b"x")))), LIMIT)
    with pytest.raises(BadRequest, match="is no gzip data"):
        unfolded(io.BytesIO(b"plain"), LIMIT, "gzip")
