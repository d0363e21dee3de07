"""Injection jobs that belong together: one, its extensions and retries, theirs, and so on."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from models.jobs import InjectionJob, ProblemError, Shard
from models.states import ShardState
from models.workspaces import ProblemRow

MOST = 10_000  # jobs of one family: a bound of the walk, which no workspace reaches


def family(session: Session, job_id: str) -> list[str]:
    """Ids of all injection jobs that belong with this one, itself among them, the earliest first."""
    found: list[str] = []
    waiting = {job_id}
    while waiting and len(found) < MOST:
        found += sorted(waiting)
        up = select(InjectionJob.extends, InjectionJob.retry_of).where(InjectionJob.id.in_(waiting))
        near = {id_ for row in session.execute(up) for id_ in row if id_ is not None}
        of_these = or_(InjectionJob.extends.in_(waiting), InjectionJob.retry_of.in_(waiting))
        near |= set(session.scalars(select(InjectionJob.id).where(of_these)))
        waiting = near - set(found)
    query = select(InjectionJob.id).where(InjectionJob.id.in_(found))
    return list(session.scalars(query.order_by(InjectionJob.created_at, InjectionJob.id)))


def positions_of(session: Session, problem_set_id: str, *where: ColumnElement[bool]) -> set[int]:
    """Positions in a problem set of the problems of shards that ``where`` names."""
    query = select(Shard).join(InjectionJob, Shard.injection_job_id == InjectionJob.id)
    found: set[int] = set()
    for shard in session.scalars(query.where(InjectionJob.problem_set_id == problem_set_id, *where)):
        found |= set((shard.positions or range(shard.stop))[shard.start : shard.stop])
    return found


def finished_positions(session: Session, job: InjectionJob) -> list[int]:
    """Positions of the problems that a job has finished, in order: of done shards, without those in error."""
    done = and_(Shard.injection_job_id == job.id, Shard.state == ShardState.DONE)
    errors = select(ProblemError.problem_id).join(Shard, ProblemError.shard_id == Shard.id).where(done)
    failed = set(session.scalars(select(ProblemRow.position).where(ProblemRow.id.in_(errors))))
    return sorted(positions_of(session, job.problem_set_id, done) - failed)


def untouched_positions(session: Session, problem_set_id: str, jobs: Collection[str]) -> list[int]:
    """Positions of the problems of a set that none of these jobs took up or has planned, in order."""
    begun = positions_of(session, problem_set_id, Shard.injection_job_id.in_(jobs), Shard.skipped.is_(None))
    every = session.scalars(select(ProblemRow.position).where(ProblemRow.problem_set_id == problem_set_id))
    return sorted(set(every) - begun)


def new_positions(session: Session, problem_set_id: str, jobs: Collection[str]) -> list[int]:
    """Positions of the problems of another set whose question is in no problem set of these jobs, in order."""
    sets = select(InjectionJob.problem_set_id).where(InjectionJob.id.in_(jobs))
    known = select(ProblemRow.question).where(ProblemRow.problem_set_id.in_(sets))
    query = select(ProblemRow.position).where(ProblemRow.problem_set_id == problem_set_id)
    return list(session.scalars(query.where(ProblemRow.question.not_in(known)).order_by(ProblemRow.position)))
