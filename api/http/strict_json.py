"""JSON as the API accepts it: what the databases, or any later reader, could not take is refused at the door.

Refused: bytes that are not UTF-8, ``NaN`` and ``Infinity``, numbers that overflow a float (``1e400``), integers beyond
64 bits, lone surrogates, NUL characters, duplicate keys in one object, objects of more than ``MAX_KEYS`` keys, and
nesting deeper than ``MAX_DEPTH``.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

MAX_DEPTH = 64
MAX_KEYS = 1_000  # each unknown one costs an error of its own, a hundred times its size
_INTEGER_DIGITS = 19
# A string (closed or not: linear time whatever the text) or a bracket.
_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


class JsonError(ValueError):
    """Not JSON, or not JSON we take. The message says why and, where known, at which character; ``like`` says why."""

    def __init__(self, message: str, like: str = "") -> None:
        super().__init__(message)
        self.like = like or message


def loads(data: bytes | str) -> Any:
    """The value of a JSON document. Raises JsonError."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8 at byte {error.start}", "not UTF-8") from None
    if text.startswith("\ufeff") and isinstance(data, bytes):  # a byte order mark
        text = text[1:]
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} (line {error.lineno}, column {error.colno})", error.msg) from None
    # Only escapes, or text that did not come from UTF-8, can hold a lone surrogate or NUL: most bodies need no walk.
    if "\\u" in text or "\x00" in text or not isinstance(data, bytes):
        _check_text(value)
    return value


def plain_object(data: bytes) -> dict[str, Any] | None:
    """The object that ``loads`` gives for a line of texts, whole numbers and nulls; None where ``loads`` has to decide.

    Takes about half the time of ``loads``, and never accepts what that refuses.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or len(value) > MAX_KEYS:
        return None
    quotes = 0
    for item in value.values():
        if type(item) is str:
            quotes += 4
        elif item is None or (type(item) is int and item and -(2**63) <= item < 2**63):
            quotes += 2
        else:  # orjson reads large numbers and -0 differently, and what is nested may hide a key that comes twice
            return None
    # Of a key that comes twice orjson keeps the last: then there are more quotes than the object accounts for.
    escapes = data.count(b"\\")
    if escapes and escapes != data.count(b"\\n"):
        if b"\\u0000" in data:
            return None
        data = data.replace(b"\\\\", b"")
        quotes += data.count(b'\\"')
    return value if data.count(b'"') == quotes else None


def value_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at ``start``, and where it ends. Raises JsonError, also for a value that is cut off."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise JsonError(error.msg) from None
    except RecursionError:
        raise JsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    piece = text[start:end]
    _check_depth(piece)
    if "\\u" in piece or "\x00" in piece:
        _check_text(value)
    return value, end


def _check_depth(text: str) -> None:
    """Refuse deep nesting before a recursive parser sees it. Brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:  # the common case, at the speed of a scan
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonError(f"nested deeper than {MAX_DEPTH} levels")
        elif first in "]}":
            depth -= 1


def check_text(text: str) -> None:
    """Raises JsonError for a lone surrogate or a NUL character, which PostgreSQL cannot store."""
    if "\x00" in text:
        raise JsonError("a NUL character")
    if text.isascii():  # known without a look at its characters
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError("a lone surrogate, which is not valid Unicode") from None


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _constant(name: str) -> None:
    raise JsonError(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError("a number too large for a 64-bit float")
    return value


def _int(text: str) -> int:
    if len(text) > _INTEGER_DIGITS + 1:  # int() takes quadratic time for long texts
        raise JsonError("an integer beyond 64 bits; write it as a string")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise JsonError("an integer beyond 64 bits; write it as a string")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise JsonError(f"an object of more than {MAX_KEYS} keys")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonError("the same key twice in one object")
    return value


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object)
