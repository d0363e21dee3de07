"""Leases on training runs: claim, heartbeat, progress, finish, fail, expire. One fenced statement each.

The claim raises the row's integer ``fence``, and every later statement of that claim names the fence. So a daemon that
lost its lease can write nothing. Unlike a shard's, a run's state may be changed by others while it is leased: pausing
and cancelling *are* the states ``paused`` and ``cancelling``, which the daemon reads at its heartbeat. An expired lease
is an interruption; the death of the training process is a failure. Three failures without a new checkpoint between them
fail the run, and so do ten interruptions: a run that takes its trainer or host down must not do so for ever. Clocks are
the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from models.base import db_now
from models.outputs import Checkpoint, Dataset, TrainingRun
from models.session import update_returning
from models.states import TERMINAL, TrainingState, move

MAX_FAILURES = 3
MAX_INTERRUPTIONS = 10
INTERRUPTED = (
    f"the trainer of this run, or its host, was gone {MAX_INTERRUPTIONS} times without a new checkpoint in between."
    " If the run is the cause (main memory?), make it smaller; else write checkpoints more often. Then start a new one."
)
_S = TrainingState


@dataclass(frozen=True, slots=True)
class RunLease:
    """A claim on one training run: valid while ``fence`` is the row's."""

    run_id: str
    workspace_id: str
    fence: int
    worker: str
    hosts: int = 1


def _claimable() -> Select[str]:
    free = or_(TrainingRun.worker.is_(None), TrainingRun.lease_expires_at < db_now())
    due = or_(TrainingRun.next_run_at.is_(None), TrainingRun.next_run_at <= db_now())
    # A run may be made before its dataset is. One whose dataset came to nothing is taken as well, to fail.
    written = exists().where(Dataset.id == TrainingRun.dataset_id, Dataset.state.in_(sorted(TERMINAL)))
    waiting = select(TrainingRun.id).where(TrainingRun.state == _S.QUEUED, free, due, written)
    return waiting.order_by(TrainingRun.created_at, TrainingRun.id).limit(1)


def next_waiting(session: Session) -> tuple[str, str] | None:
    """Id and workspace of the run that ``claim`` would take, which stays where it is; None: nothing waits."""
    query = select(TrainingRun.id, TrainingRun.workspace_id).where(TrainingRun.id.in_(_claimable()))
    row = session.execute(query).first()
    return None if row is None else (row.id, row.workspace_id)


def claim(session: Session, worker: str, ttl_seconds: float) -> RunLease | None:
    """Take the oldest waiting run into ``validating``, or None when nothing waits."""
    if session.get_bind().dialect.name == "postgresql":
        # SKIP LOCKED: of two daemons that claim at once, the second takes the next run instead of waiting.
        # Materialised: an inlined LIMIT subquery may be evaluated again after SKIP LOCKED skipped a row.
        chosen = _claimable().with_for_update(skip_locked=True).cte("chosen").prefix_with("MATERIALIZED")
        condition: ColumnElement[bool] = TrainingRun.id.in_(select(chosen.c.id))
    else:  # SQLite has one writer at a time
        condition = TrainingRun.id.in_(_claimable())
    values = {
        "state": _S.VALIDATING,
        "fence": TrainingRun.fence + 1,
        "worker": worker,
        "lease_expires_at": db_now(ttl_seconds),
        "progressed_at": db_now(),
    }
    claimed = (TrainingRun.id, TrainingRun.workspace_id, TrainingRun.fence, TrainingRun.hosts)
    row = update_returning(session, TrainingRun, condition, *claimed, **values).first()
    return None if row is None else RunLease(row.id, row.workspace_id, row.fence, worker, row.hosts)


def _is_held(lease: RunLease) -> ColumnElement[bool]:
    return and_(TrainingRun.id == lease.run_id, TrainingRun.fence == lease.fence, TrainingRun.worker.is_not(None))


def _update(session: Session, condition: ColumnElement[bool], **values: Any) -> str | None:
    state: str | None = update_returning(session, TrainingRun, condition, TrainingRun.state, **values).scalar()
    return state


