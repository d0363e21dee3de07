"""What a row of a file of brought solutions means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.formats.problems import RowError
from api.http.strict_json import JsonError, check_text

FIELDS = ("problem", "source", "text", "label")
_SOURCE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class SolutionFields:
    """A brought solution; ``problem`` is a position (whole number), a problem's id, or its external id."""

    problem: int | str
    source: str
    text: str
    label: bool | None


def parse_solution(row: Mapping[str, Any], limit: int) -> SolutionFields:
    """The solution a row holds. Raises RowError. The text is kept to the character: steps are offsets into it."""
    unknown = sorted(set(row) - set(FIELDS))
    if unknown:
        raise RowError(f"unknown field '{unknown[0][:80]}'; known: {', '.join(FIELDS)}")
    problem = row.get("problem")
    if isinstance(problem, bool) or not isinstance(problem, int | str):
        raise RowError("'problem' must be a position (from 0), a problem's id or its external id")
    label = row.get("label")
    if isinstance(label, str):  # a CSV cell
        label = {"true": True, "false": False, "1": True, "0": False}.get(label.lower(), label)
    if label is not None and not isinstance(label, bool):
        raise RowError("'label' must be true or false")
    for name, longest in (("source", _SOURCE_LIMIT), ("text", limit)):
        _check(name, row.get(name), longest)
    return SolutionFields(problem, str(row["source"]).strip(), str(row["text"]), label)


def _check(name: str, value: Any, limit: int) -> None:
    if value is None:
        raise RowError(f"'{name}' is missing")
    if not isinstance(value, str):
        raise RowError(f"'{name}' must be a string")
    if not value.strip():
        raise RowError(f"'{name}' is empty")
    if len(value) > limit:
        raise RowError(f"'{name}' is longer than {limit} characters")
    try:
        check_text(value)
    except JsonError as error:
        raise RowError(f"'{name}' holds {error}") from None
