"""What a row of a file means: a problem or a brought solution.

Problems come in our fields, or as GSM8K, MATH and Step-DPO rows, told apart by their fields:

| format | question | gold answer | gold solution |
|---|---|---|---|
| ours | ``question`` | ``gold_answer`` | ``gold_solution`` |
| GSM8K | ``question`` | ``answer`` after ``####`` (or a one-line ``answer``) | ``answer`` before ``####`` |
| MATH | ``problem`` | ``answer``, or the last box of ``solution`` | ``solution`` |
| Step-DPO | ``prompt`` | ``answer`` | none: its ``chosen`` is a single step |

Columns of a foreign format that mean nothing here are left out; unknown ones beside our own fields are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from api.http import strict_json
from api.http.strict_json import JsonError, check_text
from errata.answers.boxes import last_box

OUR_FIELDS = ("question", "gold_answer", "gold_solution", "subject", "level", "id", "external_id", "meta")
SOLUTION_FIELDS = ("problem", "source", "text", "label")
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_NAME_LIMIT = 200  # characters of an id, a subject, a level or a source
_TEXT_ONLY = ("question", "gold_solution", "source", "text")  # a number here is a mistake, not an answer
_PLAIN_ANSWER = 200  # characters; a longer "answer" without #### is a text whose answer we cannot tell


class RowError(ValueError):
    """Why a row cannot be used."""


class ProblemFields(TypedDict):
    """A problem as stored."""

    external_id: str | None
    question: str
    gold_answer: str
    gold_solution: str | None
    subject: str | None
    level: str | None
    meta: dict[str, Any]


def parse_problem(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """The problem a row holds; texts of at most ``limit`` characters. Raises RowError."""
    if "gold_answer" in row or not ({"answer", "solution"} & set(row)):
        return _ours(row, limit)
    if "problem" in row:
        return _math(row, limit)
    if "prompt" in row:
        return _fields(row, limit, row.get("prompt"), row.get("answer"), None, "step-dpo")
    return _gsm8k(row, limit)


def _ours(row: Mapping[str, Any], limit: int) -> ProblemFields:
    unknown = sorted(set(row) - set(OUR_FIELDS))
    if unknown:
        raise RowError(f"unknown field '{unknown[0][:80]}'; known: {', '.join(OUR_FIELDS)}")
    if "id" in row and "external_id" in row:
        raise RowError("give 'id' or 'external_id', not both")
    return _fields(row, limit, row.get("question"), row.get("gold_answer"), row.get("gold_solution"), None)


def _gsm8k(row: Mapping[str, Any], limit: int) -> ProblemFields:
    answer = row.get("answer")
    if not isinstance(answer, str):
        return _fields(row, limit, row.get("question"), answer, None, "answer")
    solution, mark, gold = answer.rpartition("####")
    if mark:
        gold = gold.strip()
        gold = gold.replace(",", "") if _THOUSANDS.fullmatch(gold) else gold
        return _fields(row, limit, row.get("question"), gold, solution.rstrip() or None, "gsm8k")
    if "\n" in answer.strip() or len(answer) > _PLAIN_ANSWER:
        raise RowError("'answer' has no '####' before its final answer")
    return _fields(row, limit, row.get("question"), answer, None, "answer")


def _math(row: Mapping[str, Any], limit: int) -> ProblemFields:
    solution = row.get("solution")
    gold = row.get("answer")
    if gold is None:
        gold = last_box(solution) if isinstance(solution, str) else None
        if gold is None:
            raise RowError("'solution' has no \\boxed{} final answer, and there is no 'answer'")
    return _fields(row, limit, row.get("problem"), gold, solution, "math")


def _fields(
    row: Mapping[str, Any], limit: int, question: Any, gold: Any, solution: Any, source_format: str | None
) -> ProblemFields:
    foreign = source_format is not None
    subject = row.get("subject", row.get("type") if foreign else None)
    identity = row.get("id", row.get("external_id", row.get("unique_id") if foreign else None))
    meta = {"format": source_format} if foreign else _meta(row.get("meta", {}), limit)
    question_name = {"math": "problem", "step-dpo": "prompt"}.get(source_format or "", "question")
    return ProblemFields(
        external_id=_text("id", identity, _NAME_LIMIT, required=False),
        question=_text(question_name, question, limit, required=True) or "",
        gold_answer=_text("answer" if foreign else "gold_answer", gold, limit, required=True) or "",
        gold_solution=_text("gold_solution", solution, limit, required=False, exact=True),
        subject=_text("subject", subject, _NAME_LIMIT, required=False),
        level=_text("level", row.get("level"), _NAME_LIMIT, required=False),
        meta=meta,
    )


@dataclass(frozen=True, slots=True)
class SolutionFields:
    """A brought solution; ``problem`` is a position (whole number), a problem's id, or its external id."""

    problem: int | str
    source: str
    text: str
    label: bool | None


def parse_solution(row: Mapping[str, Any], limit: int) -> SolutionFields:
    """The solution a row holds. Raises RowError. The text is kept to the character: steps are offsets into it."""
    unknown = sorted(set(row) - set(SOLUTION_FIELDS))
    if unknown:
        raise RowError(f"unknown field '{unknown[0][:80]}'; known: {', '.join(SOLUTION_FIELDS)}")
    problem = row.get("problem")
    if isinstance(problem, bool) or not isinstance(problem, int | str):
        raise RowError("'problem' must be a position (from 0), a problem's id or its external id")
    label = row.get("label")
    if isinstance(label, str):  # a CSV cell
        label = {"true": True, "false": False, "1": True, "0": False}.get(label.lower(), label)
    if label is not None and not isinstance(label, bool):
        raise RowError("'label' must be true or false")
    source = _text("source", row.get("source"), _NAME_LIMIT, required=True) or ""
    text = _text("text", row.get("text"), limit, required=True, exact=True) or ""
    return SolutionFields(problem, source, text, label)


def _text(name: str, value: Any, limit: int, *, required: bool, exact: bool = False) -> str | None:
    """A field as text; numbers are written out, except where text must be kept as it is. Raises RowError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and name not in _TEXT_ONLY:
        value = str(value)
    if value is None and not required:
        return None
    if value is None:
        raise RowError(f"'{name}' is missing")
    if not isinstance(value, str):
        raise RowError(f"'{name}' must be a string")
    if len(value) > limit:
        raise RowError(f"'{name}' is longer than {limit} characters")
    if not value.strip():
        if required:
            raise RowError(f"'{name}' is empty")
        return None
    try:
        check_text(value)
    except JsonError as error:
        raise RowError(f"'{name}' holds {error}") from None
    return value if exact else value.strip()


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
    return value
