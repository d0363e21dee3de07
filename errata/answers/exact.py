"""Verifier ``exact``: JSON answers (logic grids) and short texts, equal as values; grids also against their clues.

With ``Problem.meta["clues"]`` a grid is correct when it has gold's entities, attributes and values and keeps every
clue; the report names the first clue it breaks. Without clues it must equal gold.

A grid is ``{entity: {attribute: value}}``. A clue is a mapping with ``kind``, an optional ``text`` for people, and:

- ``is`` / ``is_not``: ``entity``, ``attribute``, ``value``;
- ``same`` / ``different``: ``a`` and ``b``, each ``[attribute, value]``: whoever has ``a`` has (has not) ``b``;
- ``before`` / ``next_to``: ``a`` and ``b`` as above and ``by``, an attribute with integer values to compare;
- ``all_different``: ``attribute``: no value of it occurs twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from errata.answers.extraction import READING, ReadingOptions, read_answer
from errata.answers.judgement import (
    MAX_ANSWER,
    MAX_NESTING,
    Judgement,
    UnreadableReason,
    nesting,
    unparsable,
    unreadable,
)
from errata.answers.notation import clean
from errata.types import Domain, Problem, Verdict

NAME = "exact"
VERSION = "2"
MAX_JSON = 20_000
Grid = Mapping[str, Mapping[str, Any]]


class NotJson(ValueError):
    """Not one well-formed JSON value without repeated keys, within the caps."""


def verify(problem: Problem, text: str, options: ReadingOptions = READING) -> Judgement:
    """Compare the JSON or text answer stated in ``text`` with gold. Never raises for any text."""
    verifier = f"{NAME}/{VERSION}"
    found = read_answer(text, Domain.LOGIC, options)
    extracted = found.answer
    if extracted is None:
        return unreadable(verifier, found.why)
    shown = extracted[:MAX_ANSWER]
    try:
        gold = parse_json(problem.gold_answer)
    except NotJson:
        same = same_value(clean(problem.gold_answer) or "", clean(extracted) or "")
        return Judgement(Verdict.CORRECT if same else Verdict.INCORRECT, shown, verifier)
    try:
        answer = parse_json(_unescaped(extracted))
    except NotJson as error:
        return unparsable(verifier, shown, str(error))
    verdict, report = _compare(gold, answer, problem.meta.get("clues"))
    if verdict is Verdict.UNPARSABLE:
        return unparsable(verifier, shown, report, UnreadableReason.BAD_PROBLEM)  # a clue that is none
    return Judgement(verdict, shown, verifier, report)


def _unescaped(answer: str) -> str:
    """JSON as LaTeX writes it inside a box: ``\\{"a": 1\\}``, or with the braces of the box itself."""
    plain = answer.replace("\\{", "{").replace("\\}", "}").replace("\\_", "_").strip()
    if plain.startswith('"') and ":" in plain:
        return "{" + plain + "}"
    return plain


def parse_json(text: str) -> Any:
    """One JSON value, bounded, without NaN and repeated keys. Raises NotJson."""
    if len(text) > MAX_JSON or nesting(text) > MAX_NESTING:
        raise NotJson("too long or too deeply nested")
    try:
        return json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant, parse_int=_short_int)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not JSON: {error}"[:200]) from error


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _short_int(digits: str) -> int:
    if len(digits) > 100:
        raise ValueError("a number has too many digits")
    return int(digits)


def _compare(gold: Any, answer: Any, clues: Any) -> tuple[Verdict, str]:
    if clues and _is_grid(gold):
        if not _is_grid(answer) or _shape(answer) != _shape(gold):
            return Verdict.INCORRECT, "the grid has other entities, attributes or values than the puzzle"
        try:
            broken = broken_clue(list(clues), answer)
        except BadClue as error:
            return Verdict.UNPARSABLE, str(error)
        return (Verdict.CORRECT, "") if broken is None else (Verdict.INCORRECT, f"breaks {broken}")
    if same_value(gold, answer):
        return Verdict.CORRECT, ""
    return Verdict.INCORRECT, _difference(gold, answer)


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(row, Mapping) for row in value.values())


def _shape(grid: Mapping[str, Mapping[str, Any]]) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Entities, and per attribute its values with their counts: what any filling of the same puzzle shares."""
    columns: dict[str, Counter[str]] = {}
    for row in grid.values():
        for attribute, value in row.items():
            columns.setdefault(plain(attribute), Counter())[str(plain(value))] += 1
    return Counter(plain(name) for name in grid), columns


