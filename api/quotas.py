"""Quotas of workspaces: what stops a request that would exceed one, what is used, and who sets them.

A quota that time or an ended job frees is answered 429 with ``Retry-After``, one that only deleting frees 409. Requests
of a workspace that has quotas wait for each other while they are checked, so that two at once cannot both take the last
place. A job that has begun is finished, whatever it generates.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.audit import concerns
from api.http.auth import Admin, Caller, Reader
from api.http.errors import Conflict, Forbidden, NotFound, TooManyRequests, documented
from api.http.routing import ApiDep, StrictRoute
from api.schemas import Request
from models.access import Quota
from models.base import db_now
from models.jobs import Estimate, InjectionJob
from models.outputs import Evaluation
from models.session import insert_ignore
from models.usage import Usage, next_day, open_jobs, stored_pairs, stored_problems, tokens_on, usage_of
from models.workspaces import DEFAULT_WORKSPACE, RESERVED_NAMES, Workspace

router = APIRouter(
    prefix="/v1", tags=["quotas"], route_class=StrictRoute, responses=documented(400, 401, 403, 422, 503)
)
_JOB_RETRY_SECONDS = 60
_MOST = 2**53 - 1  # whole numbers that every JSON reader keeps
_OWN_PROBLEMS = "delete problem sets that are not needed, or ask the operator for a higher quota"
_OWN_PAIRS = "delete injection jobs that are not needed, or ask the operator for a higher quota"

Count = Annotated[int, Field(ge=0, le=_MOST)]


class QuotaIn(Request):
    """A workspace's quotas; what is left out or null is not limited."""

    jobs: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(None, description="Jobs of every kind at once.")
    problems: Count | None = Field(None, description="Stored problems.")
    pairs: Count | None = Field(None, description="Stored pairs; jobs that begin below it are finished.")
    tokens_per_day: Count | None = Field(None, description="Generated tokens from midnight to midnight, UTC.")


class QuotaOut(QuotaIn):
    """The quotas of a workspace."""

    object: Literal["quota"] = "quota"
    workspace: str


class Measure(BaseModel):
    """How much is used, of how much. A limit that is null sets none."""

    used: int
    limit: int | None


class UsageOut(BaseModel):
    """What a workspace uses, beside its quotas."""

    object: Literal["usage"] = "usage"
    workspace: str
    jobs: Measure = Field(description="Jobs of every kind that have not ended.")
    problems: Measure = Field(description="Stored problems.")
    pairs: Measure = Field(description="Stored pairs.")
    tokens_today: Measure = Field(
        description="Generated tokens since midnight (UTC), counted when a stage or completion ends."
    )
    tokens_reset_at: datetime


def admit_job(session: Session, workspace_id: str, table: Any) -> None:
    """Check the quotas before a job of this kind is added. Raises TooManyRequests and Conflict, naming the quota."""
    quota = _locked(session, workspace_id, "jobs")
    if quota is None:
        return
    if quota.jobs is not None and (used := open_jobs(session, workspace_id)) >= quota.jobs:
        told = f"{used} of {quota.jobs} jobs are open; wait until one has ended, or cancel one"
        raise TooManyRequests(f"quota 'jobs': {told}", headers={"Retry-After": str(_JOB_RETRY_SECONDS)})
    if quota.tokens_per_day is not None and table in (InjectionJob, Estimate, Evaluation):
        _admit_tokens(session, workspace_id, quota.tokens_per_day)
    if (
        quota.pairs is not None
        and table is InjectionJob
        and (used := stored_pairs(session, workspace_id)) >= quota.pairs
    ):
        raise Conflict(f"quota 'pairs': {used} of {quota.pairs} are stored; {_OWN_PAIRS}")


def admit_completion(session: Session, workspace_id: str) -> None:
    """Check the quota of tokens before a completion is added. Raises TooManyRequests."""
    quota = session.get(Quota, workspace_id)
    if quota is not None and quota.tokens_per_day is not None:
        _admit_tokens(session, workspace_id, quota.tokens_per_day)


