"""Leases on shards: claim, heartbeat, finish, fail, expire. One fenced statement each, by the database's clock.

A claim raises the shard's integer ``fence``, and every later statement of that claim names the fence. So a worker that
lost its lease (stopped, stalled, presumed dead) can write nothing. An expired lease is an *interruption*; an error
raised by the stage is a *failure*. Three failures quarantine a shard. After three interruptions it runs alone, and only
interruptions while alone count as failures (docs/architecture.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Executable,
    Float,
    Select,
    and_,
    bindparam,
    case,
    exists,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, aliased

from models.base import db_now, storable
from models.jobs import InjectionJob, Shard
from models.outputs import Dataset, Evaluation, Rejudging
from models.session import update_returning
from models.states import JobState, ShardState, Stage, move

log = logging.getLogger(__name__)
MAX_FAILURES = 3
MAX_INTERRUPTIONS = 3
Owner = InjectionJob | Dataset | Evaluation | Rejudging
OwnerTable = type[InjectionJob] | type[Dataset] | type[Evaluation] | type[Rejudging]
OWNERS: tuple[tuple[str, OwnerTable], ...] = (
    ("injection_job_id", InjectionJob),
    ("dataset_id", Dataset),
    ("evaluation_id", Evaluation),
    ("rejudging_id", Rejudging),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on one shard: valid while ``fence`` is the row's and the lease has not been given to another."""

    shard_id: str
    owner_id: str
    stage: Stage
    fence: int
    start: int
    stop: int
    worker: str
    positions: tuple[int, ...] | None = None
    table: OwnerTable = InjectionJob  # the owner's
    traceparent: str | None = None
    limited: bool = True  # whether the owner may have limits (errata.stopping): it had some at the claim


def owner_of(shard: Shard) -> tuple[OwnerTable, str]:
    """The table and id of the one owner a shard belongs to."""
    for column, table in OWNERS:
        owner_id = getattr(shard, column)
        if owner_id is not None:
            return table, owner_id
    raise ValueError(f"shard {shard.id} has no owner")


def load_owner(session: Session, shard: Shard) -> Owner:
    """The row a shard belongs to."""
    table, owner_id = owner_of(shard)
    owner: Any = session.get_one(table, owner_id)
    return cast(Owner, owner)


def column_of(owner: OwnerTable) -> str:
    """The shard column that names an owner of this table."""
    return next(column for column, table in OWNERS if table is owner)


def shards_of(owner: OwnerTable, owner_id: str) -> ColumnElement[bool]:
    """Whether a shard belongs to this owner."""
    of_owner: ColumnElement[bool] = getattr(Shard, column_of(owner)) == owner_id
    return of_owner


def has_open_shards(session: Session, table: OwnerTable, owner_id: str) -> bool:
    """Whether a shard of this owner waits or runs. One step into an index, however many there are."""
    return session.scalar(_open_shard(table), {"owner_id": owner_id}) is not None


@cache
def _open_shard(table: OwnerTable) -> Select[Any]:
    # Of all states by name `queued` and `running` are the last, so a range is these two; see models.choosing.
    is_open = Shard.state.between(ShardState.QUEUED, ShardState.RUNNING)
    query = select(Shard.id).where(getattr(Shard, column_of(table)) == bindparam("owner_id"), is_open)
    return query.order_by(Shard.state, Shard.stage, Shard.position).limit(1)


def owner_in(*states: JobState) -> ColumnElement[bool]:
    """Whether a shard's owner is in one of these states, and not paused."""
    return or_(*(_is_in(table, column, *states) for column, table in OWNERS))


def _is_in(table: OwnerTable, column: str, *states: JobState) -> ColumnElement[bool]:
    # Not `in_`: its list is rendered anew at each execution, which costs this hot statement its cached form.
    is_one = or_(*(table.state == state for state in states))
    return exists().where(table.id == getattr(Shard, column), is_one, _is_on(table))


def _is_on(table: OwnerTable) -> ColumnElement[bool]:
    return InjectionJob.paused_at.is_(None) if table is InjectionJob else true()


def is_waiting() -> ColumnElement[bool]:
    """Whether a shard may be claimed now, as far as its own row says."""
    # Spelt out, not a parameter: the index of shards that wait is found by it.
    queued = Shard.state == literal_column(f"'{ShardState.QUEUED}'")
    return and_(queued, or_(Shard.next_run_at.is_(None), Shard.next_run_at <= db_now()))


_other = aliased(Shard)


def _has_room() -> ColumnElement[bool]:
    """Whether the worker may take a shard: one that runs alone needs an idle worker, others one where none is alone."""
    busy = select(_other.id).where(
        _other.state == ShardState.RUNNING, _other.worker == bindparam("by"), _other.id != Shard.id
    )
    return and_(~busy.where(_other.alone).exists(), or_(~Shard.alone, ~busy.exists()))


