"""One injection job: its stages, its funnel, what it spent, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.pages import progress
from api.pages.funnel import FunnelView, funnel_view
from api.pages.overview import pair_count
from api.pages.training import flat
from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource, Event
from models.results import job_funnel
from models.workspaces import LanguageModel, ProblemSet

EVENTS = 20


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything the page of one injection job shows."""

    row: InjectionJob
    title: str
    problem_set: str
    problem_count: int
    language_model: str | None
    progress: progress.Progress
    eta: float | None
    elapsed: float | None
    funnel: FunnelView
    pairs: int
    datasets: tuple[Dataset, ...]
    settings: tuple[tuple[str, str], ...]

    @property
    def live(self) -> bool:
        """Whether the job can still change."""
        return progress.is_live(self.row.state)


def job_view(session: Session, row: InjectionJob, now: datetime) -> JobView:
    """A job as it stands; every query is bounded or counts by index."""
    problem_set = session.get_one(ProblemSet, row.problem_set_id)
    model = session.get(LanguageModel, row.language_model_id) if row.language_model_id else None
    shards = progress.load(session, InjectionJob, [row.id])[row.id]
    frozen = (
        select(Dataset)
        .join(DatasetSource, DatasetSource.dataset_id == Dataset.id)
        .where(DatasetSource.job_id == row.id)
        .order_by(Dataset.created_at.desc())
        .limit(10)
    )
    return JobView(
        row=row,
        title=row.name or problem_set.name,
        problem_set=problem_set.name,
        problem_count=problem_set.problem_count,
        language_model=model.name if model else None,
        progress=shards,
        eta=progress.eta_seconds(row.state, shards.share, row.started_at, now),
        elapsed=progress.elapsed_seconds(row.started_at, row.finished_at, now),
        funnel=funnel_view(job_funnel(session, row)),
        pairs=pair_count(session, row.id),
        datasets=tuple(session.scalars(frozen)),
        settings=tuple(flat(row.config)),
    )


def recent_events(session: Session, subject_id: str) -> tuple[Event, ...]:
    """The newest events of a job, dataset, run or evaluation, newest first."""
    query = select(Event).where(Event.subject_id == subject_id).order_by(Event.id.desc()).limit(EVENTS)
    return tuple(session.scalars(query))
