"""The filters of a dataset as conditions on pairs and problems in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_

from errata.output_config import Bounds, DatasetFilters
from errata.types import EvidenceKind, Form
from models.curation import not_retracted, review_condition
from models.jobs import PairRow
from models.workspaces import ProblemRow


def pair_conditions(filters: DatasetFilters) -> list[ColumnElement[bool]]:
    """Which pairs the filters take, of what the table of pairs says of them. Those of steps hold for step pairs."""
    steps = [
        *_listed(PairRow.error_kind, filters.kinds),
        # Pairs made before there were forms leave the result standing, as the paper's do.
        *_listed(func.coalesce(PairRow.form, str(Form.STANDS)), filters.forms),
        *_listed(PairRow.editor, filters.editors),
        *_listed(PairRow.evidence_kind, filters.evidence),
        *_between(PairRow.distance, filters.distance),
        *_between(PairRow.step_index, filters.step_index),
    ]
    if filters.require_evidence:
        steps += _listed(PairRow.evidence_kind, [kind for kind in EvidenceKind if kind is not EvidenceKind.UNPROVEN])
    found: list[ColumnElement[bool]] = [PairRow.type.in_(filters.types), not_retracted()]
    if steps:
        found.append(or_(PairRow.type != "step", and_(*steps)))
    found += [*_listed(PairRow.source, filters.sources), *_listed(PairRow.language_model, filters.language_models)]
    return [*found, *([] if filters.reviews is None else [review_condition(filters.reviews)])]


def problem_conditions(filters: DatasetFilters) -> list[ColumnElement[bool]]:
    """Of which problems the filters take pairs and samples."""
    return [*_listed(ProblemRow.subject, filters.subjects), *_listed(ProblemRow.level, filters.levels)]


def _listed(column: ColumnElement[Any] | Any, values: Sequence[str] | None) -> list[ColumnElement[bool]]:
    return [] if values is None else [column.in_(sorted(str(value) for value in values))]


def _between(column: Any, bounds: Bounds | None) -> list[ColumnElement[bool]]:
    if bounds is None:
        return []
    low = [] if bounds.min is None else [column >= bounds.min]
    return low if bounds.max is None else [*low, column <= bounds.max]
