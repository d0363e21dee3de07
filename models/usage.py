"""What a workspace uses: jobs at once, stored problems and pairs, tokens generated today. No pair is ever counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, literal, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.access import TokenUse
from models.base import db_now
from models.jobs import Estimate, InjectionJob, JobSummary
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.states import TERMINAL
from models.studies import Campaign, Study
from models.workspaces import ProblemSet

_JOBS: tuple[Any, ...] = (InjectionJob, Dataset, TrainingRun, Evaluation, Rejudging, Study, Campaign)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a workspace uses now; ``resets_at`` is when the day of ``tokens_today`` ends (UTC)."""

    jobs: int
    problems: int
    pairs: int
    tokens_today: int
    resets_at: datetime


def usage_of(session: Session, workspace_id: str) -> Usage:
    """The use of a workspace. Reads a row per job and per problem set, none per problem or pair."""
    now = session.scalars(select(db_now())).one()
    return Usage(
        open_jobs(session, workspace_id),
        stored_problems(session, workspace_id),
        stored_pairs(session, workspace_id),
        tokens_on(session, workspace_id, now),
        next_day(now),
    )


def open_jobs(session: Session, workspace_id: str) -> int:
    """Jobs of every kind that have not ended; a pilot counts for the workspace of its estimate."""
    ended = sorted(TERMINAL)
    counts = [
        session.scalar(select(func.count()).where(table.workspace_id == workspace_id, table.state.not_in(ended))) or 0
        for table in _JOBS
    ]
    pilots = (
        select(func.count())
        .select_from(Estimate)
        .join(InjectionJob, InjectionJob.id == Estimate.pilot_id)
        .where(Estimate.workspace_id == workspace_id, InjectionJob.state.not_in(ended))
    )
    return sum(counts) + (session.scalar(pilots) or 0)


def stored_problems(session: Session, workspace_id: str) -> int:
    """Problems of all sets of a workspace."""
    total = select(func.sum(ProblemSet.problem_count)).where(ProblemSet.workspace_id == workspace_id)
    return int(session.scalar(total) or 0)


def stored_pairs(session: Session, workspace_id: str) -> int:
    """Pairs of all injection jobs of a workspace, as their summaries say (models.summaries)."""
    total = func.sum(JobSummary.counts["pairs"]["total"].as_integer())
    query = select(total).join(InjectionJob, InjectionJob.id == JobSummary.job_id)
    return int(session.scalar(query.where(InjectionJob.workspace_id == workspace_id)) or 0)


def tokens_on(session: Session, workspace_id: str, now: datetime) -> int:
    """Tokens generated on the day (UTC) of ``now`` by stages that ended well."""
    query = select(func.sum(TokenUse.tokens)).where(TokenUse.workspace_id == workspace_id, TokenUse.day == _day(now))
    return int(session.scalar(query) or 0)


def next_day(now: datetime) -> datetime:
    """The next midnight, UTC."""
    return (now.astimezone(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def count_tokens(session: Session, workspace_id: str, subject_id: str, tokens: int) -> None:
    """Add generated tokens to today's use, in the caller's transaction; the row stays locked to its end."""
    _count(session, select(literal(workspace_id)), subject_id, tokens)


def count_job_tokens(session: Session, job_id: str, tokens: int) -> None:
    """Add tokens generated for an injection job to the use of its workspace; a pilot's to its estimate's."""
    owner = func.coalesce(Estimate.workspace_id, InjectionJob.workspace_id)
    query = select(owner).select_from(InjectionJob).outerjoin(Estimate, Estimate.pilot_id == InjectionJob.id)
    _count(session, query.where(InjectionJob.id == job_id), job_id, tokens)


def _count(session: Session, workspace: Select[Any], subject_id: str, tokens: int) -> None:
    """One statement. ``workspace`` gives the workspace, or no row; the day is the database's."""
    if tokens <= 0:
        return
    on_postgres = session.get_bind().dialect.name == "postgresql"
    make: Any = postgresql.insert if on_postgres else sqlite.insert
    utc = func.timezone("UTC", db_now()) if on_postgres else db_now()
    day = func.to_char(utc, "YYYY-MM-DD") if on_postgres else func.date(utc)
    row = workspace.where(true()).add_columns(day, literal(subject_id), literal(tokens))  # SQLite needs some WHERE
    keys = [TokenUse.workspace_id, TokenUse.day, TokenUse.subject_id]
    statement = make(TokenUse).from_select([*keys, TokenUse.tokens], row)
    added = {"tokens": TokenUse.tokens + statement.excluded.tokens}
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
