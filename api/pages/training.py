"""One training run: its curves, its newest metrics, what each error kind has learned, and its checkpoints."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.language_models import model_names
from api.pages.charts import Chart, chart
from api.pages.format import as_number, flat
from api.progress import seconds_per_step
from models.outputs import Checkpoint, Dataset, Metric, TrainingRun

MAX_POINTS = 400
TABLE_ROWS = 12
_KIND_STEPS = 50  # the figures of error kinds are means of these newest steps: one batch holds few pairs of a kind
_COLUMN_ORDER = ("loss", "accuracy", "margin", "step/accuracy", "full/accuracy", "grad_norm", "learning_rate")
_MAX_COLUMNS = 7
_MAX_CHECKPOINTS = 10
_HELD_OUT = "eval"
_DIFFERING = "log-probability of the differing tokens"
_PHASES = {
    "hosts": "It waits until all its hosts are there",
    "loading": "The model is being loaded",
    "encoding": "The pairs are being tokenised",
    "reference": "The reference's log-probabilities are computed",
    "saving": "A checkpoint is being written",
}
#: Title, and what is drawn: the name of a line, the phase of the metrics and the figure's name.
_CHARTS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("Loss", (("train", "train", "loss"), ("held out", _HELD_OUT, "loss"))),
    ("Margin", (("step pairs", "train", "step/margin"), ("full pairs", "train", "full/margin"))),
    ("Accuracy", (("step pairs", "train", "step/accuracy"), ("full pairs", "train", "full/accuracy"))),
    (
        f"Step pairs: {_DIFFERING}",
        (("chosen", "train", "step/logp_chosen"), ("rejected", "train", "step/logp_rejected")),
    ),
    (
        f"Full pairs: {_DIFFERING}",
        (("chosen", "train", "full/logp_chosen"), ("rejected", "train", "full/logp_rejected")),
    ),
    ("Held-out accuracy", (("step pairs", _HELD_OUT, "step/accuracy"), ("full pairs", _HELD_OUT, "full/accuracy"))),
    ("Learning rate", (("learning rate", "train", "learning_rate"),)),
    ("Gradient norm", (("gradient norm", "train", "grad_norm"),)),
)


class KindFigures(NamedTuple):
    """How well pairs of one error kind are told apart: means over the newest steps that had some."""

    kind: str
    accuracy: float | None
    margin: float | None


def training_context(session: Session, row: TrainingRun) -> dict[str, Any]:
    """What the page of a run shows: at most ``MAX_POINTS`` points per curve, however long the run is."""
    newest = select(Metric).where(Metric.run_id == row.id, Metric.phase == "train").order_by(Metric.step.desc())
    recent = session.scalars(newest.limit(_KIND_STEPS)).all()
    shown = recent[:TABLE_ROWS]
    columns = _columns(shown)
    names = model_names(session, [row.base_model_id, row.output_model_id])
    checkpoints = select(Checkpoint).where(Checkpoint.run_id == row.id).order_by(Checkpoint.step.desc())
    drawn = _charts(session, row.id)
    return {
        "base_model": names[row.base_model_id],
        "output_model": names.get(row.output_model_id or ""),
        "dataset": session.get_one(Dataset, row.dataset_id).name,
        "chart": drawn[0] if drawn else None,
        "charts": drawn[1:],
        "kinds": _kinds(recent),
        "kind_steps": _KIND_STEPS,
        "phases": _PHASES,
        "pace": _pace(session, row, recent),
        "columns": columns,
        "table": [(metric.step, [as_number(metric.values.get(name)) for name in columns]) for metric in shown],
        "checkpoints": session.scalars(checkpoints.limit(_MAX_CHECKPOINTS)).all(),
        "summary": flat(row.summary or {}),
    }


def _charts(session: Session, run_id: str) -> list[Chart]:
    """The charts that have a point, in order."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    wanted = {(phase, figure) for _, lines in _CHARTS for _, phase, figure in lines}
    for phase, step, values in session.execute(_thinned(session, run_id)):
        for figure, value in values.items():
            if (phase, figure) in wanted and (number := as_number(value)) is not None:
                found[phase, figure].append((float(step), number))
    drawn = (
        chart(title, {name: found[phase, figure] for name, phase, figure in lines if found[phase, figure]})
        for title, lines in _CHARTS
    )
    return [each for each in drawn if each is not None]


def _thinned(session: Session, run_id: str) -> Any:
    """Metrics by step: all that were held out, and so many of the others that a curve can show them."""
    last = session.scalar(select(func.max(Metric.step)).where(Metric.run_id == run_id)) or 0
    stride = max(1, math.ceil(last / MAX_POINTS))
    query = select(Metric.phase, Metric.step, Metric.values).where(Metric.run_id == run_id)
    if stride > 1:
        # Thinned in the database, and the last step kept: the curve has to end where the run is.
        query = query.where((Metric.step % stride == 0) | (Metric.step == last) | (Metric.phase == _HELD_OUT))
    return query.order_by(Metric.step).limit(4 * MAX_POINTS)


def _kinds(recent: Iterable[Metric]) -> list[KindFigures]:
    """The kinds that occurred, worst accuracy first."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for metric in recent:
        for name, value in metric.values.items():
            head, _, rest = name.partition("/")
            kind, _, figure = rest.rpartition("/")
            if head == "kind" and kind and (number := as_number(value)) is not None:
                values[kind][figure].append(number)
    figures = (KindFigures(kind, _mean(of["accuracy"]), _mean(of["margin"])) for kind, of in values.items())
    return sorted(figures, key=lambda each: (each.accuracy if each.accuracy is not None else 2, each.kind))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _pace(session: Session, row: TrainingRun, recent: Iterable[Metric]) -> dict[str, float | None]:
    """Seconds per step, and tokens per second by the mean batch of the newest steps; None where not known."""
    seconds = seconds_per_step(session, row)
    tokens = _mean([number for metric in recent if (number := as_number(metric.values.get("tokens"))) is not None])
    return {"seconds_per_step": seconds, "tokens_per_second": tokens / seconds if tokens and seconds else None}


def _columns(recent: Sequence[Metric]) -> tuple[str, ...]:
    names = {name for metric in recent for name, value in metric.values.items() if as_number(value) is not None}
    known = [name for name in _COLUMN_ORDER if name in names]
    return tuple(known or sorted(names - {"epoch", "step"}))[:_MAX_COLUMNS]
