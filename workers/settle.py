"""Ending a job: when no shard is left to run, one transaction moves it to its terminal state with its result."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from models.events import record
from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, Owner, OwnerTable
from models.outputs import Evaluation, Rejudging
from models.results import evaluation_result, job_funnel, rejudging_result
from models.states import TERMINAL, JobState, ShardState, move
from workers.planning import column_of, unfinished

log = logging.getLogger(__name__)


def settle(session: Session, table: OwnerTable, row_id: str) -> str | None:
    """End the row if all its shards have ended; the answer is the new state, None if there is still work.

    The row is locked first, so of two workers finishing the last two shards at once at least one sees both done.
    """
    found: Any = session.scalars(select(table).where(table.id == row_id).with_for_update()).first()
    row: Owner | None = found
    if row is None or row.state in TERMINAL or unfinished(session, table, row_id):
        return None
    if row.state == JobState.QUEUED and not _move(session, row, JobState.RUNNING):
        return None
    state, values = _outcome(session, row)
    if not _move(session, row, state, **values):
        return None
    record(session, row.workspace_id, row.id, state, **{k: v for k, v in values.items() if k in ("error", "partial")})
    return state


def unsettled(session: Session) -> list[tuple[OwnerTable, str]]:
    """Rows that go on although all their shards have ended: a worker died between its last shard and its settling."""
    found: list[tuple[OwnerTable, str]] = []
    for column, table in OWNERS:
        open_shards = select(Shard.id).where(
            getattr(Shard, column) == table.id, Shard.state.in_([ShardState.QUEUED, ShardState.RUNNING])
        )
        rows = session.scalars(select(table.id).where(table.state.not_in(sorted(TERMINAL)), ~open_shards.exists()))
        found += [(table, row_id) for row_id in rows]
    return found


def _move(session: Session, row: Owner, state: str, **values: Any) -> bool:
    return move(session, type(row), row.id, state, **values)


def _outcome(session: Session, row: Owner) -> tuple[JobState, dict[str, Any]]:
    counts = _shard_counts(session, row)
    done, bad = counts.get(ShardState.DONE, 0), counts.get(ShardState.QUARANTINED, 0)
    if isinstance(row, InjectionJob):
        values: dict[str, Any] = {"funnel": job_funnel(session, row).to_dict()}
        floor = InjectionConfig.model_validate(row.config).min_yield
    else:
        values, floor = {}, 1.0
    if row.state == JobState.CANCELLING:
        return JobState.CANCELLED, values | {"partial": done > 0}
    if bad:
        total = done + bad
        values |= {
            "partial": done > 0,
            "error": f"{bad} of {total} shards were quarantined: {_first_error(session, row)}",
        }
        if done == 0 or done / total < floor:
            return JobState.FAILED, values
    if isinstance(row, Evaluation):
        values["result"] = evaluation_result(session, row.id)
    if isinstance(row, Rejudging):
        values["result"] = rejudging_result(session, row.id)
    return JobState.SUCCEEDED, values


def _shard_counts(session: Session, row: Owner) -> dict[str, int]:
    query = select(Shard.state, func.count()).where(getattr(Shard, column_of(type(row))) == row.id)
    return {row[0]: row[1] for row in session.execute(query.group_by(Shard.state))}


def _first_error(session: Session, row: Owner) -> str:
    query = select(Shard.error).where(
        getattr(Shard, column_of(type(row))) == row.id, Shard.state == ShardState.QUARANTINED
    )
    return session.scalars(query.order_by(Shard.position).limit(1)).first() or "unknown"
