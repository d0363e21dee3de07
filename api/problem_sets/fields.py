"""The fields of a problem, read and checked one by one: what every row shape ends in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypedDict

from api.http import strict_json
from api.http.strict_json import JsonError, check_text
from api.problem_sets import answer_criteria

OUR_FIELDS = (
    *("question", "gold_answer", "gold_solution", "subject", "level", "id", "external_id", "meta"),
    *answer_criteria.FIELDS,
)
NAME_LIMIT = 200  # characters of an id, a subject, a level or a source
_DESCRIBING = frozenset({"id", "external_id", "unique_id", "subject", "type", "level"})
_TEXT_ONLY = frozenset({"question", "gold_solution", "source", "text"})  # a number here is a mistake, not an answer


class RowError(ValueError):
    """Why a row cannot be used. ``like``: what equal reasons share, "" for the reason itself."""

    def __init__(self, reason: str, like: str = "") -> None:
        super().__init__(reason)
        self.like = like


class ProblemFields(TypedDict):
    """A problem as stored."""

    external_id: str | None
    question: str
    gold_answer: str
    gold_solution: str | None
    subject: str | None
    level: str | None
    meta: dict[str, Any]


def foreign_fields(
    row: Mapping[str, Any],
    limit: int,
    shape: str,
    question: tuple[str, Any],
    gold: tuple[str, Any],
    solution: tuple[str, Any] | None = None,
) -> ProblemFields:
    """A problem of another project's row: what it asks, its answer and its solution, each with the field's name there.

    ``shape`` is kept in ``meta.format``. Raises RowError.
    """
    described = not _DESCRIBING.isdisjoint(row)  # most rows of a million say nothing but question and answer
    identity = row.get("id", row.get("external_id", row.get("unique_id"))) if described else None
    return {
        "external_id": text_field("id", identity, NAME_LIMIT, required=False) if described else None,
        "question": text_field(*question, limit, required=True, text_only=True) or "",
        "gold_answer": text_field(*gold, limit, required=True) or "",
        "gold_solution": text_field(*solution, limit, required=False, exact=True, text_only=True) if solution else None,
        "subject": text_field("subject", row.get("subject", row.get("type")), NAME_LIMIT, required=False)
        if described
        else None,
        "level": text_field("level", row.get("level"), NAME_LIMIT, required=False) if described else None,
        "meta": {"format": shape},
    }


def our_fields(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """A problem of a row in our fields, of which there are no others. Raises RowError."""
    if "id" in row and "external_id" in row:
        raise RowError("give 'id' or 'external_id', not both")
    meta = _meta(row["meta"], limit) if "meta" in row else {}
    fields = ProblemFields(
        external_id=text_field("id", row.get("id", row.get("external_id")), NAME_LIMIT, required=False),
        question=text_field("question", row.get("question"), limit, required=True) or "",
        gold_answer=text_field("gold_answer", row.get("gold_answer"), limit, required=True) or "",
        gold_solution=text_field("gold_solution", row.get("gold_solution"), limit, required=False, exact=True),
        subject=text_field("subject", row.get("subject"), NAME_LIMIT, required=False),
        level=text_field("level", row.get("level"), NAME_LIMIT, required=False),
        meta=meta,
    )
    if not row.keys().isdisjoint(answer_criteria.FIELDS):
        try:
            meta |= answer_criteria.criteria_fields(row, meta, limit)
        except ValueError as error:
            raise RowError(str(error)) from None
    return fields


def text_field(
    name: str, value: Any, limit: int, *, required: bool, exact: bool = False, text_only: bool = False
) -> str | None:
    """A field as text; numbers are written out, except where text must be kept as it is. Raises RowError."""
    if value is None:
        if required:
            raise RowError(f"'{name}' is missing")
        return None
    # Nearly every text is this: what is said below about others holds for it at a glance.
    if type(value) is str and len(value) <= limit and value.isascii() and "\0" not in value:
        plain = value.strip()
        if plain:
            return value if exact else plain
    if not isinstance(value, str):
        value = _written_out(name, value, text_only)
    if len(value) > limit:
        raise RowError(f"'{name}' is longer than {limit} characters")
    stripped: str = value.strip()
    if not stripped:
        if required:
            raise RowError(f"'{name}' is empty")
        return None
    try:
        check_text(value)
    except JsonError as error:
        raise RowError(f"'{name}' holds {error}") from None
    return value if exact else stripped


def _written_out(name: str, value: Any, text_only: bool) -> str:
    if isinstance(value, bytes):
        raise RowError(f"'{name}' holds bytes that are no UTF-8 text")
    if text_only or name in _TEXT_ONLY or isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"'{name}' must be a string")
    if not math.isfinite(value):
        raise RowError(f"'{name}' is {'NaN' if math.isnan(value) else 'infinite'}, which is no value")
    return str(value)


def _meta(value: Any, limit: int) -> dict[str, Any]:
    try:
        text = value if isinstance(value, str) else json.dumps(value)  # a CSV cell is text
        if len(text) > limit:
            raise RowError(f"'meta' is longer than {limit} characters")
        value = strict_json.loads(text)
    except (JsonError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, RowError):
            raise
        raise RowError("'meta' must hold plain JSON values") from None
    if not isinstance(value, dict):
        raise RowError("'meta' must be a JSON object")
    try:
        answer_criteria.checked(value, in_meta=True)
    except ValueError as error:
        raise RowError(str(error)) from None
    return value
