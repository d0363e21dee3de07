"""Recording and reading events: what happened to a job, dataset, run or evaluation, in order.

Readers go on from the last id they saw, so of one subject a smaller id must never be committed after a greater one.
Ids are given out at the insert, transactions end in any order: events are therefore held back until their transaction
ends, and on PostgreSQL those of one subject are then inserted under a lock that lasts to the end of the commit. Taken
last of all, the lock can be part of no deadlock. On SQLite there is one writer at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, SessionTransaction

from models.base import storable
from models.jobs import Shard
from models.leases import Lease, load_owner
from models.outputs import Event
from models.webhooks import add_deliveries, endpoints_of

_HELD = "errata.events"


def record(session: Session, workspace_id: str, subject_id: str, kind: str, **data: Any) -> None:
    """Add one event to the caller's transaction: it is seen exactly when what it tells of is, and not before.

    Texts in ``data`` may hold what no database takes, such as an error that quotes NUL: that is escaped.
    """
    held = session.info.setdefault(_HELD, [])
    told = {name: storable(value) if isinstance(value, str) else value for name, value in data.items()}
    held.append(Event(workspace_id=workspace_id, subject_id=subject_id, type=kind, data=told))


def record_owner_event(session: Session, lease: Lease, kind: str, **data: Any) -> None:
    """An event of the owner of a shard, as whoever holds the shard records it."""
    owner = load_owner(session, session.get_one(Shard, lease.shard_id))
    record(session, owner.workspace_id, owner.id, kind, **data)


def record_shard_event(session: Session, lease: Lease, kind: str, **data: Any) -> None:
    """The same with the shard and its stage named."""
    record_owner_event(session, lease, kind, shard=lease.shard_id, stage=lease.stage, **data)


def after(session: Session, subject_id: str, last_id: int = 0, limit: int = 100) -> Sequence[Event]:
    """Up to ``limit`` events of one subject with an id above ``last_id``, oldest first."""
    query = select(Event).where(Event.subject_id == subject_id, Event.id > last_id).order_by(Event.id).limit(limit)
    return session.scalars(query).all()


@event.listens_for(Session, "before_commit")
def _insert(session: Session) -> None:
    held: list[Event] = session.info.pop(_HELD, [])
    if not held:
        return
    session.flush()  # whatever else may wait for a lock does so before
    endpoints = endpoints_of(session, held)
    # Sorted, so that two transactions with events of the same subjects take their locks in one order. Each lock is held
    # until its transaction has ended: only then may another give out a greater id.
    if session.get_bind().dialect.name == "postgresql":
        for subject in sorted({told.subject_id for told in held}):
            session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(subject, 0))))
    session.add_all(held)
    if endpoints:
        session.flush()
        add_deliveries(session, endpoints, held)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, _ended: SessionTransaction) -> None:
    session.info.pop(_HELD, None)
