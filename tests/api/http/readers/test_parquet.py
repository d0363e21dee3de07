"""Parquet: values as JSON has them, and files that would unfold to far more than they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.readers import Unreadable, read_rows
from api.http.readers.parquet_pages import unfolded_bytes
from tests.api.problem_sets.uploading import parquet

LIMIT = 1 << 30


def read(data: bytes) -> list[Any]:
    return [row.value for row in read_rows(io.BytesIO(data), "parquet", LIMIT)]


def test_values_are_those_that_json_has() -> None:
    table = pa.table(
        {
            "f": pa.array([0.1, None], pa.float32()),
            "l": pa.array([[0.1, None], []], pa.list_(pa.float32())),
            "s": pa.array([{"x": 0.1, "y": "a"}, None]),
            "m": pa.array([[("a", 0.1)], []], pa.map_(pa.string(), pa.float32())),
            "b": pa.array([b"text", b"\xff"]),
            "d": pa.array([1, 2], pa.decimal128(5, 2)),
            "t": pa.array([0, 1], pa.date32()),
            "c": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    first, second = read(parquet(table))
    assert first == {
        "f": 0.1,
        "l": [0.1, None],
        "s": {"x": 0.1, "y": "a"},
        "m": {"a": 0.1},
        "b": "text",
        "d": "1.00",
        "t": "1970-01-01",
        "c": "a",
    }
    assert second == {"l": [], "m": {}, "b": b"\xff", "d": "2.00", "t": "1970-01-02", "c": "b"}


def test_bytes_that_are_no_text_are_never_changed_into_text() -> None:
    """Whoever needs such a field refuses the row; replacement characters would have gone into the problems unseen."""
    assert read(parquet(pa.table({"b": [b"text", b"\xff"]}))) == [{"b": "text"}, {"b": b"\xff"}]


def test_a_table_without_rows_has_its_columns() -> None:
    header: list[str] = []
    data = parquet(pa.table({"question": pa.array([], pa.string()), "gold_answer": pa.array([], pa.string())}))
    assert list(read_rows(io.BytesIO(data), "parquet", LIMIT, header=header)) == []
    assert header == ["question", "gold_answer"]


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["question", "question"])
    with pytest.raises(Unreadable, match="two columns are named 'question'"):
        read(parquet(table))


def test_times_beyond_those_of_python_are_texts() -> None:
    times = pa.array([0, 2**61], pa.timestamp("us"))
    first, second = read(parquet(pa.table({"t": times, "f": pa.array(np.array([0.1, 2], np.float16))})))
    assert (first["t"], first["f"], second["f"]) == ("1970-01-01 00:00:00.000000", 0.1, 2.0)
    assert isinstance(second["t"], str)


def test_the_index_of_pandas_is_no_column() -> None:
    sink = io.BytesIO()
    pd.DataFrame({"question": ["a", "b"], "gold_answer": [1, 2]}, index=["x", "y"]).to_parquet(sink)
    assert read(sink.getvalue()) == [{"question": "a", "gold_answer": 1}, {"question": "b", "gold_answer": 2}]


LONG = "x" * 100_000
MANY = 600  # 60 MB
#: Made when their test runs: together they would fill the memory of every process that collects tests.
BOMBS: dict[str, Callable[[], Any]] = {
    "texts": lambda: pa.array([LONG] * MANY),
    "dictionary": lambda: pa.array([LONG] * MANY).dictionary_encode(),
    "list": lambda: pa.array([[LONG] * MANY]),
    "struct": lambda: pa.array([{"a": [LONG]}] * MANY),
    "map": lambda: pa.array([[("k", LONG)]] * MANY, pa.map_(pa.string(), pa.string())),
    "numbers": lambda: pa.array(np.ones(6_000_000, dtype="int64")),
    "numbers in a list": lambda: pa.array([np.zeros(6_000_000, dtype="int64")]),
    "one text": lambda: pa.array(["x" * 60_000_000]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_stands_for_far_more_is_refused_before_it_unfolds(name: str) -> None:
    column = BOMBS[name]()
    data = parquet(pa.table({"question": column}), compression="zstd")
    assert len(data) < 100_000
    del column
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    with pytest.raises(Unreadable, match="unfolds to more than"):
        read(data)
    assert pa.total_allocated_bytes() - before < 64 * 1024 * 1024, pool.backend_name


def _varint(number: int, length: int = 1) -> bytes:
    out = []
    while number > 127 or len(out) + 1 < length:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_a_footer_that_lies_is_found_out_by_the_page_headers() -> None:
    table = pa.table({"question": ["x" * 60_000_000]})
    data = parquet(table, compression="zstd", use_dictionary=False, write_statistics=False)
    size = int.from_bytes(data[-8:-4], "little")
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    footer = data[-8 - size : -8]
    for said in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        true = _varint(said * 2)  # zigzag
        footer = footer.replace(true, _varint(200, len(true)))
    lying = data[: -8 - size] + footer + data[-8:]
    assert pq.ParquetFile(io.BytesIO(lying)).metadata.row_group(0).total_byte_size == 100
    with pytest.raises(Unreadable, match="unfolds to more than"):
        read(lying)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_page_headers_say_what_the_footer_of_an_honest_file_says(codec: str, version: str) -> None:
    rows = [{"question": f"q{n}" * 20, "n": n, "l": [n, n + 1], "gold_answer": "7"} for n in range(3000)]
    data = parquet(rows, compression=codec, data_page_version=version, row_group_size=1100, data_page_size=4096)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    said = sum(group.column(n).total_uncompressed_size for group in groups for n in range(group.num_columns))
    assert said * 0.6 < unfolded_bytes(io.BytesIO(data), metadata, LIMIT) <= said
    assert read(data) == rows


SMALL = parquet([{"question": f"q{n}", "gold_answer": str(n), "turns": [{"role": "user"}]} for n in range(20)])


@given(at=st.integers(0, len(SMALL) - 1), byte=st.integers(0, 255), cut=st.integers(0, 40))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(at: int, byte: int, cut: int) -> None:
    data = bytearray(SMALL)
    data[at] = byte
    try:
        assert len(read(bytes(data[: len(data) - cut]))) < 10_000
    except Unreadable:
        return
