"""What a problem says about its answer in ``Problem.meta``: other golds, a tolerance, order, an extraction pattern.

| key | value | meaning |
|---|---|---|
| ``golds`` | list of texts | further answers that are right as well |
| ``tolerance`` | ``{"abs": number, "rel": number}`` | how far a number may lie from gold, absolutely or relative to gold |
| ``unordered`` | true or false | the order of a tuple's parts does not matter |
| ``extract`` | regular expression | finds the answer in a line of the text: its group ``answer``, else its first, else all |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_GOLDS = 32
MAX_PATTERN = 300
_MAX_LINE = 400  # characters of a line, counted from its end, that a pattern sees
_MAX_LINES = 200
_MAX_UNBOUNDED = 2
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")


@dataclass(frozen=True, slots=True)
class Criteria:
    """The meta keys above, checked."""

    golds: tuple[str, ...] = ()
    absolute: Fraction = Fraction(0)
    relative: Fraction = Fraction(0)
    unordered: bool = False
    pattern: re.Pattern[str] | None = None


def read_criteria(meta: Mapping[str, Any]) -> Criteria:
    """The criteria in ``meta``; other keys are left alone. Raises ValueError with the name of the field that is wrong."""
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
    try:
        compiled = re.compile(given)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"meta.extract is no regular expression: {error}") from error
    if fault := catastrophic(given):
        raise ValueError(f"meta.extract {fault}")
    return compiled


def catastrophic(pattern: str) -> str | None:
    """Why a compiled ``pattern`` may take too long on some text, in words; None where it cannot.

    Stricter than needed: a group that is repeated may hold neither a quantifier nor an alternative, and only two quantifiers
    have no upper bound. Together with the bounds on lines that keeps the steps below some millions.
    """
    groups: list[bool] = []  # per open group: whether it holds what must not be repeated
    unbounded = at = 0
    while at < len(pattern):
        char = pattern[at]
        repeated = False
        if char == "\\":
            if pattern[at + 1 : at + 2].isdigit() and pattern[at + 1] != "0":
                return "refers back to a group"
            at += 2
        elif char == "[":
            at = _class_end(pattern, at)
        elif char == "(":
            opening = re.compile(r"\((?:\?(?:P<\w+>|:))?(?!\?)").match(pattern, at)
            if opening is None:
                return "looks around, refers back or sets flags; only plain, named and (?: groups are taken"
            groups.append(False)
            at = opening.end()
            continue
        elif char == ")":
            repeated = groups.pop()
            if repeated and groups:
                groups[-1] = True
            at += 1
        else:
            if char == "|" and groups:
                groups[-1] = True
            at += 1
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is None:
            continue
        at = quantifier.end()
        many = quantifier[0] in "*+" or (quantifier[2] and not quantifier[3]) or int(quantifier[3] or 0) > 50
        if repeated and quantifier[0] != "?":
            return "repeats a group that itself repeats or chooses"
        unbounded += bool(many)
        at += pattern[at : at + 1] in ("?", "+")
        if groups:
            groups[-1] = True
    return f"has more than {_MAX_UNBOUNDED} quantifiers without an upper bound" if unbounded > _MAX_UNBOUNDED else None


def _class_end(pattern: str, at: int) -> int:
    at += 1
    at += pattern[at : at + 1] == "^"
    at += pattern[at : at + 1] == "]"
    while pattern[at : at + 1] not in ("]", ""):
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def find_by_pattern(pattern: re.Pattern[str], text: str) -> str | None:
    """What ``pattern`` finds last in the last lines of ``text``; None where it finds nothing."""
    for line in reversed(text.splitlines()[-_MAX_LINES:]):
        found = None
        for found in pattern.finditer(line[-_MAX_LINE:]):
            pass
        if found is not None:
            value = found["answer"] if "answer" in pattern.groupindex else found[1] if pattern.groups else found[0]
            if value and value.strip():
                return str(value).strip()
    return None
