"""Who waits for a slot: the owners with a shard that may run now, for workers that share their slots among them.

Which of them goes next is the worker's own count (workers.shares); the database keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, literal, or_, select, union_all
from sqlalchemy.orm import Session

from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, OwnerTable, is_waiting
from models.states import JobState, Stage

Priority = Literal["low", "normal", "high"]
PRIORITIES: dict[Priority, int] = {"low": -1, "normal": 0, "high": 1}


def named_priority(stored: Any) -> Any:
    """A stored priority by its name; what is none is answered as it is."""
    return next((name for name, number in PRIORITIES.items() if number == stored), stored)


@dataclass(frozen=True, slots=True)
class WaitingOwner:
    """A job of any kind in work that has a shard waiting: one of them is ``shard_id``."""

    owner_id: str
    workspace_id: str
    priority: int
    created_at: datetime
    shard_id: str
    injects: bool


def waiting_owners(session: Session, stages: Sequence[Stage]) -> list[WaitingOwner]:
    """The owners in work, not paused, with a shard that may run now at one of these stages.

    One statement. It looks up a shard for each owner in work, and counts none.
    """
    parts = [_waiting_of(column, table, stages) for column, table in OWNERS]
    rows = session.execute(union_all(*parts)).all()
    return [WaitingOwner(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows if row[4] is not None]


def _waiting_of(column: str, table: OwnerTable, stages: Sequence[Stage]) -> Select[Any]:
    of_owner = getattr(Shard, column) == table.id
    shard = select(Shard.id).where(of_owner, is_waiting(), Shard.stage.in_(stages)).limit(1)
    injects = table is InjectionJob
    told = select(
        table.id,
        table.workspace_id,
        (InjectionJob.priority if injects else literal(0)).label("priority"),
        table.created_at,
        shard.order_by(Shard.position).scalar_subquery().label("shard_id") if not injects else shard.scalar_subquery(),
        literal(int(injects)).label("injects"),
    ).where(or_(table.state == JobState.QUEUED, table.state == JobState.RUNNING))
    return told.where(InjectionJob.paused_at.is_(None)) if injects else told
