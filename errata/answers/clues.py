"""Clues of a grid puzzle, checked against a filled grid.

A grid is ``{entity: {attribute: value}}``. A clue is a mapping with ``kind``, an optional ``text`` for people, and:

- ``is`` / ``is_not``: ``entity``, ``attribute``, ``value``;
- ``same`` / ``different``: ``a`` and ``b``, each ``[attribute, value]``: whoever has ``a`` has (has not) ``b``;
- ``before`` / ``next_to``: ``a`` and ``b`` as above and ``by``, an attribute with integer values to compare;
- ``all_different``: ``attribute``: no value of it occurs twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Grid = Mapping[str, Mapping[str, Any]]


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
        if not _kept(clue, grid):
            return f"clue {number}: {clue.get('text') or dict(clue)}"
    return None


def _kept(clue: Mapping[str, Any], grid: Grid) -> bool:
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
