"""JSON lines and JSON documents, row by row: a document of a million rows is never held as a whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO, Any

from api.http import strict_json
from api.http.readers.encoding import as_utf8
from api.http.readers.row import LINE_LIMIT, RawRow, Unreadable, as_row
from api.http.strict_json import JsonError

_CHUNK = 256 * 1024
_SPACE = " \t\r\n"
_ONE_LIST = "a JSON file must hold one list of objects"


def jsonl_rows(file: IO[bytes], charset: str = "") -> Iterator[RawRow]:
    """One JSON object a line; blank lines are skipped. A line that is not UTF-8 is a bad row, not a bad file."""
    file = as_utf8(file, charset, guess=False)
    line = 0
    readline, plain_object = file.readline, strict_json.plain_object
    while data := readline(LINE_LIMIT):
        line += 1
        if (plain := plain_object(data)) is not None and len(data) < LINE_LIMIT:
            yield RawRow(line, plain)
            continue
        # The rest of an overlong line is read away in pieces, so that it never stands in memory as a whole.
        if len(data) == LINE_LIMIT and not data.endswith(b"\n"):
            while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield RawRow(line, None, f"longer than {LINE_LIMIT} bytes")
            continue
        if data.isspace():
            continue
        try:
            value = strict_json.loads(data)
        except JsonError as error:
            yield RawRow(line, None, f"not acceptable JSON: {error}", f"not acceptable JSON: {error.like}")
            continue
        yield as_row(line, value)


def json_rows(file: IO[bytes], charset: str = "") -> Iterator[RawRow]:
    """The objects of one JSON list, or of the only list in a JSON object. JSON lines under another name are taken too.

    Raises Unreadable for other documents, for damaged ones, and for a value of more than ``LINE_LIMIT`` characters.
    """
    file = as_utf8(file, charset, guess=False)
    began = file.tell()
    text = _Text(file)
    first = text.peek()
    if first == "[":
        yield from _finished(text, text.items())
        return
    if first != "{":
        raise Unreadable(_ONE_LIST if first else "the file is empty")
    if _is_lines(file, began):
        yield from jsonl_rows(file)
        return
    yield from _finished(text, _only_list(text))


def _is_lines(file: IO[bytes], began: int) -> bool:
    """Whether the first line is an object and another one follows it. ``file`` stays where it was, or at ``began``."""
    at = file.tell()
    file.seek(began)
    first = file.readline(LINE_LIMIT)
    rest = file.read(64).lstrip()
    try:
        lines = isinstance(strict_json.loads(first), dict) and rest.startswith(b"{")
    except JsonError:
        lines = False
    file.seek(began if lines else at)
    return lines


def _finished(text: _Text, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    yield from rows
    if text.peek():
        raise Unreadable(f"not acceptable JSON: more after its end (line {text.line})")


def _only_list(text: _Text) -> Iterator[RawRow]:
    found: list[str] = []
    text.take("{")
    while text.peek() != "}":
        if not isinstance(key := text.value(), str):
            raise Unreadable(f"not acceptable JSON: a key is no string (line {text.line})")
        text.take(":")
        if text.peek() == "[":
            found.append(key[:80])
            if len(found) > 1:
                raise Unreadable(f"{_ONE_LIST}, and this has '{found[0]}' and '{found[1]}'; send one list a file")
            yield from text.items()
        else:
            text.value()
        if text.peek() != "}":
            text.take(",")
    if not found:
        raise Unreadable(f"{_ONE_LIST}, and this object has no list in it; send a list, or JSON lines")
    text.take("}")


class _Text:
    """A document that is read as far as it is needed; what was read is forgotten."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._ended = "", 0, False
        self.line = 1

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self.line += self._text[self._at] == "\n"
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Pass the next character. Raises Unreadable where it is another one."""
        if self.peek() != character:
            raise Unreadable(f"not acceptable JSON: no '{character}' where one is needed (line {self.line})")
        self._at += 1

    def items(self) -> Iterator[RawRow]:
        """The values of the list that begins here, as rows counted from 1."""
        self.take("[")
        number = 0
        while self.peek() != "]":
            number += 1
            yield as_row(number, self.value())
            if self.peek() != "]":
                self.take(",")
                if self.peek() == "]":
                    raise Unreadable(f"not acceptable JSON: nothing after a comma (line {self.line})")
        self.take("]")

    def value(self) -> Any:
        """The value that begins here. Raises Unreadable."""
        self.peek()
        while True:
            try:
                value, end = strict_json.value_at(self._text, self._at)
            except JsonError as error:
                # Cut off, perhaps: only the end of the file, or of our patience, tells.
                if len(self._text) - self._at <= LINE_LIMIT and self._more():
                    continue
                raise Unreadable(f"not acceptable JSON: {error.like} (line {self.line})") from None
            # A number at the end of what was read may go on.
            if end == len(self._text) and self._more():
                continue
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on; False at the end of the file. As much again as is waiting: trying again stays cheap."""
        if self._ended:
            return False
        self._text = self._text[self._at :]
        self._at = 0
        data = self._file.read(max(_CHUNK, len(self._text)))
        self._ended = not data
        try:
            self._text += self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise Unreadable(f"not acceptable JSON: not UTF-8 at byte {error.start} after line {self.line}") from None
        return True
