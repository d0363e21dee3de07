"""What a row of a file means: a problem or a brought solution.

Problems come in our fields, in columns that the sender maps to them, or as rows of known projects, told apart by their
fields:

| format | question | gold answer | gold solution |
|---|---|---|---|
| ours | ``question`` | ``gold_answer`` | ``gold_solution`` |
| GSM8K | ``question`` | ``answer`` after ``####`` (or a one-line ``answer``) | ``answer`` before ``####`` |
| MATH, MATH-500 | ``problem`` | ``answer``, or the last box of ``solution`` | ``solution`` |
| Step-DPO | ``prompt`` | ``answer`` | none: its ``chosen`` is a single step |
| verl | the user's turn of ``prompt`` | ``reward_model.ground_truth`` | ``extra_info.answer`` |
| messages | the user's turn | ``answer`` and the like, or the final answer of the assistant's turn | that turn |

Columns of a foreign format that mean nothing here are left out; unknown ones beside our own fields are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.problem_sets import shapes
from api.problem_sets.fields import NAME_LIMIT, OUR_FIELDS, ProblemFields, RowError, our_fields, text_field

__all__ = ["ProblemFields", "RowError", "SolutionFields", "parse_problem", "parse_solution"]
#: Names that a table of problems or solutions is likely to have in its header.
LIKELY_COLUMNS = frozenset({*OUR_FIELDS, "answer", "solution", "problem", "prompt", "type", "source", "text", "label"})
READING = 2
"""Raised when the same file comes to mean other problems: an upload from before is then read anew."""
_OURS = frozenset(OUR_FIELDS)
SOLUTION_FIELDS = ("problem", "source", "text", "label")


def parse_problem(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """The problem a row holds; texts of at most ``limit`` characters. Raises RowError."""
    if "gold_answer" in row:
        return _ours(row, limit)
    if "reward_model" in row and "prompt" in row:
        return shapes.verl(row, limit)
    if "answer" not in row and "solution" not in row:
        turns = next((name for name in shapes.TURNS if name in row), None)
        return shapes.messages(row, limit, turns) if turns else _ours(row, limit)
    if "problem" in row:
        return shapes.math(row, limit)
    if "question" in row:
        return shapes.gsm8k(row, limit)
    if "prompt" in row and isinstance(row["prompt"], str):
        return shapes.step_dpo(row, limit)
    turns = next((name for name in (*shapes.TURNS, "prompt") if name in row), None)
    return shapes.messages(row, limit, turns) if turns else shapes.gsm8k(row, limit)


def _ours(row: Mapping[str, Any], limit: int) -> ProblemFields:
    if not row.keys() <= _OURS:
        unknown = min(row.keys() - _OURS)
        raise RowError(f"unknown field '{unknown[:80]}'; known: {', '.join(OUR_FIELDS)}; 'mapping' takes other names")
    return our_fields(row, limit)


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
    source = text_field("source", row.get("source"), NAME_LIMIT, required=True) or ""
    text = text_field("text", row.get("text"), limit, required=True, exact=True) or ""
    return SolutionFields(problem, source, text, label)
