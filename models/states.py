"""Status enums, each beside its transition table, and the one function that moves a state."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, update
from sqlalchemy.orm import Session

from models.base import Base, db_now


class JobState(StrEnum):
    """Injection jobs, datasets and evaluations. ``cancelling`` is the request to cancel."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingState(StrEnum):
    """Training runs: a job's states plus ``validating`` and ``paused``."""

    QUEUED = "queued"
    VALIDATING = "validating"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PlaceState(StrEnum):
    """A host's place in a training run: ``done`` and ``failed`` are how its process ended, ``left`` is as asked."""

    OPEN = "open"
    TAKEN = "taken"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    LEFT = "left"


class ShardState(StrEnum):
    """A shard between and inside its stages."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """What a shard does next, in this order; ``freeze`` is a dataset's, ``answer`` and ``judge`` an evaluation's."""

    SAMPLE = "sample"
    GRADE = "grade"
    EDIT = "edit"
    CONTINUE = "continue"
    PROVE = "prove"
    PAIR = "pair"
    FREEZE = "freeze"
    ANSWER = "answer"
    JUDGE = "judge"
    REJUDGE = "rejudge"


J, T = JobState, TrainingState
TERMINAL: frozenset[str] = frozenset({J.SUCCEEDED, J.FAILED, J.CANCELLED})
SHARD_TERMINAL: frozenset[str] = frozenset({ShardState.DONE, ShardState.QUARANTINED, ShardState.CANCELLED})

#: state -> the states it may move to. A terminal state never changes.
JOB_TRANSITIONS: dict[str, frozenset[str]] = {
    J.QUEUED: frozenset({J.RUNNING, J.CANCELLING, J.FAILED}),
    J.RUNNING: frozenset({J.CANCELLING, J.SUCCEEDED, J.FAILED}),
    J.CANCELLING: frozenset({J.CANCELLED}),
    **dict.fromkeys((J.SUCCEEDED, J.FAILED, J.CANCELLED), frozenset()),
}
TRAINING_TRANSITIONS: dict[str, frozenset[str]] = {
    T.QUEUED: frozenset({T.VALIDATING, T.PAUSED, T.CANCELLING, T.FAILED}),
    T.VALIDATING: frozenset({T.QUEUED, T.RUNNING, T.PAUSED, T.CANCELLING, T.FAILED}),
    T.RUNNING: frozenset({T.QUEUED, T.PAUSED, T.CANCELLING, T.SUCCEEDED, T.FAILED}),
    T.PAUSED: frozenset({T.QUEUED, T.CANCELLING}),
    T.CANCELLING: frozenset({T.CANCELLED}),
    **dict.fromkeys((T.SUCCEEDED, T.FAILED, T.CANCELLED), frozenset()),
}


def sources(transitions: dict[str, frozenset[str]], to: str) -> list[str]:
    """The states from which ``to`` may be reached."""
    return [state for state, targets in transitions.items() if to in targets]


def move(session: Session, table: type[Base], row_id: str, to: str, **values: Any) -> bool:
    """Move one row's state if its transition table allows it; the answer says whether it moved.

    The only way a job's or run's state changes. Sets ``started_at``/``finished_at`` by the database's clock.
    """
    entity: Any = table
    transitions: dict[str, frozenset[str]] = entity.TRANSITIONS
    if to in (J.RUNNING,):
        values.setdefault("started_at", db_now())
    if to in TERMINAL:
        values.setdefault("finished_at", db_now())
    statement = (
        update(table)
        .where(entity.id == row_id, entity.state.in_(sources(transitions, to)))
        .values(state=to, **values)
        .returning(entity.id)
        .execution_options(synchronize_session="fetch")
    )
    return session.execute(statement).first() is not None


def state_check(column: str, states: Iterable[str]) -> CheckConstraint:
    """The database's own guard: ``column`` holds one of ``states``."""
    listed = ", ".join(f"'{state}'" for state in states)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
