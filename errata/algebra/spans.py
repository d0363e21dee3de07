"""Where mathematics stands in a text: between its delimiters, or in a fragment of a line that holds nothing else.

One pass over the text's delimiters, so time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ENVIRONMENT = r"(?:align|aligned|alignat|gather|gathered|equation|eqnarray|multline|split|displaymath|math)\*?"
_DELIMITER = re.compile(rf"\\\\|\\\$|\$\$|\$|\\[\[\]()]|\\(?:begin|end)\{{{_ENVIRONMENT}\}}")
_CLOSERS = {"$": "$", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_FRAGMENT = re.compile(r"[^\n,;:?!]+")
_FULL_STOP = re.compile(r"\.(?=\s|\Z)")
_RELATION = re.compile(r"[=<>≤≥≈≡∈]")
_LABEL = re.compile(r"\s*(?:[-*•>]\s+|\*\*|\d{1,2}[.)]\s+|Step\s+\d+\s*[.)]\s*)*", re.I)
_ENDS = re.compile(r"[.?!](?:\s|\\end\{\w+\*?\}|\})*\Z")


@dataclass(frozen=True, slots=True)
class Span:
    """``text[start:end]`` is mathematics; ``delimited``: between delimiters, where adjoining letters are a product."""

    start: int
    end: int
    delimited: bool


def math_spans(text: str) -> list[tuple[int, int, int, int]]:
    """Delimited mathematics as (outer start, start, end, outer end), in order; an opener without its closer is none."""
    spans: list[tuple[int, int, int, int]] = []
    opened: re.Match[str] | None = None
    for found in _DELIMITER.finditer(text):
        sign = found[0]
        if sign in ("\\\\", "\\$"):
            continue
        if opened is None:
            if sign in _CLOSERS or sign.startswith("\\begin"):
                opened = found
            continue
        closer = _CLOSERS.get(opened[0]) or opened[0].replace("begin", "end", 1)
        if sign == closer:
            spans.append((opened.start(), opened.end(), found.start(), found.end()))
            opened = None
    return spans


def prose(text: str) -> str:
    """The text with its mathematics blanked out, offsets kept; where a sentence ends inside, a full stop stays."""
    parts: list[str] = []
    done = 0
    for outer, start, end, stop in math_spans(text):
        ended = _ENDS.search(text[max(start, end - 40) : end]) is not None
        blank = " " * (stop - outer)
        parts += [text[done:outer], blank[:-1] + "." if ended else blank]
        done = stop
    return "".join([*parts, text[done:]])


def find_spans(text: str) -> list[Span]:
    """Delimited mathematics, and fragments of prose with a relation sign, which the reader takes or leaves whole."""
    found: list[Span] = []
    done = 0
    for outer, start, end, stop in math_spans(text):
        found += _fragments(text, done, outer)
        found.append(Span(start, end, True))
        done = stop
    return [*found, *_fragments(text, done, len(text))]


def _fragments(text: str, start: int, end: int) -> Iterator[Span]:
    if not _RELATION.search(text, start, end):
        return
    for part in _FRAGMENT.finditer(text, start, end):
        cuts = [match.start() for match in _FULL_STOP.finditer(text, *part.span())]
        for first, last in zip([part.start(), *(cut + 1 for cut in cuts)], [*cuts, part.end()], strict=True):
            if _RELATION.search(text, first, last):
                label = _LABEL.match(text, first, last)
                yield Span(label.end() if label else first, last, False)