def heartbeat(session: Session, lease: RunLease, ttl_seconds: float, **values: Any) -> str | None:
    """Extend the lease and set ``values``; the answer is the run's state, None when the lease is lost."""
    return _update(session, _is_held(lease), lease_expires_at=db_now(ttl_seconds), **values)


def progressed(session: Session, lease: RunLease, ttl_seconds: float, step: int, **values: Any) -> str | None:
    """A heartbeat that tells of a new optimizer step."""
    return heartbeat(session, lease, ttl_seconds, step=step, progressed_at=db_now(), **values)


def checkpointed(session: Session, lease: RunLease, ttl_seconds: float) -> str | None:
    """A heartbeat that tells of a checkpoint newer than any: what the run suffered before no longer counts."""
    return heartbeat(session, lease, ttl_seconds, failures=0, interruptions=0, error=None, progressed_at=db_now())


def started(session: Session, lease: RunLease, total_steps: int) -> bool:
    """``validating`` becomes ``running``; False when the run is no longer wanted or the lease is lost."""
    # A run that was resumed keeps the time it first started.
    now = {"started_at": db_now()} if _started_at(session, lease.run_id) is None else {}
    condition = and_(_is_held(lease), TrainingRun.state == _S.VALIDATING)
    return _update(session, condition, state=_S.RUNNING, total_steps=total_steps, **now) is not None


def _started_at(session: Session, run_id: str) -> Any:
    return session.scalar(select(TrainingRun.started_at).where(TrainingRun.id == run_id))


def succeed(session: Session, lease: RunLease, output_model_id: str, summary: dict[str, Any]) -> bool:
    """The fenced state change that ends a run well; False: discard everything."""
    condition = and_(_is_held(lease), TrainingRun.state == _S.RUNNING)
    values = {"state": _S.SUCCEEDED, "output_model_id": output_model_id, "summary": summary, "error": None}
    return _update(session, condition, **values, finished_at=db_now(), **_FREE) is not None


_TOO_OFTEN = TrainingRun.interruptions + 1 >= MAX_INTERRUPTIONS
_FREE: dict[str, Any] = {"worker": None, "lease_expires_at": None, "next_run_at": None, "doing": None}


def release(session: Session, lease: RunLease) -> bool:
    """Give the lease back unharmed: a run being computed waits again; a paused or cancelling one is left so."""
    computing = (_S.VALIDATING, _S.RUNNING)
    if _update(session, and_(_is_held(lease), TrainingRun.state.in_(computing)), state=_S.QUEUED, **_FREE) is not None:
        return True
    return _update(session, _is_held(lease), **_FREE) is not None


def give_back(session: Session, lease: RunLease, pause_seconds: float, **values: Any) -> bool:
    """Let a run whose hosts did not come wait for ``pause_seconds``, so that others are taken before it.

    False: the lease is lost, or the run is paused or being cancelled.
    """
    condition = and_(_is_held(lease), TrainingRun.state == _S.VALIDATING)
    waits = {**_FREE, "next_run_at": db_now(pause_seconds), **values}
    return _update(session, condition, state=_S.QUEUED, **waits) is not None


def interrupt(session: Session, lease: RunLease) -> str | None:
    """Count an interruption of a run whose trainer is still there, but one of its other hosts is gone.

    The answer is the state the run was left in; a run that is paused or being cancelled stays so. None: lease lost.
    """
    computing = and_(_is_held(lease), TrainingRun.state.in_((_S.VALIDATING, _S.RUNNING)))
    again = {**_FREE, "interruptions": TrainingRun.interruptions + 1}
    over = {"state": _S.FAILED, "error": INTERRUPTED, "finished_at": db_now()}
    if (state := _update(session, and_(computing, _TOO_OFTEN), **again, **over)) is not None:
        return state
    if (state := _update(session, computing, **again, state=_S.QUEUED)) is not None:
        return state
    return _update(session, _is_held(lease), **_FREE)


def cancelled(session: Session, lease: RunLease) -> bool:
    """End a run whose cancellation was asked for."""
    condition = and_(_is_held(lease), TrainingRun.state == _S.CANCELLING)
    return _update(session, condition, state=_S.CANCELLED, finished_at=db_now(), **_FREE) is not None


