"""One training run: its curve from stored metrics, its latest figures, its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.pace import seconds_left, seconds_per_step
from api.pages import progress
from api.pages.chart import Chart, chart
from models.outputs import Checkpoint, Dataset, Metric, TrainingRun
from models.workspaces import LanguageModel

MAX_POINTS = 400
TABLE_ROWS = 12
_COLUMN_ORDER = ("loss", "accuracy", "margin", "step/accuracy", "full/accuracy", "grad_norm", "learning_rate")
MAX_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class TrainingView:
    """Everything the page of one run shows. ``table`` rows are (step, value per column), newest first."""

    row: TrainingRun
    share: float
    eta: float | None
    elapsed: float | None
    base_model: str
    output_model: str | None
    dataset: str
    chart: Chart | None
    columns: tuple[str, ...]
    table: tuple[tuple[int, tuple[float | None, ...]], ...]
    checkpoints: tuple[Checkpoint, ...]
    settings: tuple[tuple[str, str], ...]
    summary: tuple[tuple[str, str], ...]

    @property
    def live(self) -> bool:
        """Whether the run can still change."""
        return progress.is_live(self.row.state)


def training_view(session: Session, row: TrainingRun, now: datetime) -> TrainingView:
    """A run with at most ``MAX_POINTS`` points per line, however long it ran."""
    points = _points(session, row.id)
    newest = select(Metric).where(Metric.run_id == row.id, Metric.phase == "train").order_by(Metric.step.desc())
    recent = session.scalars(newest.limit(TABLE_ROWS)).all()
    columns = _columns(recent)
    share = row.step / row.total_steps if row.total_steps else 0.0
    output = session.get(LanguageModel, row.output_model_id) if row.output_model_id else None
    checkpoints = select(Checkpoint).where(Checkpoint.run_id == row.id).order_by(Checkpoint.step.desc()).limit(10)
    return TrainingView(
        row=row,
        share=share,
        eta=seconds_left(row, seconds_per_step(session, row)),
        elapsed=progress.elapsed_seconds(row.started_at, row.finished_at, now),
        base_model=session.get_one(LanguageModel, row.base_model_id).name,
        output_model=output.name if output else None,
        dataset=session.get_one(Dataset, row.dataset_id).name,
        chart=chart({phase: _series(values, "loss") for phase, values in points.items()}),
        columns=columns,
        table=tuple((m.step, tuple(_finite(m.values.get(name)) for name in columns)) for m in recent),
        checkpoints=tuple(session.scalars(checkpoints)),
        settings=tuple(flat(row.config)),
        summary=tuple(flat(row.summary or {})),
    )


def _points(session: Session, run_id: str) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    last = session.scalar(select(func.max(Metric.step)).where(Metric.run_id == run_id)) or 0
    stride = max(1, math.ceil(last / MAX_POINTS))
    query = select(Metric.phase, Metric.step, Metric.values).where(Metric.run_id == run_id)
    if stride > 1:
        query = query.where((Metric.step % stride == 0) | (Metric.step == last))
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for phase, step, values in session.execute(query.order_by(Metric.step).limit(4 * MAX_POINTS)):
        found.setdefault(phase, []).append((step, values))
    return found


def _series(points: Sequence[tuple[int, dict[str, Any]]], name: str) -> list[tuple[float, float]]:
    return [(float(step), value) for step, values in points if (value := _finite(values.get(name))) is not None]


def _columns(recent: Sequence[Metric]) -> tuple[str, ...]:
    names = {name for metric in recent for name, value in metric.values.items() if _finite(value) is not None}
    known = [name for name in _COLUMN_ORDER if name in names]
    return tuple(known or sorted(names - {"epoch", "step"}))[:MAX_COLUMNS]


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def flat(values: dict[str, Any], prefix: str = "", limit: int = 40) -> list[tuple[str, str]]:
    """A nested configuration as (dotted name, value), unset values left out, at most ``limit``."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{name}.", limit)
        elif value is not None:
            found.append((prefix + name, _shown(value)))
    return found[:limit]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)[:200]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:200]
