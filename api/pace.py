"""How fast a training run advances, from its newest metrics, and how long it will take."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.outputs import Event, Metric, TrainingRun
from models.states import TrainingState

_RECENT = 50  # steps from which the pace is taken
_RUNNING = "training.running"  # told at the start of every attempt


def seconds_per_step(session: Session, run: TrainingRun) -> float | None:
    """Over the newest steps of the present attempt: a pause or an interruption does not count. None: not known yet.

    Metrics are written in batches; while all of them came in one, the time since the attempt began is taken.
    """
    attempts = select(Event.created_at).where(Event.subject_id == run.id, Event.type == _RUNNING)
    since = session.scalar(attempts.order_by(Event.id.desc()).limit(1))
    query = select(Metric.step, Metric.created_at).where(Metric.run_id == run.id, Metric.phase == "train")
    if since is not None:
        query = query.where(Metric.created_at >= since)
    rows = session.execute(query.order_by(Metric.step.desc()).limit(_RECENT)).all()
    if not rows:
        return None
    seconds = (rows[0].created_at - rows[-1].created_at).total_seconds()
    steps: int = rows[0].step - rows[-1].step
    if seconds == 0 and since is not None:
        seconds, steps = (rows[0].created_at - since).total_seconds(), steps + 1
    pace: float = seconds / max(steps, 1)
    return pace or None


def seconds_left(run: TrainingRun, pace: float | None) -> float | None:
    """Until the last step at this pace; None for a run that does not run or whose pace is not known."""
    if run.state != TrainingState.RUNNING or pace is None or run.total_steps is None:
        return None
    return pace * (run.total_steps - run.step)
