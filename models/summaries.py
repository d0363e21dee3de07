"""One row per injection job with what its shards' ledgers add up to, so that a status reads no ledger.

The row is written in the transaction that ends a shard's stage, under a lock on it, so it is exact whatever runs at the
same time. It is always locked after the shard. A job of an earlier version has none, and is counted from its ledgers;
a job's end counts the ledgers anew in any case (workers.lifecycle).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select, update
from sqlalchemy.orm import Session

from errata.funnel import Funnel
from models.jobs import InjectionJob, JobSummary, Shard
from models.states import ShardState

Groups = list[list[Any]]
SKIPPED = "skipped"


def told_state() -> ColumnElement[str]:
    """A shard's state as it is told: one that its job's limit kept from beginning is ``skipped``, not cancelled."""
    return case((Shard.skipped.is_not(None), SKIPPED), else_=Shard.state)


def add_summary(session: Session, job: InjectionJob) -> None:
    """Give a job that has just been planned its row."""
    session.add(JobSummary(job_id=job.id, counts=Funnel().counts))


def count_in_summary(session: Session, job_id: str, counts: Mapping[str, Any]) -> None:
    """Add what a stage counted. Call it where the same counts go to the shard's ledger."""
    row = select(JobSummary.counts).where(JobSummary.job_id == job_id).with_for_update()
    before = session.scalar(row)
    if before is not None:
        total = Funnel.total([before, counts]).counts
        session.execute(update(JobSummary).where(JobSummary.job_id == job_id).values(counts=total))


def read_summary(session: Session, job_id: str) -> tuple[Funnel, list[tuple[str, dict[str, Any]]]] | None:
    """The counts, and stage and progress of the shards that run, as one statement sees them; None without a row."""
    running = and_(Shard.injection_job_id == JobSummary.job_id, Shard.state == ShardState.RUNNING)
    query = select(JobSummary.counts, Shard.stage, Shard.progress).outerjoin(Shard, running)
    rows = session.execute(query.where(JobSummary.job_id == job_id)).all()
    if not rows:
        return None
    return Funnel.from_dict(rows[0].counts), [(row.stage, row.progress) for row in rows if row.progress]


def settle_summary(session: Session, job_id: str) -> None:
    """Keep how many shards of a job that has just ended are in which stage and state: it changes no more."""
    told = select(Shard.stage, told_state().label("state"), Shard.start, Shard.stop)
    kinds = told.where(Shard.injection_job_id == job_id).subquery()
    counts = (func.count(), func.sum(kinds.c.stop - kinds.c.start))
    query = select(kinds.c.stage, kinds.c.state, *counts).group_by(kinds.c.stage, kinds.c.state)
    groups = [[*row[:3], int(row[3])] for row in session.execute(query)]
    session.execute(update(JobSummary).where(JobSummary.job_id == job_id).values(groups=groups))


def settled_groups(session: Session, job_ids: Sequence[str]) -> dict[str, Groups]:
    """Stage, state, shards and problems of each group of shards, by job, of those whose end was noted."""
    if not job_ids:
        return {}
    rows = session.execute(select(JobSummary.job_id, JobSummary.groups).where(JobSummary.job_id.in_(job_ids)))
    return {job_id: groups for job_id, groups in rows if groups}
