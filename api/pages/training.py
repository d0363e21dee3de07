"""One training run: its loss curve as the coordinates of an inline SVG, its newest metrics, and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.language_models import model_names
from api.pages.format import as_number, flat
from models.outputs import Checkpoint, Dataset, Metric, TrainingRun

MAX_POINTS = 400
TABLE_ROWS = 12
_COLUMN_ORDER = ("loss", "accuracy", "margin", "step/accuracy", "full/accuracy", "grad_norm", "learning_rate")
_MAX_COLUMNS = 7
_MAX_CHECKPOINTS = 10
WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30  # margins that hold the tick labels


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line at ``at`` (SVG units) with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One polyline: ``points`` is the SVG attribute, ``last`` its end point."""

    name: str
    points: str
    last: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """A line chart in a ``WIDTH`` x ``HEIGHT`` view box."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def training_context(session: Session, row: TrainingRun) -> dict[str, Any]:
    """What the page of a run shows: at most ``MAX_POINTS`` points per curve, however long the run is."""
    newest = select(Metric).where(Metric.run_id == row.id, Metric.phase == "train").order_by(Metric.step.desc())
    recent = session.scalars(newest.limit(TABLE_ROWS)).all()
    columns = _columns(recent)
    names = model_names(session, [row.base_model_id, row.output_model_id])
    checkpoints = select(Checkpoint).where(Checkpoint.run_id == row.id).order_by(Checkpoint.step.desc())
    return {
        "base_model": names[row.base_model_id],
        "output_model": names.get(row.output_model_id or ""),
        "dataset": session.get_one(Dataset, row.dataset_id).name,
        "chart": chart(_losses(session, row.id)),
        "columns": columns,
        "table": [(metric.step, [as_number(metric.values.get(name)) for name in columns]) for metric in recent],
        "checkpoints": session.scalars(checkpoints.limit(_MAX_CHECKPOINTS)).all(),
        "summary": flat(row.summary or {}),
    }


def _losses(session: Session, run_id: str) -> dict[str, list[tuple[float, float]]]:
    """The loss by step, for each phase."""
    last = session.scalar(select(func.max(Metric.step)).where(Metric.run_id == run_id)) or 0
    stride = max(1, math.ceil(last / MAX_POINTS))
    query = select(Metric.phase, Metric.step, Metric.values).where(Metric.run_id == run_id)
    if stride > 1:
        # Thinned in the database, and the last step kept: the curve has to end where the run is.
        query = query.where((Metric.step % stride == 0) | (Metric.step == last))
    found: dict[str, list[tuple[float, float]]] = {}
    for phase, step, values in session.execute(query.order_by(Metric.step).limit(4 * MAX_POINTS)):
        if (loss := as_number(values.get("loss"))) is not None:
            found.setdefault(phase, []).append((float(step), loss))
    return found


def _columns(recent: Sequence[Metric]) -> tuple[str, ...]:
    names = {name for metric in recent for name, value in metric.values.items() if as_number(value) is not None}
    known = [name for name in _COLUMN_ORDER if name in names]
    return tuple(known or sorted(names - {"epoch", "step"}))[:_MAX_COLUMNS]


def chart(series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart | None:
    """Lines over shared axes; None without a finite point. Non-finite values are left out, never drawn as zero."""
    finite = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return None
    xs = [x for points in finite.values() for x, _ in points]
    ys = [y for points in finite.values() for _, y in points]
    x_steps, y_steps = nice_ticks(min(xs), max(xs)), nice_ticks(min(ys), max(ys))
    x_low, x_high = _range(min(xs), max(xs))
    y_low, y_high = _range(min(min(ys), y_steps[0]), max(max(ys), y_steps[-1]))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    lines = []
    for name, points in finite.items():
        placed = [place(x, y) for x, y in sorted(points)]
        lines.append(Line(name, " ".join(f"{x},{y}" for x, y in placed), placed[-1]))
    return Chart(
        tuple(lines),
        tuple(Tick(place(x, y_low)[0], _label(x)) for x in x_steps if x_low <= x <= x_high),
        tuple(Tick(place(x_low, y)[1], _label(y)) for y in y_steps),
    )


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About ``target`` round values that cover ``[low, high]``."""
    low, high = _range(low, high)
    rough = (high - low) / target
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 3 - math.floor(math.log10(step))
    return [round(step * i, digits) for i in range(first, last + 1)]


def _range(low: float, high: float) -> tuple[float, float]:
    """Never empty: one value gets room either side."""
    if high > low:
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _label(value: float) -> str:
    return f"{value:.6g}"
