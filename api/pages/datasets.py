"""One frozen dataset: its files, where its pairs came from, and what was trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.pages import progress
from api.pages.training import flat
from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource, TrainingRun

LINKS = 20


@dataclass(frozen=True, slots=True)
class FileLine:
    """One file of the manifest; what it does not say is None or ""."""

    name: str
    rows: int | None
    size: int | None
    sha256: str


@dataclass(frozen=True, slots=True)
class DatasetView:
    """Everything the page of one dataset shows."""

    row: Dataset
    share: float
    eta: float | None
    elapsed: float | None
    files: tuple[FileLine, ...]
    jobs: tuple[InjectionJob, ...]
    runs: tuple[TrainingRun, ...]
    settings: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]

    @property
    def live(self) -> bool:
        """Whether the dataset can still change."""
        return progress.is_live(self.row.state)


def dataset_view(session: Session, row: Dataset, now: datetime) -> DatasetView:
    """A dataset as it stands."""
    share = progress.load(session, Dataset, [row.id])[row.id].share
    jobs = (
        select(InjectionJob)
        .join(DatasetSource, DatasetSource.job_id == InjectionJob.id)
        .where(DatasetSource.dataset_id == row.id)
        .order_by(InjectionJob.created_at)
        .limit(LINKS)
    )
    runs = (
        select(TrainingRun).where(TrainingRun.dataset_id == row.id).order_by(TrainingRun.created_at.desc()).limit(LINKS)
    )
    manifest = row.manifest or {}
    return DatasetView(
        row=row,
        share=share,
        eta=progress.eta_seconds(row.state, share, row.started_at, now),
        elapsed=progress.elapsed_seconds(row.started_at, row.finished_at, now),
        files=files_of(manifest),
        jobs=tuple(session.scalars(jobs)),
        runs=tuple(session.scalars(runs)),
        settings=tuple(flat(row.config)),
        figures=tuple(flat({name: manifest[name] for name in ("counts", "rows", "audit") if manifest.get(name)})),
    )


def files_of(manifest: dict[str, Any]) -> tuple[FileLine, ...]:
    """The manifest's files (workers.stages.freeze); a file that is no table has no rows."""
    return tuple(
        FileLine(
            str(entry["path"]), _whole(entry.get("rows")), _whole(entry.get("bytes")), str(entry.get("sha256", ""))
        )
        for entry in manifest.get("files") or []
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