@cache  # put together once: that takes longer than its execution
def _claiming(table: OwnerTable, stages: tuple[Stage, ...] | None) -> Executable:
    # No SKIP LOCKED: the statement is by primary key. Of two workers the second waits for the first's commit, finds
    # the shard running, and gets no row.
    claimable = and_(
        Shard.id == bindparam("shard_id"),
        is_waiting(),
        _is_in(table, column_of(table), JobState.QUEUED, JobState.RUNNING),
        _has_room(),
        true() if stages is None else or_(*(Shard.stage == stage for stage in stages)),
    )
    values = {
        "state": ShardState.RUNNING,
        "fence": Shard.fence + 1,
        "worker": bindparam("by"),
        "lease_expires_at": db_now(bindparam("ttl_seconds", type_=Float())),
        "hinted_at": null(),
    }
    told = (Shard.stage, Shard.fence, Shard.start, Shard.stop, Shard.positions, Shard.traceparent)
    statement = update(Shard).where(claimable).values(**values).returning(*told)
    return statement.execution_options(synchronize_session=False)


def claim(
    session: Session,
    shard_id: str,
    worker: str,
    ttl_seconds: float,
    stages: Sequence[Stage] | None = None,
    *,
    owner: tuple[OwnerTable, str] | None = None,
    begun: bool = False,
    limited: bool = True,
) -> Lease | None:
    """Take the lease of a waiting shard. None: taken, finished, not due, or its owner no longer wants it.

    With ``stages``, None also where the shard is at none of them: a late hint of an earlier stage. What is already
    known saves statements: the shard's ``owner``, and whether it has ``begun``, which is to say is not queued any more.
    ``limited``: whether the owner may have limits; the lease only tells it on.
    """
    if owner is None:
        named = session.get(Shard, shard_id)
        if named is None:
            return None
        owner = owner_of(named)
    table, owner_id = owner
    # The first claim also moves the owner. A cancellation locks the owner and then its shards; locked in the other
    # order here, the two would wait for each other for ever.
    queued = select(table.id).where(table.id == owner_id, table.state == JobState.QUEUED)
    is_first = not begun and session.scalar(queued.with_for_update()) is not None
    statement = _claiming(table, None if stages is None else tuple(stages))
    given = {"shard_id": shard_id, "by": worker, "ttl_seconds": float(ttl_seconds)}
    shard = session.execute(statement, given).first()
    if shard is None:
        return None
    if is_first and move(session, table, owner_id, JobState.RUNNING):
        log.info("job started", extra={"job": owner_id, "kind": table.__tablename__})
    positions = None if shard.positions is None else tuple(shard.positions)
    place = (Stage(shard.stage), shard.fence, shard.start, shard.stop, worker, positions)
    return Lease(shard_id, owner_id, *place, table, shard.traceparent, limited)


def _is_held(lease: Lease) -> ColumnElement[bool]:
    # The fence alone tells claims apart: after an expiry the same worker may hold the same shard under a new claim.
    return and_(Shard.id == lease.shard_id, Shard.fence == lease.fence, Shard.state == ShardState.RUNNING)


def heartbeat(session: Session, lease: Lease, ttl_seconds: float, progress: Mapping[str, Any] | None = None) -> bool:
    """Extend the lease; False means stop and discard: the lease was lost, or the owner is being cancelled.

    ``progress``: how far the stage is, where there is something new to tell.
    """
    values: dict[str, Any] = {"lease_expires_at": db_now(ttl_seconds)}
    values |= {} if progress is None else {"progress": dict(progress)}
    extended = update_returning(session, Shard, _is_held(lease), Shard.id, **values)
    return extended.first() is not None and is_wanted(session, lease)


def is_wanted(session: Session, lease: Lease) -> bool:
    """Whether the lease still holds and its owner still wants the result; writes nothing."""
    wanted = select(Shard.id).where(_is_held(lease), owner_in(JobState.QUEUED, JobState.RUNNING))
    return session.execute(wanted).first() is not None


def _end(session: Session, lease: Lease, **values: Any) -> Shard | None:
    free = {"worker": None, "lease_expires_at": None, "progress": null()}
    ended: Shard | None = update_returning(session, Shard, _is_held(lease), Shard, **free, **values).scalars().first()
    if ended is not None and values["state"] == ShardState.QUEUED:
        _withdraw_if_cancelling(session, ended)
    return ended


def _withdraw_if_cancelling(session: Session, shard: Shard) -> None:
    """End a shard that would wait again although its owner is being cancelled: nobody would ever claim it.

    The owner's row is locked for that look, so a cancellation at the same moment either sees this shard waiting or is
    seen here.
    """
    table, owner_id = owner_of(shard)
    state = session.scalar(select(table.state).where(table.id == owner_id).with_for_update(read=True))
    if state == JobState.CANCELLING:
        shard.state = ShardState.CANCELLED


def withdraw_unwanted(session: Session) -> int:
    """End every shard that waits although its owner is being cancelled; how many those were.

    A cancellation ends what waits. What is requeued in the same moment, by an expiry or a retry, it may not see.
    """
    count = 0
    for column, table in OWNERS:
        cancelling = select(table.id).where(table.state == JobState.CANCELLING)
        waiting = and_(Shard.state == ShardState.QUEUED, getattr(Shard, column).in_(cancelling))
        count += len(update_returning(session, Shard, waiting, Shard.id, state=ShardState.CANCELLED).all())
    return count


