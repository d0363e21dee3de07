"""Columns under other names: which column of a file holds which of our fields, as its sender says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from api.problem_sets.fields import OUR_FIELDS, ProblemFields, RowError, our_fields
from api.problem_sets.shapes import final_answer

_SHOWN = 30  # columns that a refusal names


class ColumnMapping:
    """Our fields, each with the column it comes from. A dot reaches into objects and lists: ``prompt.0.content``."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """``columns``: column by field. Raises ValueError, with the remedy, for fields that do not exist or lack."""
        unknown = sorted(set(columns) - set(OUR_FIELDS))
        if unknown:
            raise ValueError(f"has no field '{unknown[0][:80]}'; map {', '.join(OUR_FIELDS)} to columns of the file")
        if "question" not in columns or not {"gold_answer", "gold_solution"} & set(columns):
            raise ValueError("needs 'question', and 'gold_answer' or a 'gold_solution' that ends in its answer")
        if columns["question"] == columns.get("gold_answer"):
            raise ValueError("names one column for 'question' and 'gold_answer'; give each its own")
        self.columns = dict(columns)

    def problem(self, row: Mapping[str, Any], limit: int) -> ProblemFields:
        """The problem a row holds; columns that are not mapped are left out. Raises RowError."""
        fields = {field: value for field, column in self.columns.items() if (value := _value(row, column)) is not None}
        if "gold_answer" not in self.columns:
            gold = final_answer(fields.get("gold_solution"))
            if gold is None:
                raise RowError(f"column '{self.columns['gold_solution']}' has no \\boxed{{}} or '####' final answer")
            fields["gold_answer"] = gold
        for field in ("question", "gold_answer"):
            if field not in fields:
                raise RowError(f"column '{self.columns[field]}' is missing or empty, which is '{field}'")
        return our_fields(fields, limit)

    def missing(self, header: Collection[str], rows: Collection[Mapping[str, Any]]) -> dict[str, str]:
        """Field and column of what neither the header nor any of the first rows has."""
        return {
            field: column
            for field, column in self.columns.items()
            if column not in header and all(_value(row, column) is None and column not in row for row in rows)
        }


def columns_of(header: Collection[str], rows: Collection[Mapping[str, Any]]) -> list[str]:
    """The columns of a file: those of its header, else those that its first rows have, in their order."""
    return list(header) or list(dict.fromkeys(name for row in rows for name in row))


def shown(columns: Collection[str]) -> str:
    """Columns for a message."""
    names = ", ".join(f"'{name[:80]}'" for name in list(columns)[:_SHOWN])
    return names + (f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else "")


def remedy(column: str, columns: Collection[str]) -> str:
    """What to write instead of a column that is not there."""
    close = get_close_matches(column, list(columns), 1)
    return (
        f"did you mean '{close[0][:80]}'? " if close else ""
    ) + f"the file has the columns {shown(columns) or 'none'}"


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column in row or "." not in column:
        return row.get(column)
    value: Any = row
    for part in column.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
