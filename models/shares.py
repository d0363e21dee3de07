"""Who waits for a slot: the owners with a shard that may run now, for workers that share their slots among them.

Which of them goes next is the worker's own count (workers.shares); the database keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    CompoundSelect,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, OwnerTable, is_waiting
from models.outputs import Evaluation
from models.states import JobState, Stage
from models.workspaces import LanguageModel

Priority = Literal["low", "normal", "high"]
PRIORITIES: dict[Priority, int] = {"low": -1, "normal": 0, "high": 1}


def named_priority(stored: Any) -> Any:
    """A stored priority by its name; what is none is answered as it is."""
    return next((name for name, number in PRIORITIES.items() if number == stored), stored)


@dataclass(frozen=True, slots=True)
class WaitingOwner:
    """A job of any kind in work that has a shard waiting: one of them is ``shard_id``.

    ``model`` and ``engine``: the language model that it names, and what serves that one.
    """

    owner_id: str
    workspace_id: str
    priority: int
    created_at: datetime
    shard_id: str
    model: str | None = None
    engine: str | None = None


def waiting_owners(session: Session, stages: Sequence[Stage], hinted: str | None = None) -> list[WaitingOwner]:
    """The owners in work, not paused, with a shard that may run now at one of these stages.

    Where ``hinted`` is such a shard, it is the one that is named of its owner. One statement, which looks up a shard
    for each owner in work and counts none.
    """
    rows = session.execute(_statement(tuple(stages)), {"hinted": hinted or ""}).all()
    return [WaitingOwner(*row) for row in rows if row.shard_id is not None]


@cache
def _statement(stages: tuple[Stage, ...]) -> CompoundSelect[Any]:
    # Put together once: it is asked at every claim.
    return union_all(*(_waiting_of(column, table, stages) for column, table in OWNERS))


def _waiting_of(column: str, table: OwnerTable, stages: Sequence[Stage]) -> Select[Any, Any, Any, Any, Any, Any, Any]:
    waits = and_(getattr(Shard, column) == table.id, is_waiting(), Shard.stage.in_(stages))
    named = select(Shard.id).where(waits, Shard.id == bindparam("hinted"))
    any_ = select(Shard.id).where(waits).limit(1)
    model = table.language_model_id if table in (InjectionJob, Evaluation) else null()
    told: Select[Any, Any, Any, Any, Any, Any, Any] = select(
        table.id,
        table.workspace_id,
        (InjectionJob.priority if table is InjectionJob else literal(0)).label("priority"),
        table.created_at,
        func.coalesce(named.scalar_subquery(), any_.scalar_subquery()).label("shard_id"),
        cast(model, String).label("model"),
        select(LanguageModel.engine).where(LanguageModel.id == model).scalar_subquery().label("engine"),
    ).where(or_(table.state == JobState.QUEUED, table.state == JobState.RUNNING))
    return told.where(InjectionJob.paused_at.is_(None)) if table is InjectionJob else told
