"""How far jobs are: one grouped query over their shards, whether for one job or for a page of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.schemas import Progress, ShardCounts
from errata.funnel import Funnel
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, Owner, OwnerTable
from models.outputs import Dataset, Evaluation
from models.rejudgings import Rejudging
from models.states import SHARD_TERMINAL, TERMINAL, JobState, ShardState, Stage

#: The stages each kind of job walks, in order.
ROADS: dict[OwnerTable, tuple[Stage, ...]] = {
    InjectionJob: (Stage.SAMPLE, Stage.GRADE, Stage.EDIT, Stage.CONTINUE, Stage.PROVE, Stage.PAIR),
    Dataset: (Stage.FREEZE,),
    Evaluation: (Stage.ANSWER, Stage.JUDGE),
    Rejudging: (Stage.REJUDGE,),
}
_COLUMNS: dict[OwnerTable, Any] = {table: getattr(Shard, column) for column, table in OWNERS}
Group = tuple[str, str, int, int]  # stage, state, shards, problems


def progress_of(session: Session, table: OwnerTable, rows: Sequence[Owner]) -> dict[str, Progress]:
    """The progress of each row, by id."""
    if not rows:
        return {}
    now = session.scalar(select(db_now()))
    owner = _COLUMNS[table]
    query = (
        select(owner, Shard.stage, Shard.state, func.count(), func.sum(Shard.stop - Shard.start))
        .where(owner.in_([row.id for row in rows]))
        .group_by(owner, Shard.stage, Shard.state)
    )
    groups: dict[str, list[Group]] = defaultdict(list)
    for row_id, stage, state, shards, problems in session.execute(query):
        groups[row_id].append((stage, state, shards, int(problems)))
    waiting = _waiting(session, table) if any(row.state == JobState.QUEUED for row in rows) else {}
    return {row.id: _progress(row, ROADS[table], groups[row.id], now, waiting.get(row.id)) for row in rows}


def _waiting(session: Session, table: OwnerTable) -> dict[str, int]:
    query = select(table.id).where(table.state == JobState.QUEUED).order_by(table.created_at, table.id).limit(10_000)
    return {row_id: position for position, row_id in enumerate(session.scalars(query), start=1)}


def _progress(
    row: Owner, road: tuple[Stage, ...], groups: list[Group], now: datetime | None, queue_position: int | None
) -> Progress:
    total = sum(shards for _, _, shards, _ in groups)
    ended = sum(
        shards * (1.0 if state in SHARD_TERMINAL else road.index(Stage(stage)) / len(road))
        for stage, state, shards, _ in groups
    )
    fraction = 1.0 if row.state in TERMINAL else (ended / total if total else 0.0)
    problems_done = sum(problems for _, state, _, problems in groups if state == ShardState.DONE)
    until = row.finished_at or now
    elapsed = (until - row.started_at).total_seconds() if row.started_at and until else None
    running = row.state in (JobState.RUNNING, JobState.CANCELLING)
    return Progress(
        fraction=round(fraction, 4),
        shards=_counts(groups, total),
        problems_done=problems_done,
        problems_total=sum(problems for _, _, _, problems in groups),
        elapsed_seconds=elapsed,
        problems_per_second=problems_done / elapsed if elapsed and problems_done else None,
        eta_seconds=elapsed * (1 - fraction) / fraction if running and elapsed and fraction > 0 else None,
        queue_position=queue_position,
    )


def _counts(groups: list[Group], total: int) -> ShardCounts:
    states: dict[str, int] = dict.fromkeys(ShardState, 0)
    stages: dict[str, dict[str, int]] = {}
    for stage, state, shards, _ in groups:
        states[state] += shards
        if state not in SHARD_TERMINAL:
            stages.setdefault(stage, {})[state] = shards
    return ShardCounts(total=total, stages=stages, **{str(state): count for state, count in states.items()})


def tokens_of(funnel: Funnel) -> dict[str, int]:
    """Tokens of all stages, by kind (``cached`` is part of ``prompt``)."""
    totals = {"prompt": 0, "completion": 0, "cached": 0}
    for stage in funnel.counts["tokens"].values():
        for name in totals:
            totals[name] += stage.get(name, 0)
    return totals
