"""The quick way to read a row gives what the strict one gives, and never takes what that refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.http.strict_json import JsonError, loads, plain_object

# Texts of what decides: quotes, backslashes, colons, escapes, NUL, lone surrogates.
_PIECES = st.sampled_from(['"', "\\", ":", "u0000", "n", "a", "é", "\n", "\0", "\ud800", ",", "{", " ", "\x7f"])
_TEXT = st.lists(_PIECES, max_size=6).map("".join)
_NUMBER = st.sampled_from(["1", "-7", "0", "-0", "9223372036854775807", "9223372036854775808", "1e400", "1.5", "01"])
_VALUE = _NUMBER | _TEXT.map(json.dumps) | st.sampled_from(["null", "true", "NaN", "[]", '{"a": 1, "a": 2}'])
_PAIR = st.tuples(st.sampled_from(["a", "b", '"', "\\"]).map(json.dumps), st.sampled_from([":", " : "]), _VALUE)
_LINE = st.lists(_PAIR.map("".join), max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


def strict(data: bytes) -> Any:
    try:
        return loads(data)
    except JsonError:
        return None


@settings(max_examples=300, deadline=None)
@given(line=_LINE, raw=st.booleans())
@example(line='{"a" :"x\\\\","a":"y"}', raw=True)
@example(line='{"a" :1,"a":2}', raw=True)
@example(line='{"a":"\\u0000"}', raw=True)
def test_the_quick_way_agrees_with_the_strict_one(line: str, raw: bool) -> None:
    data = (line if raw else line.encode("ascii", "backslashreplace").decode()).encode("utf-8", "surrogatepass")
    found = plain_object(data)
    assert found is None or repr(found) == repr(strict(data))


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (b'{"question": "What is \\\\frac{1}{2}?\\n\\"x\\"", "answer": "#### 1"}\n', True),
        ('{"q": "é", "n": 7, "none": null}'.encode(), True),
        (b'{"a": "x", "a": "x"}', False),
        (b'{"a": 0}', False),
        (b'{"a": [1]}', False),
        (b'[{"a": 1}]', False),
        (b'{"a": "\xff"}', False),
        (b"\xef\xbb\xbf{}", False),
    ],
)
def test_which_lines_are_read_quickly(line: bytes, plain: bool) -> None:
    found = plain_object(line)
    assert (found is not None) == plain
    assert found is None or found == loads(line)