def _difference(gold: Any, answer: Any) -> str:
    if isinstance(gold, Mapping) and isinstance(answer, Mapping):
        for key, value in gold.items():
            if key not in answer:
                return f"lacks {key!r}"
            if not same_value(value, answer[key]):
                return f"differs from gold at {key!r}"
        return "has entries that gold has not"
    return "differs from gold"


class BadClue(ValueError):
    """A clue that is not in the language above: an error of the problem set, never of an answer."""


def same_value(left: Any, right: Any) -> bool:
    """Equality of JSON values as people mean it: text without case and outer space, a number and its text alike."""
    return bool(plain(left) == plain(right))


def plain(value: Any) -> Any:
    """A JSON value in the form that is compared: text without case and outer space, ``2.0`` as ``2``."""
    if isinstance(value, bool) or value is None:
        return str(value).casefold()
    if isinstance(value, int | float | str):
        text = " ".join(str(value).split()).casefold()
        return text.removesuffix(".0")
    if isinstance(value, Mapping):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def broken_clue(clues: list[Mapping[str, Any]], grid: Grid) -> str | None:
    """The first clue that ``grid`` breaks, in words; None where it keeps them all. Raises BadClue."""
    for number, clue in enumerate(clues, start=1):
        if not _holds(clue, grid):
            return f"clue {number}: {clue.get('text') or dict(clue)}"
    return None


def _holds(clue: Mapping[str, Any], grid: Grid) -> bool:
    kind = clue.get("kind")
    try:
        if kind in ("is", "is_not"):
            found = _cell(grid, str(clue["entity"]), str(clue["attribute"]))
            return same_value(found, clue["value"]) is (kind == "is")
        if kind in ("same", "different"):
            owner, other = _owner(grid, clue["a"]), _owner(grid, clue["b"])
            return owner is not None and other is not None and (owner == other) == (kind == "same")
        if kind in ("before", "next_to"):
            return _ordered(clue, grid)
        if kind == "all_different":
            values = [str(plain(_cell(grid, entity, str(clue["attribute"])))) for entity in grid]
            return len(set(values)) == len(values)
    except KeyError as error:
        raise BadClue(f"clue {dict(clue)} lacks {error}") from error
    raise BadClue(f"unknown clue kind {kind!r}")


def _cell(grid: Grid, entity: str, attribute: str) -> Any:
    """A cell of the grid by names without case; None where it is missing."""
    row = next((row for name, row in grid.items() if same_value(name, entity)), {})
    return next((value for name, value in row.items() if same_value(name, attribute)), None)


def _owner(grid: Grid, what: Any) -> str | None:
    if not isinstance(what, list | tuple) or len(what) != 2:
        raise BadClue(f"expected [attribute, value], got {what!r}")
    attribute, value = what
    return next((name for name in grid if same_value(_cell(grid, name, str(attribute)), value)), None)


def _ordered(clue: Mapping[str, Any], grid: Grid) -> bool:
    owners = _owner(grid, clue["a"]), _owner(grid, clue["b"])
    if owners[0] is None or owners[1] is None:
        return False
    try:
        first, second = (int(_cell(grid, owner, str(clue["by"]))) for owner in owners if owner is not None)
    except (TypeError, ValueError):
        return False
    return first < second if clue["kind"] == "before" else abs(first - second) == 1
