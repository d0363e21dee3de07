"""What a dataset's filters name must be there: a misspelt kind or source is refused when the dataset is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from errata.output_config import DatasetConfig
from models.jobs import InjectionJob, PairRow
from models.workspaces import ProblemRow

_SHOWN = 20  # values that an answer lists


def check_filters(session: Session, config: DatasetConfig) -> None:
    """Refuse values that no pair of the jobs has. Raises Invalid naming the field, with the values that there are.

    Datasets that are mixed in are not looked into: where there are any, a value may be theirs.
    """
    if config.datasets:
        return
    of_jobs = PairRow.job_id.in_(config.jobs)
    asked: list[tuple[str, Any, Sequence[str] | None, ColumnElement[bool]]] = [
        ("kinds", PairRow.error_kind, config.kinds, of_jobs),
        ("sources", PairRow.source, config.sources, of_jobs),
        ("language_models", PairRow.language_model, config.language_models, of_jobs),
        ("subjects", ProblemRow.subject, config.subjects, _of_problems(config.jobs)),
        ("levels", ProblemRow.level, config.levels, _of_problems(config.jobs)),
    ]
    for name, column, values, where in asked:
        _check(session, f"config.{name}", column, enumerate(values or ()), where)
    kinds = ((kind, kind) for kind in config.quotas.kind)
    _check(session, "config.quotas.kind", PairRow.error_kind, kinds, of_jobs)


def _of_problems(jobs: Sequence[str]) -> ColumnElement[bool]:
    sets = select(InjectionJob.problem_set_id).where(InjectionJob.id.in_(jobs))
    return ProblemRow.problem_set_id.in_(sets)


def _check(
    session: Session, field: str, column: Any, values: Iterator[tuple[Any, str]], where: ColumnElement[bool]
) -> None:
    for place, value in values:
        if not session.scalar(select(exists().where(where, column == value))):
            there = session.scalars(select(column).where(where, column.is_not(None)).distinct().limit(_SHOWN)).all()
            listed = ", ".join(sorted(repr(each) for each in there)) or "none at all"
            raise Invalid.field(
                f"{field}.{place}", f"nothing of these jobs has the value {value!r}", f"there are: {listed}"
            )
