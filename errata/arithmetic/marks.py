"""Calculator marks ``<<48/2=24>>``, as GSM8K writes them: found, checked, stripped, and compared with their text."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

_MARK = re.compile(r"<<([^<>\n]{0,200})>>")
_UNCLOSED = re.compile(r"<<[^<>\n]*")


def mark_spans(text: str) -> list[tuple[int, int]]:
    """Spans of all marks, unclosed ones (to the end of their line) included; sorted and disjoint."""
    if "<<" not in text:
        return []
    spans = [match.span() for match in _MARK.finditer(text)]
    closed = {start for start, _ in spans}
    spans += [m.span() for m in _UNCLOSED.finditer(text) if m.start() not in closed]
    return sorted(spans)


@dataclass(frozen=True, slots=True)
class Stripped:
    """A text without its marks, and the way back to the original's offsets."""

    text: str
    _starts: tuple[int, ...]
    _removed: tuple[int, ...]

    def original(self, offset: int) -> int:
        """The original offset of ``text[offset]``; behind a mark where one stood at ``offset``."""
        return offset + self._removed[bisect_right(self._starts, offset) - 1]


def strip_marks(text: str) -> Stripped:
    """``text`` without calculator marks."""
    pieces: list[str] = []
    starts, removed = [0], [0]
    last = length = 0
    for start, end in mark_spans(text):
        pieces.append(text[last:start])
        length += start - last
        last = end
        starts.append(length)
        removed.append(end - length)
    pieces.append(text[last:])
    return Stripped("".join(pieces), tuple(starts), tuple(removed))