def admit_problems(session: Session, workspace_id: str, more: int) -> None:
    """Check the quota before ``more`` problems are stored. Raises Conflict."""
    quota = _locked(session, workspace_id, "problems")
    if quota is None or quota.problems is None:
        return
    used = stored_problems(session, workspace_id)
    if used + more > quota.problems:
        told = f"{used} of {quota.problems} are stored, and these are {more} more"
        raise Conflict(f"quota 'problems': {told}; {_OWN_PROBLEMS}")


def _admit_tokens(session: Session, workspace_id: str, limit: int) -> None:
    now = session.scalars(select(db_now())).one()
    used = tokens_on(session, workspace_id, now)
    if used >= limit:
        wait = max(1, round((next_day(now) - now).total_seconds()))
        told = f"{used} of {limit} were generated today; go on after midnight UTC, or ask the operator for more"
        raise TooManyRequests(f"quota 'tokens_per_day': {told}", headers={"Retry-After": str(wait)})


def _locked(session: Session, workspace_id: str, kind: str) -> Quota | None:
    """The quotas, if any, with a lock to the transaction's end: a long upload delays other uploads, but no job."""
    quota = session.get(Quota, workspace_id)
    if quota is not None and session.get_bind().dialect.name == "postgresql":
        key = func.hashtextextended(f"quota {kind} {workspace_id}", 0)
        session.execute(select(func.pg_advisory_xact_lock(key)))
    return quota


def set_quota(session: Session, workspace_id: str, values: QuotaIn) -> None:
    """Replace a workspace's quotas, in the caller's transaction."""
    insert_ignore(session, Quota, [{"workspace_id": workspace_id}])
    quota = session.get_one(Quota, workspace_id)
    for name, value in values.model_dump(include=set(QuotaIn.model_fields)).items():
        setattr(quota, name, value)


def read_usage(session: Session, workspace_id: str) -> UsageOut:
    """Use and limits of a workspace."""
    usage: Usage = usage_of(session, workspace_id)
    quota = session.get(Quota, workspace_id) or Quota()
    return UsageOut(
        workspace=session.get_one(Workspace, workspace_id).name,
        jobs=Measure(used=usage.jobs, limit=quota.jobs),
        problems=Measure(used=usage.problems, limit=quota.problems),
        pairs=Measure(used=usage.pairs, limit=quota.pairs),
        tokens_today=Measure(used=usage.tokens_today, limit=quota.tokens_per_day),
        tokens_reset_at=usage.resets_at,
    )


@router.get("/usage")
def get_usage(caller: Reader, api: ApiDep) -> UsageOut:
    """What the key's workspace uses, and its quotas."""
    with api.db.read() as session:
        return read_usage(session, caller.workspace_id)


Name = Annotated[str, Path(max_length=200, description="The workspace's name.")]


@router.get("/workspaces/{workspace}/quota", responses=documented(404))
def get_quota(caller: Admin, api: ApiDep, workspace: Name) -> QuotaOut:
    """The quotas of a workspace: of its own for every `admin`, of any for an `admin` of the workspace `default`."""
    with api.db.read() as session:
        row = _workspace(session, caller, workspace)
        quota = session.get(Quota, row.id) or Quota()
        return QuotaOut(workspace=row.name, **{name: getattr(quota, name) for name in QuotaIn.model_fields})


@router.put("/workspaces/{workspace}/quota", responses=documented(404, 408, 413, 415))
def put_quota(caller: Admin, api: ApiDep, workspace: Name, body: QuotaIn) -> QuotaOut:
    """Replace the quotas of a workspace. For an `admin` of the workspace `default`: it is the operator's."""
    with api.db.begin() as session:
        row = _workspace(session, caller, workspace)
        if caller.workspace_id != DEFAULT_WORKSPACE:
            raise Forbidden(
                "quotas are set by the operator: with a key of the workspace 'default', or the command line"
            )
        set_quota(session, row.id, body)
        concerns(row.id)
    return QuotaOut(workspace=row.name, **body.model_dump())


def _workspace(session: Session, caller: Caller, name: str) -> Workspace:
    """The workspace a path names; one that the caller may not see is not found."""
    found = None
    if name not in RESERVED_NAMES and name.isprintable():
        found = session.scalars(select(Workspace).where(Workspace.name == name)).one_or_none()
    if found is None or caller.workspace_id not in (found.id, DEFAULT_WORKSPACE):
        raise NotFound("there is no such workspace")
    return found
