"""Rejudgings: the stored samples of an injection job, judged again by the verifier of today."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import ForeignKey, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base
from models.jobs import JobColumns, Shard
from models.states import JobState, state_check


class Rejudging(JobColumns, Base):
    """One pass over a job's samples. It changes nothing of the job: the difference is its result."""

    __tablename__ = "rejudgings"
    __table_args__ = (state_check("state", JobState),)
    injection_job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), index=True)
    verifier: Mapped[str]
    result: Mapped[dict[str, Any] | None]


class VerdictChangeRow(Base):
    """One sample whose verdict or extracted answer differs; samples without a row were judged the same."""

    __tablename__ = "verdict_changes"
    __table_args__ = (UniqueConstraint("rejudging_id", "solution_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    rejudging_id: Mapped[str] = mapped_column(ForeignKey("rejudgings.id"), index=True)
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id"))
    solution_id: Mapped[str] = mapped_column(ForeignKey("solutions.id"))
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    role: Mapped[str | None]
    verdict_before: Mapped[str]
    verdict_after: Mapped[str]
    extracted_before: Mapped[str | None] = mapped_column(Text)
    extracted_after: Mapped[str | None] = mapped_column(Text)
    verifier_before: Mapped[str | None]


def rejudging_result(session: Session, rejudging_id: str) -> dict[str, Any]:
    """``samples`` judged again, how many are the ``same`` and ``changed``, and ``verdicts`` that moved, by direction.

    ``drawn`` counts the changed samples that the job had drawn for its pairs. Call it when no shard runs any more.
    """
    ledgers = session.scalars(select(Shard.ledger).where(Shard.rejudging_id == rejudging_id))
    samples = sum(ledger.get("samples", 0) for ledger in ledgers)
    moved: Counter[str] = Counter()
    changed = drawn = 0
    row = VerdictChangeRow
    groups = select(row.verdict_before, row.verdict_after, row.role, func.count()).where(
        row.rejudging_id == rejudging_id
    )
    for before, after, role, count in session.execute(groups.group_by(row.verdict_before, row.verdict_after, row.role)):
        changed += count
        drawn += count if role else 0
        if before != after:
            moved[f"{before} to {after}"] += count
    same = samples - changed
    return {"samples": samples, "same": same, "changed": changed, "drawn": drawn, "verdicts": dict(moved)}
