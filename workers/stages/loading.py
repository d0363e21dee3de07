"""What every stage of an injection job reads first: its job, configuration, domain and the shard's problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from errata.answers import Judgement
from errata.config import InjectionConfig
from errata.types import Domain, Problem
from models.jobs import EditRow, InjectionJob, SolutionRow
from models.leases import Lease
from models.workspaces import ProblemRow, ProblemSet
from workers.engines.base import Cancelled, ModelSpec
from workers.judge import JudgeItem
from workers.registry import load_spec
from workers.stages.base import StageContext


@dataclass(frozen=True)
class Job:
    """An injection job as its stages see it; ``model`` is None where the configuration needs none."""

    id: str
    workspace_id: str
    problem_set_id: str
    config: InjectionConfig
    domain: Domain
    model: ModelSpec | None


def load_job(session: Session, lease: Lease) -> Job:
    """The job a leased shard belongs to."""
    row = session.get_one(InjectionJob, lease.owner_id)
    config = InjectionConfig.model_validate(row.config)
    domain = Domain(session.get_one(ProblemSet, row.problem_set_id).domain)
    model = load_spec(session, row.language_model_id) if config.needs_model else None
    return Job(row.id, row.workspace_id, row.problem_set_id, config, domain, model)


def load_problems(session: Session, problem_set_id: str, lease: Lease) -> Sequence[ProblemRow]:
    """The problems of a shard, in order."""
    if lease.positions is None:
        wanted = and_(ProblemRow.position >= lease.start, ProblemRow.position < lease.stop)
    else:
        wanted = ProblemRow.position.in_(lease.positions[lease.start : lease.stop])
    query = select(ProblemRow).where(ProblemRow.problem_set_id == problem_set_id, wanted)
    return session.scalars(query.order_by(ProblemRow.position)).all()


def load_solutions(session: Session, lease: Lease) -> Sequence[SolutionRow]:
    """The solutions of a shard, by problem and sample."""
    query = select(SolutionRow).where(SolutionRow.shard_id == lease.shard_id)
    return session.scalars(query.order_by(SolutionRow.problem_id, SolutionRow.sample_index)).all()


def load_edits(session: Session, lease: Lease) -> Sequence[EditRow]:
    """The edits of a shard that are still in the running, by solution and step."""
    query = select(EditRow).where(EditRow.shard_id == lease.shard_id, EditRow.reason.is_(None))
    return session.scalars(query.order_by(EditRow.solution_id, EditRow.step_index, EditRow.kind)).all()


def judge_all(context: StageContext, items: Sequence[JudgeItem]) -> list[Judgement]:
    """One judgement per item, in order. Raises Cancelled where the pool stopped early because it was told to."""
    judgements = context.judge.judge_many(items, context.cancelled)
    if len(judgements) < len(items):
        raise Cancelled
    return judgements


def verdict_columns(judgement: Judgement) -> dict[str, Any]:
    """A judgement as the columns a solution keeps of it."""
    return {
        "verdict": str(judgement.verdict),
        "extracted": judgement.extracted,
        "verifier": judgement.verifier,
        "verdict_seconds": judgement.seconds,
    }


def as_problem(row: ProblemRow) -> Problem:
    """The method's view of a problem row."""
    return Problem(row.question, row.gold_answer, row.gold_solution, row.subject, dict(row.meta))
