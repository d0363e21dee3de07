"""What decides besides the gold answer: further golds, a tolerance, an order that does not matter, a pattern.

A row in our fields has them by name, CSV cells as JSON. They are stored in ``meta``, where the verifier reads them
(errata.answers.criteria). A request may give all but ``golds`` for every row that has none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.http import strict_json
from api.http.strict_json import JsonError, check_text
from errata.answers.criteria import read_criteria

FIELDS = ("golds", "tolerance", "unordered", "extract")
_REMEDIES = {
    "golds": 'give a list of texts such as ["1/2", "0.5"]',
    "tolerance": 'give an object such as {"rel": 0.01} or {"abs": 0.5}',
    "unordered": "give true or false",
    "extract": "give a plain regular expression; its group named 'answer', or its first, is the answer",
}


def criteria_fields(row: Mapping[str, Any], meta: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The fields of a row that go to ``meta``, read and checked: no text is longer than ``limit`` characters.

    Raises ValueError that names field and remedy.
    """
    found: dict[str, Any] = {}
    for name in FIELDS:
        value = row.get(name)
        # An empty cell of a table says nothing.
        if value is None or value == "":
            continue
        if name in meta:
            raise ValueError(f"'{name}' is given as a field and in 'meta'; give it once")
        found[name] = _read(name, value)
        _check_texts(name, found[name], limit)
    checked(found)
    return found


def checked(criteria: Mapping[str, Any], *, in_meta: bool = False) -> None:
    """Raise ValueError, with field and remedy, where the verifier could not use the criteria."""
    for name in FIELDS:
        if name not in criteria:
            continue
        try:
            read_criteria({name: criteria[name]})
        except ValueError as error:
            message = str(error) if in_meta else str(error).removeprefix("meta.")
            raise ValueError(f"{message}; {_REMEDIES[name]}") from None


def _read(name: str, value: Any) -> Any:
    if isinstance(value, str) and name != "extract":
        try:
            value = strict_json.loads(value)
        except JsonError as error:
            raise ValueError(f"'{name}' is not acceptable JSON: {error}; {_REMEDIES[name]}") from None
    if name == "golds" and isinstance(value, list):
        return [str(gold) if isinstance(gold, int | float) and not isinstance(gold, bool) else gold for gold in value]
    if name == "tolerance" and isinstance(value, Mapping):
        # A column of Parquet has every key in every row.
        return {key: bound for key, bound in value.items() if bound is not None}
    return value


def _check_texts(name: str, value: Any, limit: int) -> None:
    """Raise ValueError for a text that is too long or cannot be stored, which JSON within a cell may have escaped."""
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            continue
        if len(text) > limit:
            raise ValueError(f"'{name}' holds a text longer than {limit} characters; shorten it")
        try:
            check_text(text)
        except JsonError as error:
            raise ValueError(f"'{name}' holds {error}; take it out") from None
