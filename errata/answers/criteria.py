"""What a problem says about its answer in ``Problem.meta``: other golds, a tolerance, order, an extraction pattern.

| key | value | meaning |
|---|---|---|
| ``golds`` | list of texts | further answers that are right as well |
| ``tolerance`` | ``{"abs": number, "rel": number}`` | how far a number may lie from gold, in itself or as a share |
| ``unordered`` | true or false | the order of a tuple's parts does not matter |
| ``extract`` | regular expression | finds the answer in a line: group ``answer``, else the first, else all |

The verifier ``math`` knows all of them, ``choice`` knows ``golds`` and ``extract``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from errata.patterns import slow_pattern

MAX_GOLDS = 32
MAX_PATTERN = 300
_MAX_LINE = 300  # characters of a line, counted from its end, that a pattern sees
_MAX_LINES = 50


@dataclass(frozen=True, slots=True)
class Criteria:
    """The meta keys above, checked."""

    golds: tuple[str, ...] = ()
    absolute: Fraction = Fraction(0)
    relative: Fraction = Fraction(0)
    unordered: bool = False
    pattern: re.Pattern[str] | None = None


def read_criteria(meta: Mapping[str, Any]) -> Criteria:
    """The criteria in ``meta``; other keys are left alone. Raises ValueError that names the faulty field."""
    golds = meta.get("golds") or []
    if not isinstance(golds, list) or not all(isinstance(gold, str) and gold.strip() for gold in golds):
        raise ValueError("meta.golds must be a list of texts, none of them empty")
    if len(golds) > MAX_GOLDS:
        raise ValueError(f"meta.golds holds more than {MAX_GOLDS} answers")
    unordered = meta.get("unordered", False)
    if not isinstance(unordered, bool):
        raise ValueError("meta.unordered must be true or false")
    absolute, relative = _tolerance(meta.get("tolerance"))
    given = meta.get("extract")
    return Criteria(tuple(golds), absolute, relative, unordered, None if given is None else _pattern(given))


def _tolerance(given: Any) -> tuple[Fraction, Fraction]:
    if given is None:
        return Fraction(0), Fraction(0)
    if not isinstance(given, Mapping) or not given or set(given) - {"abs", "rel"}:
        raise ValueError('meta.tolerance must hold "abs", "rel" or both, and nothing else')
    found = {"abs": Fraction(0), "rel": Fraction(0)}
    for name, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"meta.tolerance.{name} must be a number that is not negative")
        found[name] = Fraction(str(value))
    if found["rel"] >= 1:
        raise ValueError("meta.tolerance.rel must be below 1: a share of gold, not percent")
    return found["abs"], found["rel"]


def _pattern(given: Any) -> re.Pattern[str]:
    if not isinstance(given, str) or not given:
        raise ValueError("meta.extract must be a regular expression")
    if len(given) > MAX_PATTERN:
        raise ValueError(f"meta.extract is longer than {MAX_PATTERN} characters")
    if fault := slow_pattern(given, longest=_MAX_LINE, named_groups=True):
        raise ValueError(f"meta.extract {fault}")
    return re.compile(given)


def find_by_pattern(pattern: re.Pattern[str], text: str) -> str | None:
    """What ``pattern`` finds last in the last lines of ``text``; None where it finds nothing."""
    for line in reversed(text.splitlines()[-_MAX_LINES:]):
        matches = list(pattern.finditer(line[-_MAX_LINE:]))
        if matches:
            found = matches[-1]
            value = found["answer"] if "answer" in pattern.groupindex else found[1] if pattern.groups else found[0]
            if value and value.strip():
                return str(value).strip()
    return None
