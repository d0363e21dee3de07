"""What is in the workspace: injection jobs, datasets, training runs and evaluations as rows of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from api.pages import progress
from api.pages.text import decimal, number, percent, plural
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, Metric, TrainingRun
from models.workspaces import LanguageModel, ProblemSet

PAGE = 8
LONG_PAGE = 50
Entity = type[InjectionJob] | type[Dataset] | type[TrainingRun] | type[Evaluation]
_PAIR_COUNT_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list. ``share`` is progress from 0 to 1; ``figures`` are short facts in reading order."""

    id: str
    href: str
    title: str
    subtitle: str
    state: str
    partial: bool
    share: float
    eta: float | None
    elapsed: float | None
    created_at: datetime
    figures: tuple[str, ...]

    @property
    def live(self) -> bool:
        """Whether the row can still change."""
        return progress.is_live(self.state)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of rows of one kind; ``more`` is the id to continue after, None at the end."""

    section: str
    rows: tuple[Row, ...]
    more: str | None

    @property
    def live(self) -> bool:
        """Whether a row of the page can still change."""
        return any(row.live for row in self.rows)


@dataclass(frozen=True, slots=True)
class _Query:
    session: Session
    now: datetime


SECTIONS: dict[str, Entity] = {
    "jobs": InjectionJob,
    "datasets": Dataset,
    "training": TrainingRun,
    "evaluations": Evaluation,
}


def listing(
    session: Session, workspace_id: str, now: datetime, section: str, after: str | None = None, limit: int = PAGE
) -> Listing:
    """The newest rows of a section, or those after the row with id ``after`` (an unknown id: from the start)."""
    entity: Any = SECTIONS[section]
    query = select(entity).where(entity.workspace_id == workspace_id)
    anchor = session.get(entity, after) if after else None
    if anchor is not None and anchor.workspace_id == workspace_id:
        older = entity.created_at < anchor.created_at
        same = (entity.created_at == anchor.created_at) & (entity.id < anchor.id)
        query = query.where(or_(older, same))
    found = session.scalars(query.order_by(entity.created_at.desc(), entity.id.desc()).limit(limit + 1)).all()
    rows = _rows(_Query(session, now), section, found[:limit])
    return Listing(section, tuple(rows), found[limit - 1].id if len(found) > limit else None)


def _rows(q: _Query, section: str, found: Sequence[Any]) -> list[Row]:
    if section == "jobs":
        return _jobs(q, found)
    if section == "datasets":
        return _datasets(q, found)
    return _training(q, found) if section == "training" else _evaluations(q, found)


def _names(session: Session, entity: Any, ids: set[str | None]) -> dict[str | None, str]:
    found = session.execute(select(entity.id, entity.name).where(entity.id.in_([i for i in ids if i])))
    return dict(found.all())


def _row(q: _Query, row: Any, href: str, title: str, subtitle: str, share: float, figures: Sequence[str]) -> Row:
    return Row(
        id=row.id,
        href=href,
        title=title,
        subtitle=subtitle,
        state=row.state,
        partial=bool(getattr(row, "partial", False)),
        share=share,
        eta=progress.eta_seconds(row.state, share, row.started_at, q.now),
        elapsed=progress.elapsed_seconds(row.started_at, row.finished_at, q.now),
        created_at=row.created_at,
        figures=tuple(figures),
    )


def pair_count(session: Session, job_id: str) -> int:
    """Pairs stored for a job, counted no further than ``_PAIR_COUNT_LIMIT``."""
    some = select(PairRow.id).where(PairRow.job_id == job_id).limit(_PAIR_COUNT_LIMIT).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _jobs(q: _Query, found: Sequence[InjectionJob]) -> list[Row]:
    shards = progress.load(q.session, InjectionJob, [job.id for job in found])
    sets = _names(q.session, ProblemSet, {job.problem_set_id for job in found})
    models = _names(q.session, LanguageModel, {job.language_model_id for job in found})
    rows = []
    for job in found:
        source = models.get(job.language_model_id) or "brought solutions"
        problem_set = sets.get(job.problem_set_id, "")
        figures = [plural(pair_count(q.session, job.id), "pair")]
        subtitle = f"{problem_set} · {source}" if job.name else source
        title = job.name or problem_set
        rows.append(_row(q, job, f"/jobs/{job.id}", title, subtitle, shards[job.id].share, figures))
    return rows


def _datasets(q: _Query, found: Sequence[Dataset]) -> list[Row]:
    shards = progress.load(q.session, Dataset, [dataset.id for dataset in found])
    rows = []
    for dataset in found:
        files = (dataset.manifest or {}).get("files") or []
        figures = [plural(len(files), "file")] if files else []
        subtitle = f"sha256 {dataset.sha256[:12]}" if dataset.sha256 else ""
        row = _row(q, dataset, f"/datasets/{dataset.id}", dataset.name, subtitle, shards[dataset.id].share, figures)
        rows.append(row)
    return rows


def _training(q: _Query, found: Sequence[TrainingRun]) -> list[Row]:
    models = _names(q.session, LanguageModel, {run.base_model_id for run in found})
    data = _names(q.session, Dataset, {run.dataset_id for run in found})
    rows = []
    for run in found:
        share = run.step / run.total_steps if run.total_steps else 0.0
        figures = [f"step {number(run.step)}" + (f" of {number(run.total_steps)}" if run.total_steps else "")]
        if (loss := latest_loss(q.session, run.id)) is not None:
            figures.append(f"loss {decimal(loss)}")
        subtitle = f"{models.get(run.base_model_id, '')} on {data.get(run.dataset_id, '')}"
        rows.append(_row(q, run, f"/training/{run.id}", run.output_name, subtitle, share, figures))
    return rows


def latest_loss(session: Session, run_id: str) -> float | None:
    """Loss of the latest optimizer step that recorded one."""
    query = select(Metric.values).where(Metric.run_id == run_id, Metric.phase == "train")
    for values in session.scalars(query.order_by(Metric.step.desc()).limit(5)):
        if isinstance(loss := values.get("loss"), int | float):
            return float(loss)
    return None


def _evaluations(q: _Query, found: Sequence[Evaluation]) -> list[Row]:
    shards = progress.load(q.session, Evaluation, [evaluation.id for evaluation in found])
    sets = _names(q.session, ProblemSet, {evaluation.problem_set_id for evaluation in found})
    models = _names(q.session, LanguageModel, {evaluation.language_model_id for evaluation in found})
    rows = []
    for item in found:
        accuracy = (item.result or {}).get("accuracy")
        figures = [f"accuracy {percent(accuracy, 1)}"] if isinstance(accuracy, int | float) else []
        model = models.get(item.language_model_id, "")
        title = item.name or model
        subtitle = f"{model} on {sets.get(item.problem_set_id, '')}"
        rows.append(_row(q, item, f"/evaluations/{item.id}", title, subtitle, shards[item.id].share, figures))
    return rows