def finish(session: Session, lease: Lease, next_stage: Stage | None) -> Shard | None:
    """The fenced state change that must come first in a finishing transaction; None: discard everything.

    The answer is the shard as it now stands, to be held until the commit: the session then reads it no more. Where the
    owner is being cancelled, what this stage made is kept and the shard ends. Progress clears what earlier stages
    suffered: failures and interruptions count per stage.
    """
    given: dict[str, Any] = {"shard_id": lease.shard_id, "held": lease.fence}
    given |= {} if next_stage is None else {"following": next_stage}
    statement = _finishing(is_last=next_stage is None)
    ended: Shard | None = session.execute(statement, given).scalars().first()
    if ended is not None and next_stage is not None:
        _withdraw_if_cancelling(session, ended)
    return ended


@cache  # put together once: that takes longer than its execution
def _finishing(*, is_last: bool) -> Executable:
    held = and_(Shard.id == bindparam("shard_id"), Shard.fence == bindparam("held"), Shard.state == ShardState.RUNNING)
    values: dict[str, Any] = {"state": ShardState.DONE}
    if not is_last:
        # Hinted by the caller right after the commit: marked now, the sweeper need not look at this shard again.
        values = {"state": ShardState.QUEUED, "stage": bindparam("following"), "hinted_at": db_now()}
    free = {"worker": null(), "lease_expires_at": null(), "progress": null(), "error": null(), "next_run_at": null()}
    clean = {"failures": 0, "interruptions": 0, "alone": False}
    statement = update(Shard).where(held).values(**values, **free, **clean).returning(Shard)
    return statement.execution_options(synchronize_session=False, populate_existing=True)


def release(session: Session, lease: Lease, *, delay_seconds: float = 0.0) -> bool:
    """Give a lease back unharmed (graceful stop, or a server that asked us to wait): no failure."""
    return _end(session, lease, state=ShardState.QUEUED, next_run_at=db_now(delay_seconds)) is not None


def cancel(session: Session, lease: Lease) -> bool:
    """End a shard because its owner is being cancelled; what earlier stages wrote stays."""
    return _end(session, lease, state=ShardState.CANCELLED) is not None


def fail(session: Session, lease: Lease, error: str, *, backoff_seconds: float = 1.0) -> ShardState | None:
    """Count a failure: requeue with a growing delay, or quarantine at the third. None: the lease was lost."""
    failures = session.scalar(select(Shard.failures).where(_is_held(lease)))
    if failures is None:
        return None
    failures += 1
    state = ShardState.QUARANTINED if failures >= MAX_FAILURES else ShardState.QUEUED
    delay = db_now(backoff_seconds * 2 ** (failures - 1))
    ended = _end(session, lease, state=state, failures=failures, error=storable(error), next_run_at=delay)
    return None if ended is None else state


def interrupt(session: Session, lease: Lease) -> bool:
    """Requeue at once, counting an interruption: what this shard ran on went away, by whose fault is not known.

    After the third it runs alone, and then what happens to it is its own. False: the lease was lost.
    """
    interruptions = session.scalar(select(Shard.interruptions).where(_is_held(lease)))
    if interruptions is None:
        return False
    values: dict[str, Any] = {"alone": True} if interruptions + 1 >= MAX_INTERRUPTIONS else {}
    values |= {"interruptions": interruptions + 1, "next_run_at": None}
    return _end(session, lease, state=ShardState.QUEUED, **values) is not None


def expire(session: Session) -> list[Shard]:
    """Requeue every running shard whose lease ran out, counting an interruption; the answer lists them."""
    expired = and_(Shard.state == ShardState.RUNNING, Shard.lease_expires_at < db_now())
    # The fence rises here too: should the worker still live, its next statement finds no row.
    freed = {"fence": Shard.fence + 1, "worker": None, "progress": null()}
    quarantined = {
        **freed,
        "state": ShardState.QUARANTINED,
        "failures": Shard.failures + 1,
        "error": "the worker died each time this shard ran alone",
    }
    requeued = {
        **freed,
        "state": ShardState.QUEUED,
        "failures": Shard.failures + case((Shard.alone, 1), else_=0),
        "interruptions": Shard.interruptions + 1,
        "alone": or_(Shard.alone, Shard.interruptions + 1 >= MAX_INTERRUPTIONS),
        "lease_expires_at": None,
        "hinted_at": None,
    }
    # In this order: a shard that was requeued is no longer expired, and would escape its quarantine.
    last = and_(expired, Shard.alone, Shard.failures + 1 >= MAX_FAILURES)
    rows = list(update_returning(session, Shard, last, Shard, **quarantined).scalars())
    return [*rows, *update_returning(session, Shard, expired, Shard, **requeued).scalars()]
