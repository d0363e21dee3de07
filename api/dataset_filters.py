"""What a dataset's filters name must be there: a misspelt kind or source is refused when the dataset is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from errata.imports.mixing import imports_of, unanswered
from errata.output_config import DatasetConfig
from errata.types import Form
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, DatasetSource
from models.pair_filters import pair_conditions, problem_conditions
from models.workspaces import ProblemRow

_SHOWN = 20  # values that an answer lists
_OF_STEPS = ("kinds", "forms", "editors", "evidence", "require_evidence", "distance", "step_index")


def check_filters(session: Session, config: DatasetConfig) -> None:
    """Refuse filters that no pair can pass. Raises Invalid naming the field, with the values that there are.

    Pairs of jobs are looked at in the database, also where they come by way of a dataset that is mixed in; pairs of
    imported files by what their dataset's manifest counts.
    """
    imported = [
        (at, dataset)
        for at, mixed in enumerate(config.datasets)
        if imports_of((dataset := session.get_one(Dataset, mixed.id)).manifest)
    ]
    for at, dataset in imported:
        found = unanswered(config, dataset.manifest or {})
        if found is not None:
            name, why = found
            told = f"dataset {dataset.id} cannot answer it: {why}"
            raise Invalid.field(f"config.{name}", told, f"drop `{name}`, or leave out `datasets.{at}`")
    jobs = _jobs(session, config)
    of_jobs, counts = PairRow.job_id.in_(jobs), [(each.manifest or {}).get("counts") or {} for _, each in imported]
    asked: list[tuple[str, Any, Sequence[str] | None, ColumnElement[bool]]] = [
        ("kinds", PairRow.error_kind, config.kinds, of_jobs),
        ("sources", PairRow.source, config.sources, of_jobs),
        ("language_models", PairRow.language_model, config.language_models, of_jobs),
        ("subjects", ProblemRow.subject, config.subjects, _of_problems(jobs)),
        ("levels", ProblemRow.level, config.levels, _of_problems(jobs)),
    ]
    for name, column, values, where in asked:
        others = {value for each in counts for value in each.get(column.key) or ()}
        _check(session, f"config.{name}", column, enumerate(values or ()), where, others)
    kinds = ((kind, kind) for kind in config.quotas.kind)
    others = {value for each in counts for value in each.get("error_kind") or ()}
    _check(session, "config.quotas.kind", PairRow.error_kind, kinds, of_jobs, others)
    if not config.datasets:
        _check_some(session, config)
        _check_steps(session, config)
        _check_quotas(session, config)


def _passing(config: DatasetConfig) -> Select[str]:
    """The ids of the jobs' pairs that pass the filters, as far as the database can tell."""
    found = select(PairRow.id).where(PairRow.job_id.in_(config.jobs), *pair_conditions(config))
    if of_problems := problem_conditions(config):
        found = found.where(PairRow.problem_id.in_(select(ProblemRow.id).where(*of_problems)))
    return found


def _check_some(session: Session, config: DatasetConfig) -> None:
    """Refuse filters of which each has pairs and all together have none. Raises Invalid."""
    if not session.scalar(select(exists(_passing(config)))):
        remedy = "drop one of them; POST /v1/datasets/preview counts what a configuration takes"
        raise Invalid.field("config", "no pair of these jobs passes all of these filters", remedy)


def _check_steps(session: Session, config: DatasetConfig) -> None:
    """Refuse filters of step pairs that none passes: full pairs alone would be left. Raises Invalid."""
    given = [name for name in _OF_STEPS if getattr(config, name)]
    if "step" not in config.types or not given:
        return
    if not session.scalar(select(exists(_passing(config).where(PairRow.type == "step")))):
        field = f"config.{given[0]}" if len(given) == 1 else "config"
        told = f"no step pair of these jobs passes {' and '.join(given)}"
        raise Invalid.field(field, told, 'loosen it; or give `types: ["full"]` for full pairs alone')


def _check_quotas(session: Session, config: DatasetConfig) -> None:
    """Refuse quotas that the pairs that pass the filters cannot fill, or that leave none. Raises Invalid."""
    types = config.quotas.type
    if all((quota := types.get(name)) is not None and quota.at_most == 0 for name in config.types):
        raise Invalid.field("config.quotas.type", "no pair of any type is left", "raise `at_most` of one type")
    steps = PairRow.type == "step"
    groups: dict[str, Callable[[str], list[ColumnElement[bool]]]] = {
        "type": lambda name: [PairRow.type == name],
        "kind": lambda name: [steps, PairRow.error_kind == name],
        "form": lambda name: [steps, func.coalesce(PairRow.form, str(Form.STANDS)) == name],
    }
    for by, name, quota in config.quotas.named():
        if quota.at_least is None:
            continue
        there = session.scalar(select(func.count()).select_from(_passing(config).where(*groups[by](name)).subquery()))
        if (there or 0) < quota.at_least:
            told = f"{there} such pairs pass the filters, fewer than {quota.at_least}"
            remedy = "lower it, loosen the filters, or name more jobs"
            raise Invalid.field(f"config.quotas.{by}.{name}.at_least", told, remedy)


def _jobs(session: Session, config: DatasetConfig) -> list[str]:
    """Every job whose pairs may be in the dataset, also by way of another dataset."""
    mixed = select(DatasetSource.job_id).where(DatasetSource.dataset_id.in_([each.id for each in config.datasets]))
    return sorted({*config.jobs, *session.scalars(mixed)})


def _of_problems(jobs: Sequence[str]) -> ColumnElement[bool]:
    sets = select(InjectionJob.problem_set_id).where(InjectionJob.id.in_(jobs))
    return ProblemRow.problem_set_id.in_(sets)


def _check(
    session: Session,
    field: str,
    column: Any,
    values: Iterator[tuple[Any, str]],
    where: ColumnElement[bool],
    others: Collection[str],
) -> None:
    """``others``: values that pairs of imported files have."""
    for place, value in values:
        if value not in others and not session.scalar(select(exists().where(where, column == value))):
            there = session.scalars(select(column).where(where, column.is_not(None)).distinct().limit(_SHOWN)).all()
            listed = ", ".join(sorted(repr(each) for each in {*there, *others})[:_SHOWN]) or "none at all"
            raise Invalid.field(
                f"{field}.{place}", f"nothing of these jobs has the value {value!r}", f"there are: {listed}"
            )
