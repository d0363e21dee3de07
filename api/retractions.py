"""``/v1/retractions``: problems and injection jobs whose pairs turned out to be bad.

A retraction changes nothing that is frozen or trained already: it tells what it reached, marks those datasets, and
keeps the pairs out of every later freeze, whose manifest and card say so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api.http.auth import Caller, Reader, Writer
from api.http.errors import NotFound, documented
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing, PageDep, lock_row, paginate, path_row
from api.lineage import HoldingDataset, holding
from api.pairs import named_problems
from api.reviews import Reason, key_name
from api.schemas import Name, ProblemName, Request, RowAnswer
from models.base import new_id
from models.curation import Retraction, jobs_with_problem
from models.events import record
from models.jobs import InjectionJob
from models.session import insert_ignore
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1", "retractions")


class RetractionIn(Request):
    """Why something is retracted."""

    reason: Reason
    reviewer: Name | None = Field(None, description="Who decided; by default the name of the API key.")


class ProblemRetractionIn(RetractionIn):
    """Which problem of a set is retracted, and why."""

    problem: ProblemName = Field(description="Its id, or your own id of it.")


class RetractionOut(RowAnswer):
    """A retracted problem or injection job. ``reached`` is told of one retraction, not in lists."""

    object: Literal["retraction"] = "retraction"
    id: str
    job: str | None = Field(validation_alias="job_id")
    problem: str | None = Field(validation_alias="problem_id")
    external_id: str | None = None
    reason: str
    reviewer: str | None
    created_at: datetime
    reached: list[HoldingDataset] | None = Field(None, description="Datasets that hold such pairs, with their models.")


def _answer(api: Api, session: Session, row: Retraction) -> RetractionOut:
    if row.job_id:
        return RetractionOut.of(row, reached=holding(api, session, [row.job_id], "job_id", [row.job_id]))
    problem = session.get_one(ProblemRow, row.problem_id)
    jobs = jobs_with_problem(session, problem.id)
    reached = holding(api, session, jobs, "problem_id", [problem.id])
    return RetractionOut.of(row, external_id=problem.external_id, reached=reached)


def _add(session: Session, caller: Caller, body: RetractionIn, **subject: Any) -> str:
    """Add a retraction unless there is one of this subject, whose first reason stays. Answers its id."""
    reviewer = body.reviewer or key_name(session, caller)
    about = {"reason": body.reason, "reviewer": reviewer, "key_id": caller.key_id, "workspace_id": caller.workspace_id}
    if insert_ignore(session, Retraction, [{"id": new_id("retract"), **about, **subject}]):
        record(session, caller.workspace_id, next(iter(subject.values())), "retracted", reason=body.reason)
    return session.scalars(select(Retraction.id).filter_by(**subject)).first() or ""


def _told(api: Api, retraction_id: str) -> RetractionOut:
    # In a session that only reads: what it reached is read from files, which takes its time.
    with api.db.read() as session:
        row = session.get(Retraction, retraction_id)
        if row is None:
            raise NotFound("the retraction was taken back at the same moment; retract it again if that was not meant")
        return _answer(api, session, row)


@router.post("/injection-jobs/{job_id}/retract", responses=documented(404, 413, 415))
def retract_job(caller: Writer, api: ApiDep, job_id: str, body: RetractionIn) -> RetractionOut:
    """Retract a job: no later freeze takes its pairs. Lists every dataset and model it reached. Again: the same one."""
    with api.db.begin() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        retraction_id = _add(session, caller, body, job_id=job.id)
    return _told(api, retraction_id)


@router.post("/problem-sets/{problem_set_id}/retract", responses=documented(404, 413, 415))
def retract_problem(caller: Writer, api: ApiDep, problem_set_id: str, body: ProblemRetractionIn) -> RetractionOut:
    """Retract a problem of a set: no later freeze takes its pairs. Lists every dataset and model it reached."""
    with api.db.begin() as session:
        problem_set = path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
        found = named_problems(session, caller.workspace_id, body.problem, problem_set.id)
        retraction_id = _add(session, caller, body, problem_id=found[0])
    return _told(api, retraction_id)


@router.get("/retractions")
def list_retractions(caller: Reader, api: ApiDep, page: PageDep) -> Listing[RetractionOut]:
    """Retractions, newest first."""
    query = select(Retraction).where(Retraction.workspace_id == caller.workspace_id)
    with api.db.read() as session:
        found = paginate(session, query, (Retraction.created_at, Retraction.id), page, descending=True)
    return found.listing(RetractionOut.of)


@router.get("/retractions/{retraction_id}", responses=documented(404))
def get_retraction(caller: Reader, api: ApiDep, retraction_id: str) -> RetractionOut:
    """One retraction with every dataset and model it has reached by now."""
    with api.db.read() as session:
        return _answer(api, session, path_row(session, Retraction, retraction_id, caller.workspace_id))


@router.delete("/retractions/{retraction_id}", responses=documented(404))
def withdraw_retraction(caller: Writer, api: ApiDep, retraction_id: str) -> RetractionOut:
    """Take a retraction back: later freezes take the pairs again."""
    with api.db.begin() as session:
        row = path_row(session, Retraction, retraction_id, caller.workspace_id)
        lock_row(session, row)  # of two at once the second finds it gone
        answer = RetractionOut.of(row)
        session.execute(delete(Retraction).where(Retraction.id == row.id))
        subject = row.job_id or str(row.problem_id)
        record(session, caller.workspace_id, subject, "retraction_withdrawn", reason=row.reason)
        return answer
