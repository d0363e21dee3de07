"""The result of a job from its rows: funnel and rejudging; of evaluations see models.evaluation_results."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.funnel import Funnel
from models.jobs import InjectionJob, Shard
from models.outputs import VerdictChangeRow
from models.summaries import read_summary


def job_funnel(session: Session, job: InjectionJob) -> Funnel:
    """An injection job's funnel: the stored one once it has ended, before that its shards' ledgers, added up."""
    if job.funnel:
        return Funnel.from_dict(job.funnel)
    ledgers = session.scalars(select(Shard.ledger).where(Shard.injection_job_id == job.id))
    return Funnel.total(ledger["funnel"] for ledger in ledgers if ledger.get("funnel"))


def running_progress(session: Session, job: InjectionJob) -> tuple[Funnel, list[tuple[str, dict[str, Any]]]]:
    """``job_funnel``, and stage and progress of the shards that run, read at one moment.

    Read in two statements, a stage that ends between them would be counted in both, or in none.
    """
    if job.funnel:
        return Funnel.from_dict(job.funnel), []
    summary = read_summary(session, job.id)
    if summary is not None:
        return summary
    shards = session.execute(select(Shard.ledger, Shard.stage, Shard.progress).filter_by(injection_job_id=job.id)).all()
    funnel = Funnel.total(shard.ledger["funnel"] for shard in shards if shard.ledger.get("funnel"))
    return funnel, [(shard.stage, shard.progress) for shard in shards if shard.progress]


def rejudging_result(session: Session, rejudging_id: str) -> dict[str, Any]:
    """``samples`` judged again, how many are the ``same`` and ``changed``, and ``verdicts`` that moved, by direction.

    ``drawn`` counts the changed samples that the job had drawn for its pairs. Call it when no shard runs any more.
    """
    ledgers = session.scalars(select(Shard.ledger).where(Shard.rejudging_id == rejudging_id))
    samples = sum(ledger.get("samples", 0) for ledger in ledgers)
    moved: Counter[str] = Counter()
    changed = drawn = 0
    row = VerdictChangeRow
    columns = (row.verdict_before, row.verdict_after, row.role)
    groups = select(*columns, func.count()).where(row.rejudging_id == rejudging_id).group_by(*columns)
    for before, after, role, count in session.execute(groups):
        changed += count
        drawn += count if role else 0
        if before != after:
            moved[f"{before} to {after}"] += count
    same = samples - changed
    return {"samples": samples, "same": same, "changed": changed, "drawn": drawn, "verdicts": dict(moved)}
