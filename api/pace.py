"""How fast a training run advances, from its newest metrics, and how long it will take."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.outputs import Event, Metric, TrainingRun
from models.states import TrainingState

_RECENT = 200  # steps from which the pace is taken
_BATCH = timedelta(seconds=0.5)  # metrics that came closer together were written at once: a trainer does so each second
_RUNNING = "training.running"  # told at the start of every attempt


def seconds_per_step(session: Session, run: TrainingRun) -> float | None:
    """Over the newest steps of the present attempt: a pause or an interruption does not count. None: not known yet.

    Measured between metrics, from the last of the first batch of them to the last of all. What an attempt does before
    its first step (the reference pass) does not count either.
    """
    attempts = select(Event.created_at).where(Event.subject_id == run.id, Event.type == _RUNNING)
    since = session.scalar(attempts.order_by(Event.id.desc()).limit(1))
    query = select(Metric.step, Metric.created_at).where(Metric.run_id == run.id, Metric.phase == "train")
    if since is not None:
        query = query.where(Metric.created_at >= since)
    rows = session.execute(query.order_by(Metric.step.desc()).limit(_RECENT)).all()
    if not rows:
        return None
    newest = rows[0]
    first = next(row for row in rows if row.created_at <= rows[-1].created_at + _BATCH)
    if newest.step == first.step:
        return None
    seconds = (newest.created_at - first.created_at).total_seconds()
    pace: float = seconds / (newest.step - first.step)
    return pace


def seconds_left(run: TrainingRun, pace: float | None) -> float | None:
    """Until the last step at this pace; None for a run that does not run or whose pace is not known."""
    if run.state != TrainingState.RUNNING or pace is None or run.total_steps is None:
        return None
    return pace * (run.total_steps - run.step)
