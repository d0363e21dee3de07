"""JSON inside running text, with the offsets of its cells: what edits of logic answers change.

Reads what models write: JSON in a fence, bare, or in a ``\\boxed{}`` with braces escaped for LaTeX or those of the box
itself. Says where things stand; whether a value is right is the verifier's business (errata.answers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r'\s*(?:\\?(?P<sign>[{}\[\],:])|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<bare>-?\d+(?:\.\d+)?|true|false|null))'
)
_OPENING = re.compile(r"[{\[]")
_MAX_NESTING = 24
_MAX_TRIES = 200  # opening brackets looked at in one text
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A value or a key at ``text[start:end]``; ``path``: keys as written (quotes included) and list positions."""

    path: Path
    start: int
    end: int
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class JsonCells:
    """One JSON object or list at ``text[start:end]`` with its cells in order."""

    start: int
    end: int
    cells: tuple[Cell, ...]

    @property
    def keys(self) -> tuple[Cell, ...]:
        """The keys of objects."""
        return tuple(cell for cell in self.cells if cell.is_key)

    @property
    def values(self) -> tuple[Cell, ...]:
        """The values that are neither object nor list."""
        return tuple(cell for cell in self.cells if not cell.is_key)


def find_json(text: str) -> JsonCells | None:
    """The last JSON object or list of ``text`` that has a value; None where there is none. Never raises."""
    found: JsonCells | None = None
    at = 0
    for _ in range(_MAX_TRIES):
        opening = _OPENING.search(text, at)
        if opening is None:
            break
        reader = _Reader(text, opening.start())
        if reader.value(()) and any(not cell.is_key for cell in reader.cells):
            found = JsonCells(opening.start(), reader.at, tuple(reader.cells))
            at = reader.at  # behind the whole object, so that its inner objects are not found again
        else:
            at = opening.end()
    return found


class _Reader:
    """Recursive descent over one value; each method says whether it found what it looks for."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self.at = at
        self.cells: list[Cell] = []

    def value(self, path: Path) -> bool:
        """An object, a list or a plain value."""
        if len(path) > _MAX_NESTING:
            return False
        token = self._next()
        if token is None:
            return False
        if token["sign"] is None:
            start = token.start("text") if token["text"] is not None else token.start("bare")
            self.cells.append(Cell(path, start, token.end()))
            return True
        if token["sign"] == "{":
            return self._members(path)
        return token["sign"] == "[" and self._elements(path)

    def _members(self, path: Path) -> bool:
        if self._take("}"):
            return True
        while True:
            key = self._next()
            if key is None or key["text"] is None or not self._take(":"):
                return False
            self.cells.append(Cell((*path, key["text"]), key.start("text"), key.end(), is_key=True))
            if not self.value((*path, key["text"])):
                return False
            if self._take("}"):
                return True
            if not self._take(","):
                return False

    def _elements(self, path: Path) -> bool:
        if self._take("]"):
            return True
        position = 0
        while self.value((*path, position)):
            position += 1
            if self._take("]"):
                return True
            if not self._take(","):
                return False
        return False

    def _next(self) -> re.Match[str] | None:
        token = _TOKEN.match(self._text, self.at)
        if token is not None:
            self.at = token.end()
        return token

    def _take(self, sign: str) -> bool:
        token = _TOKEN.match(self._text, self.at)
        if token is None or token["sign"] != sign:
            return False
        self.at = token.end()
        return True
