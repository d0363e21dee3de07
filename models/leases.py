"""Leases on shards: choose, claim, heartbeat, finish, fail, expire. One fenced statement each, by the database's clock.

A claim raises the shard's integer ``fence``, and every later statement of that claim names the fence. So a worker that
lost its lease (stopped, stalled, presumed dead) can write nothing. An expired lease is an *interruption*; an error
raised by the stage is a *failure*. Three failures quarantine a shard. After three interruptions it runs alone, and only
interruptions while alone count as failures (docs/architecture.md).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, null, or_, select, true
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
    injects: bool = False  # whether the owner is an injection job
    traceparent: str | None = None


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


def owner_in(*states: JobState) -> ColumnElement[bool]:
    """Whether a shard's owner is in one of these states, and not paused."""
    # Not `in_`: its list is rendered anew at each execution, which costs this hot statement its cached form.
    return or_(
        *(
            exists().where(
                table.id == getattr(Shard, column), or_(*(table.state == state for state in states)), _is_on(table)
            )
            for column, table in OWNERS
        )
    )


def _is_on(table: OwnerTable) -> ColumnElement[bool]:
    return InjectionJob.paused_at.is_(None) if table is InjectionJob else true()


def is_waiting() -> ColumnElement[bool]:
    """Whether a shard may be claimed now, as far as its own row says."""
    return and_(Shard.state == ShardState.QUEUED, or_(Shard.next_run_at.is_(None), Shard.next_run_at <= db_now()))


def choose_shard(session: Session, shard_id: str, first: Sequence[Stage]) -> Shard | None:
    """The shard to claim for a hint that names ``shard_id``: one of the same injection job that waits at these stages.

    It is taken from the stage with the fewest running shards; of equal stages, from the earliest in ``first``. Near the
    end of the job, when no more shards wait than run, it is the one with the most stages left: started last, it would
    run on after all others. A shard that must run alone comes last. None: no shard of the job waits at these stages.
    Shards of other owners are not exchanged: the answer is the named one.
    """
    named = session.get(Shard, shard_id)
    if named is None or named.injection_job_id is None:
        return named
    of_job = Shard.injection_job_id == named.injection_job_id
    waiting, running = _count_at_stages(session, of_job, first)
    # Saves a query in the common case: the hint names a shard that is as good as any other of its stage.
    named_will_do = named.state == ShardState.QUEUED and named.next_run_at is None and not named.alone
    near_end = waiting.total() <= running.total()
    for stage in sorted(first, key=tuple(Stage).index if near_end else running.__getitem__):
        if named_will_do and stage == named.stage:
            return named
        found = session.scalar(_earliest_waiting(of_job, Shard.stage == stage, ~Shard.alone))
        if found is not None:
            return found
    return session.scalar(_earliest_waiting(of_job, Shard.stage.in_(first)))


def _count_at_stages(
    session: Session, where: ColumnElement[bool], stages: Sequence[Stage]
) -> tuple[Counter[Stage], Counter[Stage]]:
    """How many shards wait and how many run at each of these stages."""
    counts = {ShardState.QUEUED: Counter[Stage](), ShardState.RUNNING: Counter[Stage]()}
    counted = select(Shard.state, Shard.stage, func.count()).where(where, Shard.state.in_(list(counts)))
    for state, stage, count in session.execute(counted.group_by(Shard.state, Shard.stage)):
        if stage in stages:
            counts[ShardState(state)][Stage(stage)] = count
    return counts[ShardState.QUEUED], counts[ShardState.RUNNING]


def _earliest_waiting(*where: ColumnElement[bool]) -> Select[Shard]:
    return select(Shard).where(is_waiting(), *where).order_by(Shard.position).limit(1)


def unheard_shard(session: Session, stages: Sequence[Stage], seconds: float) -> str | None:
    """A shard that may run now at one of these stages and whose last hint, if any, is older than ``seconds``."""
    unhinted = or_(Shard.hinted_at.is_(None), Shard.hinted_at <= db_now(-seconds))
    wanted = owner_in(JobState.QUEUED, JobState.RUNNING)
    query = select(Shard.id).where(is_waiting(), Shard.stage.in_(stages), unhinted, wanted)
    return session.scalar(query.order_by(Shard.created_at, Shard.position).limit(1))


def _has_room(worker: str) -> ColumnElement[bool]:
    """Whether the worker may take a shard: one that runs alone needs an idle worker, others one where none is alone."""
    other = aliased(Shard)
    busy = select(other.id).where(other.state == ShardState.RUNNING, other.worker == worker, other.id != Shard.id)
    return and_(~busy.where(other.alone).exists(), or_(~Shard.alone, ~busy.exists()))


def claim(
    session: Session, shard_id: str, worker: str, ttl_seconds: float, stages: Sequence[Stage] | None = None
) -> Lease | None:
    """Take the lease of a waiting shard. None: taken, finished, not due, or its owner no longer wants it.

    With ``stages``, None also where the shard is at none of them: a late hint of an earlier stage. A row that the
    session holds is not read again: of it only the owner counts, which never changes.
    """
    named = session.get(Shard, shard_id)
    if named is None:
        return None
    table, owner_id = owner_of(named)
    # The first claim also moves the owner. A cancellation locks the owner and then its shards; locked in the other
    # order here, the two would wait for each other for ever.
    queued = select(table.id).where(table.id == owner_id, table.state == JobState.QUEUED)
    is_first = session.scalar(queued.with_for_update()) is not None
    # No SKIP LOCKED: the statement is by primary key. Of two workers the second waits for the first's commit, finds
    # the shard running, and gets no row.
    claimable = and_(
        Shard.id == shard_id,
        is_waiting(),
        owner_in(JobState.QUEUED, JobState.RUNNING),
        _has_room(worker),
        true() if stages is None else Shard.stage.in_(stages),
    )
    values = {
        "state": ShardState.RUNNING,
        "fence": Shard.fence + 1,
        "worker": worker,
        "lease_expires_at": db_now(ttl_seconds),
        "hinted_at": None,
    }
    shard = update_returning(session, Shard, claimable, Shard, **values).scalars().first()
    if shard is None:
        return None
    if is_first and move(session, table, owner_id, JobState.RUNNING):
        log.info("job started", extra={"job": owner_id, "kind": table.__tablename__})
    positions = None if shard.positions is None else tuple(shard.positions)
    place = (Stage(shard.stage), shard.fence, shard.start, shard.stop, worker, positions)
    return Lease(shard.id, owner_id, *place, table is InjectionJob, shard.traceparent)


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
    values: dict[str, Any] = {"state": ShardState.DONE, "error": None}
    if next_stage is not None:
        # Hinted by the caller right after the commit: marked now, the sweeper need not look at this shard again.
        values = {"state": ShardState.QUEUED, "stage": next_stage, "hinted_at": db_now(), "error": None}
    return _end(session, lease, failures=0, interruptions=0, alone=False, next_run_at=None, **values)


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
