"""Lists of injection jobs, datasets, training runs and evaluations: entries of one shape for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.rows import PageRequest, paginate
from api.language_models import model_names
from api.pages.format import as_number, as_share, decimal, number, percent, plural
from api.pages.rendering import is_live
from api.progress import elapsed_seconds, progress_of, seconds_left, seconds_per_step, steps_fraction
from models.base import Base
from models.curation import tagged
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, Metric, TrainingRun
from models.states import TrainingState
from models.workspaces import ProblemSet

SectionName = Literal["jobs", "datasets", "training", "evaluations"]
PAGE = 8
LONG_PAGE = 50
_MAX_COUNTED_PAIRS = 100_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How far a row is (0 to 1), and its seconds left and gone; None where they are not known."""

    fraction: float
    eta: float | None
    elapsed: float | None


@dataclass(frozen=True, slots=True)
class Label:
    """How a list names a row; ``figures`` are short facts in reading order."""

    title: str
    subtitle: str
    figures: Sequence[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a list."""

    row: Any
    label: Label
    time: Timing


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of one section; ``more`` is the cursor of the next, None at the end."""

    section: SectionName
    entries: tuple[Entry, ...]
    more: str | None

    @property
    def live(self) -> bool:
        """Whether a row of the page can still change."""
        return any(is_live(entry.row.state) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Section:
    """What is listed under one address; ``labels`` gives a label per row, in the rows' order."""

    title: str
    table: type[Base]
    labels: Callable[[Session, Sequence[Any]], list[Label]]


def listing(
    session: Session,
    workspace_id: str,
    now: datetime,
    name: SectionName,
    after: str | None = None,
    limit: int = PAGE,
    tag: str | None = None,
) -> Listing:
    """The newest rows of a section (with a tag), or those behind the cursor ``after``. Raises Invalid for no cursor."""
    section = SECTIONS[name]
    table: Any = section.table
    query = select(table).where(table.workspace_id == workspace_id)
    if tag:
        query = query.where(tagged(table, workspace_id, tag))
    found = paginate(session, query, (table.created_at, table.id), PageRequest(limit, after), descending=True)
    times = timings(session, section.table, found.rows, now)
    labels = section.labels(session, found.rows)
    entries = tuple(Entry(row, label, times[row.id]) for row, label in zip(found.rows, labels, strict=True))
    return Listing(name, entries, found.next)


def timings(session: Session, table: Any, rows: Sequence[Any], now: datetime) -> dict[str, Timing]:
    """How far each row is, by id: what ``/v1`` says of it."""
    if table is TrainingRun:
        return {run.id: _run_timing(session, run, now) for run in rows}
    progress = progress_of(session, table, rows)
    return {row_id: Timing(p.fraction, p.eta_seconds, p.elapsed_seconds) for row_id, p in progress.items()}


def _run_timing(session: Session, run: TrainingRun, now: datetime) -> Timing:
    # Metrics are read for a running run alone: a long list would read those of every run it shows.
    per_step = seconds_per_step(session, run) if run.state == TrainingState.RUNNING else None
    return Timing(steps_fraction(run), seconds_left(run, per_step), elapsed_seconds(run, now))


def pair_count(session: Session, job_id: str) -> int:
    """Pairs stored for a job, counted no further than ``_MAX_COUNTED_PAIRS``."""
    of_job = select(PairRow.id).where(PairRow.job_id == job_id)
    # In the order of an index: else PostgreSQL may look for them through the pairs of every older job.
    some = of_job.order_by(PairRow.created_at, PairRow.id).limit(_MAX_COUNTED_PAIRS).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _names(session: Session, table: Any, ids: Iterable[str]) -> dict[str, str]:
    return dict(session.execute(select(table.id, table.name).where(table.id.in_(set(ids)))).all())


def _jobs(session: Session, jobs: Sequence[InjectionJob]) -> list[Label]:
    sets = _names(session, ProblemSet, (job.problem_set_id for job in jobs))
    models = model_names(session, [job.language_model_id for job in jobs])
    labels = []
    for job in jobs:
        problem_set = sets[job.problem_set_id]
        source = models.get(job.language_model_id or "", "brought solutions")
        of_set = f"{problem_set} · " if job.name else ""
        subtitle = f"{of_set}{source} · {job.config.get('preset', 'no preset')}"
        labels.append(Label(job.name or problem_set, subtitle, [plural(pair_count(session, job.id), "pair")]))
    return labels


def _datasets(_: Session, datasets: Sequence[Dataset]) -> list[Label]:
    labels = []
    for dataset in datasets:
        files = (dataset.manifest or {}).get("files") or []
        subtitle = f"sha256 {dataset.sha256[:12]}" if dataset.sha256 else ""
        labels.append(Label(dataset.name, subtitle, [plural(len(files), "file")] if files else []))
    return labels


def _training(session: Session, runs: Sequence[TrainingRun]) -> list[Label]:
    models = model_names(session, [run.base_model_id for run in runs])
    data = _names(session, Dataset, (run.dataset_id for run in runs))
    labels = []
    for run in runs:
        figures = [f"step {number(run.step)}" + (f" of {number(run.total_steps)}" if run.total_steps else "")]
        if (loss := _latest_loss(session, run.id)) is not None:
            figures.append(f"loss {decimal(loss)}")
        labels.append(Label(run.output_name, f"{models[run.base_model_id]} on {data[run.dataset_id]}", figures))
    return labels


def _latest_loss(session: Session, run_id: str) -> float | None:
    """Loss of the latest optimizer step that recorded one."""
    query = select(Metric.values).where(Metric.run_id == run_id, Metric.phase == "train")
    # A step whose loss was not finite stores none: look a few steps further back.
    latest = session.scalars(query.order_by(Metric.step.desc()).limit(5))
    return next((loss for values in latest if (loss := as_number(values.get("loss"))) is not None), None)


def _evaluations(session: Session, evaluations: Sequence[Evaluation]) -> list[Label]:
    sets = _names(session, ProblemSet, (evaluation.problem_set_id for evaluation in evaluations))
    models = model_names(session, [evaluation.language_model_id for evaluation in evaluations])
    labels = []
    for evaluation in evaluations:
        model = models[evaluation.language_model_id]
        accuracy = as_share((evaluation.result or {}).get("accuracy"))
        figures = [] if accuracy is None else [f"accuracy {percent(accuracy, 1)}"]
        labels.append(Label(evaluation.name or model, f"{model} on {sets[evaluation.problem_set_id]}", figures))
    return labels


SECTIONS: dict[SectionName, Section] = {
    "jobs": Section("Injection jobs", InjectionJob, _jobs),
    "datasets": Section("Datasets", Dataset, _datasets),
    "training": Section("Training runs", TrainingRun, _training),
    "evaluations": Section("Evaluations", Evaluation, _evaluations),
}