def fail(session: Session, lease: RunLease, error: str, *, fatal: bool, backoff_seconds: float = 1.0) -> str | None:
    """Count a failure: wait again with a growing delay, or fail at the third (or at once when ``fatal``).

    The answer is the state the run was left in; a run that is paused or being cancelled stays so. None: lease lost.
    """
    # Locked until the end: a cancellation or pause that is accepted in between must not be written over.
    query = select(TrainingRun.failures, TrainingRun.state).where(_is_held(lease)).with_for_update()
    row = session.execute(query).first()
    if row is None:
        return None
    failures = row.failures + 1
    counted = {**_FREE, "failures": failures, "error": error}
    if row.state not in (_S.VALIDATING, _S.RUNNING):
        return _update(session, _is_held(lease), **counted)
    if fatal or failures >= MAX_FAILURES:
        return _update(session, _is_held(lease), **counted, state=_S.FAILED, finished_at=db_now())
    counted["next_run_at"] = db_now(backoff_seconds * 2 ** (failures - 1))
    return _update(session, _is_held(lease), **counted, state=_S.QUEUED)


def expire(session: Session) -> list[tuple[str, str, str]]:
    """Free every run whose lease ran out, counting an interruption: (id, workspace, new state) of each.

    A run being computed waits again, or fails at the tenth; one that is being cancelled, or was before anybody took
    it, is cancelled.
    """
    dead = and_(TrainingRun.worker.is_not(None), TrainingRun.lease_expires_at < db_now())
    free = or_(TrainingRun.worker.is_(None), TrainingRun.lease_expires_at < db_now())
    computing = and_(dead, TrainingRun.state.in_((_S.VALIDATING, _S.RUNNING)))
    again = {"fence": TrainingRun.fence + 1, "interruptions": TrainingRun.interruptions + 1, **_FREE}
    over = {"finished_at": db_now()}
    rows: list[tuple[str, str, str]] = []
    for condition, values in (
        (and_(computing, _TOO_OFTEN), {**again, **over, "state": _S.FAILED, "error": INTERRUPTED}),
        (computing, {**again, "state": _S.QUEUED}),
        (and_(free, TrainingRun.state == _S.CANCELLING), {**_FREE, **over, "state": _S.CANCELLED}),
    ):
        changed = (TrainingRun.id, TrainingRun.workspace_id, TrainingRun.state)
        found = update_returning(session, TrainingRun, condition, *changed, **values)
        rows += [(row.id, row.workspace_id, row.state) for row in found]
    return rows


def request_cancel(session: Session, run_id: str, *, keep: bool = True) -> bool:
    """Ask for the end of a run; ``keep`` writes a last checkpoint and keeps what there is. False: already over."""
    return move(session, TrainingRun, run_id, _S.CANCELLING, keep_on_cancel=keep)


def end_unheld(session: Session, run_id: str) -> bool:
    """Cancel at once a run whose end was asked for while no trainer had it: none may come for days, or ever.

    Not where checkpoints are to be deleted: their files are the trainers' to delete.
    """
    written = exists().where(Checkpoint.run_id == TrainingRun.id, Checkpoint.state != "deleted")
    condition = and_(
        TrainingRun.id == run_id,
        TrainingRun.state == _S.CANCELLING,
        TrainingRun.worker.is_(None),
        or_(TrainingRun.keep_on_cancel, ~written),
    )
    return _update(session, condition, state=_S.CANCELLED, finished_at=db_now(), **_FREE) is not None


def request_pause(session: Session, run_id: str) -> bool:
    """Ask a run to stop behind a checkpoint and wait. False: not possible in its state."""
    return move(session, TrainingRun, run_id, _S.PAUSED, doing=None)


def request_resume(session: Session, run_id: str) -> bool:
    """Let a paused run wait for a trainer again. False: not paused."""
    # Not move(): the table of transitions lets a running one wait again too, which only its trainer may do.
    paused = and_(TrainingRun.id == run_id, TrainingRun.state == _S.PAUSED)
    return _update(session, paused, state=_S.QUEUED) is not None
