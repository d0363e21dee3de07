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

MAX_GOLDS = 32
MAX_PATTERN = 300
_MAX_LINE = 300  # characters of a line, counted from its end, that a pattern sees
_MAX_LINES = 50
_MAX_UNBOUNDED = 6
_MAX_WIDE = 2  # of them over nearly any character
_PROBES = [chr(code) for code in range(9, 127)] + list("éа中½…\u00a0")
_MANY = 50  # an upper bound beyond this counts as none
_OPENING = re.compile(r"\((?:\?(?:P<\w+>|:))?(?!\?)")
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
    try:
        compiled = re.compile(given)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"meta.extract is no regular expression: {error}") from error
    if fault := catastrophic(given):
        raise ValueError(f"meta.extract {fault}")
    return compiled


def catastrophic(pattern: str) -> str | None:
    """Why a compiled ``pattern`` may take too long on some text, in words; None where it cannot.

    Stricter than needed: a group that is repeated may hold neither a quantifier nor an alternative, and few quantifiers
    may have no upper bound. Together with the bounds on lines that keeps the steps below some hundred millions.
    """
    groups: list[bool] = []  # per open group: whether it holds what must not be repeated
    unbounded: list[tuple[str, bool]] = []  # what is repeated without bound, and whether right behind its like
    at, behind = 0, ""
    while at < len(pattern):
        start, repeated = at, False
        opening = _OPENING.match(pattern, at)
        if opening is not None:
            groups.append(False)
            at = opening.end()
            continue
        if pattern[at] == "(":
            return "looks around, refers back or sets flags; only plain, named and (?: groups are taken"
        if pattern[at] == ")":
            repeated = groups.pop()
            at += 1
        elif pattern[at] == "\\" and pattern[at + 1 : at + 2] in "123456789":
            return "refers back to a group"
        else:
            at = _atom_end(pattern, at)
        quantifier = _QUANTIFIER.match(pattern, at)
        if groups and (repeated or quantifier or pattern[start] == "|"):
            groups[-1] = True
        if quantifier is None:
            behind = behind if pattern[start] in "()|" else ""
            continue
        at = quantifier.end() + (pattern[quantifier.end() : quantifier.end() + 1] in ("?", "+"))
        many = quantifier[0] in "*+" or (quantifier[2] and not quantifier[3]) or int(quantifier[3] or 0) > _MANY
        if repeated and quantifier[0] != "?":
            return "repeats a group that itself repeats or chooses"
        if many:
            atom = pattern[start : quantifier.start()]
            unbounded.append((atom, _overlap(behind, atom)))
            behind = atom
    return _too_many(unbounded)


def _too_many(unbounded: list[tuple[str, bool]]) -> str | None:
    wide = [atom for atom, _ in unbounded if atom.startswith((".", "[^", "\\S", "\\D", "\\W", ")"))]
    if len(unbounded) > _MAX_UNBOUNDED or len(wide) > _MAX_WIDE:
        return "has too many quantifiers without an upper bound"
    if sum(adjacent for _, adjacent in unbounded) > 1:
        return "has several quantifiers without an upper bound in a row"
    return None


def _overlap(one: str, other: str) -> bool:
    """Whether two repeated atoms may match the same character; groups count as if they did."""
    if not one:
        return False
    if ")" in (one, other):
        return True
    return any(re.fullmatch(one, char) and re.fullmatch(other, char) for char in _PROBES)


def _atom_end(pattern: str, at: int) -> int:
    if pattern[at] == "[":
        return _class_end(pattern, at)
    return at + (2 if pattern[at] == "\\" else 1)


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
        matches = list(pattern.finditer(line[-_MAX_LINE:]))
        if matches:
            found = matches[-1]
            value = found["answer"] if "answer" in pattern.groupindex else found[1] if pattern.groups else found[0]
            if value and value.strip():
                return str(value).strip()
    return None
