r"""Where a solution must not be cut: code fences, display mathematics, environments, drawings and calculator marks.

One pass over the text. A search that found no closing marker is not repeated, so the time grows with the length alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from errata.thoughts import joined

_OPENING = re.compile(r"```|\[asy\]|\$\$|\\\[|\\\(|<<[^<>\n]*>>|\\begin\{\w{1,40}\*?\}")
_CLOSING = {"```": "```", "[asy]": "[/asy]", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(\w{1,40}\*?)\}")


class Blocks:
    """Spans that no cut falls inside, in order and apart."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = joined(spans)
        self._starts = [start for start, _ in self._spans]

    def holds(self, at: int) -> bool:
        """Whether a cut at ``at`` would fall inside a block; one at a block's own start does not."""
        before = bisect_left(self._starts, at) - 1
        return before >= 0 and at < self._spans[before][1]


def find_blocks(text: str) -> list[tuple[int, int]]:
    """The blocks of ``text``. A fence that is not closed goes to the end; other things that are not closed are none."""
    environments = _environments(text)
    found: list[tuple[int, int]] = []
    missing: set[str] = set()
    at = 0
    while match := _OPENING.search(text, at):
        end = _end(text, match, environments, missing)
        if end is None:
            at = match.end()
        else:
            found.append((match.start(), end))
            at = end
    return found


def _end(text: str, match: re.Match[str], environments: dict[int, int], missing: set[str]) -> int | None:
    """Where the block that opens at ``match`` ends. ``missing``: closing markers known not to follow any more."""
    opening = match[0]
    if opening.startswith("<<"):
        return match.end()
    if opening not in _CLOSING:
        return environments.get(match.start())
    closing = _CLOSING[opening]
    end = -1 if closing in missing else text.find(closing, match.end())
    if end >= 0:
        return end + len(closing)
    if opening == "```":
        return len(text)
    missing.add(closing)
    return None


def _environments(text: str) -> dict[int, int]:
    r"""The end of each ``\begin{name}`` that is closed, by its start. Environments nest."""
    ends: dict[int, int] = {}
    opened: list[tuple[str, int]] = []
    count: Counter[str] = Counter()
    for match in _ENVIRONMENT.finditer(text):
        name = match[2]
        if match[1] == "begin":
            opened.append((name, match.start()))
            count[name] += 1
        elif count[name]:
            # What was opened inside and never closed is dropped. Each is dropped once, so this stays linear.
            while True:
                inner, start = opened.pop()
                count[inner] -= 1
                if inner == name:
                    ends[start] = match.end()
                    break
    return ends
