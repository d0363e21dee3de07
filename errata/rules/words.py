"""Rule-made misreadings: one word of a step turned into its opposite. Nothing in the step itself shows them false."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from errata.rules.drawing import in_order

_OPPOSITES = (
    ("more", "fewer"), ("more", "less"), ("before", "after"), ("older", "younger"), ("first", "last"),
    ("increase", "decrease"), ("increases", "decreases"), ("increased", "decreased"), ("buys", "sells"),
    ("buy", "sell"), ("bought", "sold"), ("spends", "earns"), ("spend", "earn"), ("spent", "earned"),
    ("gives", "receives"), ("gave", "received"), ("give", "receive"), ("adds", "removes"), ("add", "subtract"),
    ("added", "removed"), ("twice", "half"), ("double", "half"), ("largest", "smallest"), ("larger", "smaller"),
    ("longer", "shorter"), ("taller", "shorter"), ("faster", "slower"), ("even", "odd"), ("multiply", "divide"),
    ("multiplying", "dividing"), ("adding", "subtracting"), ("total", "difference"), ("sum", "difference"),
    ("day", "week"), ("daily", "weekly"), ("hour", "minute"), ("hours", "minutes"), ("days", "weeks"),
    ("week", "month"), ("weeks", "months"), ("month", "year"), ("months", "years"), ("morning", "evening"),
    ("at least", "at most"), ("with", "without"), ("all", "half of"), ("remaining", "original"), ("left", "used"),
)  # fmt: skip
_WORD = re.compile(r"\bat (?:least|most)\b|[A-Za-z]+", re.I)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Replace ``text[start:end]``."""

    start: int
    end: int
    word: str
    weight: float = 1.0


def misreadings(step: str, body_start: int, most: int, rng: random.Random | None = None) -> list[str]:
    """Up to ``most`` versions of ``step`` with one word behind its label turned round, drawn with ``rng``."""
    edits: dict[str, None] = {}
    for proposal in in_order(_proposals(step, body_start), rng):
        if len(edits) >= most:
            break
        edits[step[: proposal.start] + proposal.word + step[proposal.end :]] = None
    return list(edits)


def _proposals(step: str, body_start: int) -> Iterator[Proposal]:
    for found in _WORD.finditer(step, body_start):
        written = found[0]
        for pair in _OPPOSITES:
            for word, other in (pair, pair[::-1]):
                if written.lower() == word:
                    yield Proposal(*found.span(), other.capitalize() if written[0].isupper() else other)
