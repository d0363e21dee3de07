"""Events of a fine-tuning job: those of its run, and its metrics by step, in one list by time."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from api.openai.ids import Keys, Page, anchor, unix, unknown_after
from api.openai.schemas import JobEvent
from errata.event_sentences import sentence_of
from models.outputs import Event, Metric, TrainingRun

_ID = re.compile(r"ftevent-(step-)?(\d{1,18})")
_LEVELS = {
    "failed": "error",
    "training.failed": "error",
    "training.skipped": "warn",
    "training.shrunk": "warn",
    "training.interrupted": "warn",
}
_EVENTS = Keys(Event.created_at, Event.id)
_METRICS = Keys(Metric.created_at, Metric.step)
#: Of one time, metrics come before events: a step is told with the checkpoint behind it.
_RANKS = {Metric: 0, Event: 1}
Place = tuple[datetime, int, int]  # time, rank, id or step


def page(session: Session, run: TrainingRun, after: str | None, limit: int) -> Page[JobEvent]:
    """One page, newest first. Raises Invalid for an unknown ``after``."""
    at = _place(session, run.id, after) if after is not None else None
    events = select(Event).where(Event.subject_id == run.id)
    metrics = select(Metric).where(Metric.run_id == run.id, Metric.phase == "train")
    found: list[tuple[Place, JobEvent]] = []
    for query, keys, rank in ((events, _EVENTS, _RANKS[Event]), (metrics, _METRICS, _RANKS[Metric])):
        for row in session.scalars(_behind(query, keys, rank, at).limit(limit + 1)):
            tie = row.id if isinstance(row, Event) else row.step
            told = _event(row) if isinstance(row, Event) else _step(run, row)
            found.append(((row.created_at, rank, tie), told))
    found.sort(key=lambda each: each[0], reverse=True)
    return Page[JobEvent].of([told for _, told in found[:limit]], has_more=len(found) > limit)


def _place(session: Session, run_id: str, after: str) -> Place:
    match = _ID.fullmatch(after)
    if match is None:
        raise unknown_after()
    number = int(match[2])
    if match[1]:
        conditions = (Metric.run_id == run_id, Metric.phase == "train", Metric.step == min(number, 2**31 - 1))
        return anchor(session, _METRICS, *conditions)[0], _RANKS[Metric], number
    time, tie = anchor(session, _EVENTS, Event.subject_id == run_id, Event.id == min(number, 2**31 - 1))
    return time, _RANKS[Event], tie


def _behind(query: Select[Any], keys: Keys, rank: int, at: Place | None) -> Select[Any]:
    """Rows of one kind behind a place in the order of all kinds."""
    query = query.order_by(keys.time.desc(), keys.tie.desc())
    if at is None:
        return query
    time, at_rank, tie = at
    if rank < at_rank:
        return query.where(keys.time <= time)
    if rank > at_rank:
        return query.where(keys.time < time)
    return query.where(or_(keys.time < time, and_(keys.time == time, keys.tie < tie)))


def _event(row: Event) -> JobEvent:
    return JobEvent(
        id=f"ftevent-{row.id}",
        created_at=unix(row.created_at),
        level=_LEVELS.get(row.type, "info"),
        message=sentence_of(row.type, row.data),
        type="message",
        data={"type": row.type, **row.data},
    )


def _step(run: TrainingRun, row: Metric) -> JobEvent:
    loss = row.values.get("loss")
    told = "not finite" if loss is None else f"{loss:.4g}"
    return JobEvent(
        id=f"ftevent-step-{row.step}",
        created_at=unix(row.created_at),
        level="info",
        message=f"Step {row.step:,} of {run.total_steps or 0:,}: training loss {told}.",
        type="metrics",
        data={"step": row.step, "total_steps": run.total_steps, "train_loss": loss, **row.values},
    )
