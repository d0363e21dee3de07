"""JSON lines and documents: the same rows however they are cut, and damage told."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.readers import Unreadable, json_text, read_rows

VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text("abcd", min_size=1), VALUE, max_size=4), min_size=1, max_size=5)


def read(data: bytes, **options: Any) -> list[Any]:
    return [
        row.value if row.error is None else row.error for row in read_rows(io.BytesIO(data), "json", 1 << 30, **options)
    ]


@settings(max_examples=40)
@given(rows=ROWS, indent=st.sampled_from([None, 2]), piece=st.sampled_from([1, 7, 1 << 18]))
def test_a_document_is_read_in_pieces(rows: list[Any], indent: int | None, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_CHUNK", piece)
        for document in (rows, {"name": "x", "problems": rows, "n": 1}):
            assert read(json.dumps(document, indent=indent, ensure_ascii=False).encode()) == rows
            assert read(json.dumps(document, indent=indent).encode("utf-16")) == rows


def test_json_lines_under_another_name_are_read() -> None:
    assert read(b'{"a": 1}\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]
    assert read(b'{"a": [1]}\n\n{"a": [2]}\n') == [{"a": [1]}, {"a": [2]}]


DAMAGED = [
    *(b"", b"1", b'"a"', b"[", b"[{}", b"[{},]", b"[{} {}]", b'[{"a": 1}] x', b'{"a": 1}', b'{"a": [], "b": []}'),
    *(b'{"a": [{}]', b"{1: []}", b"[{\xff}]", b'[{"a": NaN}]', b'[{"a": 1, "a": 2}]', b'[{"a": "\\ud800"}]'),
    *(b"[" * 3000, b'[{"a": ' + b"[" * 100 + b"]" * 100 + b"}]"),
]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_document_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"train": [{"a": 1}], "test": []}', "has 'train' and 'test'; send one list a file"),
        (b'{"a": 1}', "has no list in it"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_there_in_place_of_one_list_is_told(data: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        read(data)


def test_items_that_are_no_objects_are_bad_rows() -> None:
    assert read(b'[1, {"a": 1}, []]') == ["not a JSON object", {"a": 1}, "not a JSON object"]
