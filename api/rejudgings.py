"""``/v1/rejudgings``: an injection job's stored samples judged by today's verifier, as a difference."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import Conflict, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row, where_given
from api.jobs import JobResource
from api.schemas import JobOut, Request, RowAnswer, RowId
from errata.answers import VERIFIERS
from errata.types import Domain, Verdict
from models.base import new_id
from models.jobs import InjectionJob
from models.outputs import Rejudging, VerdictChangeRow
from models.states import TERMINAL
from models.workspaces import ProblemSet
from workers.dispatch import Hint, plan_rejudging

router = make_router("/v1/rejudgings", "rejudgings")


class RejudgingIn(Request):
    """The injection job whose stored samples are judged again."""

    injection_job: RowId


class RejudgingResult(BaseModel):
    """The difference: stored verdicts against those of today's verifier."""

    samples: int
    same: int
    changed: int = Field(description="Verdict or extracted answer differs; see /changes.")
    drawn: int = Field(description="Of the changed, those the job had drawn for its pairs.")
    verdicts: dict[str, int] = Field(description="Verdicts that moved, such as 'incorrect to correct'.")


class RejudgingOut(JobOut):
    """A rejudging; ``verifier`` is the one that judges now. The job's own verdicts and pairs stay as they are."""

    object: Literal["rejudging"] = "rejudging"
    injection_job: str = Field(validation_alias="injection_job_id")
    verifier: str
    result: RejudgingResult | None


class Judged(BaseModel):
    """One side of a change."""

    verdict: str
    extracted: str | None
    verifier: str | None


class VerdictChangeOut(RowAnswer):
    """A sample that is judged differently now; ``role`` is what the job had drawn it for, if it had."""

    object: Literal["verdict_change"] = "verdict_change"
    solution: str = Field(validation_alias="solution_id")
    problem: str = Field(validation_alias="problem_id")
    role: str | None
    before: Judged
    after: Judged


def new_rejudging(session: Session, workspace_id: str, body: RejudgingIn) -> tuple[Rejudging, list[Hint]]:
    """Add a rejudging in the caller's transaction. Raises Invalid naming the field, Conflict while the job goes on."""
    job = body_row(session, InjectionJob, body.injection_job, workspace_id, "injection_job")
    if job.state not in TERMINAL:
        raise Conflict(f"injection_job: the job is still {job.state}; judge its samples again when it has ended")
    if job.samples_deleted_at is not None:
        raise Conflict("injection_job: samples of the job were deleted for their age; judge those of a new job")
    problem_set = session.get_one(ProblemSet, job.problem_set_id)
    verifier = VERIFIERS[Domain(problem_set.domain)].tag
    row = Rejudging(id=new_id("rejudge"), workspace_id=workspace_id, injection_job_id=job.id, verifier=verifier)
    session.add(row)
    session.flush()
    return row, plan_rejudging(session, row, problem_set.problem_count)


JobResource(
    table=Rejudging,
    body=RejudgingIn,
    model=RejudgingOut,
    name="rejudging",
    create=new_rejudging,
    references={"injection_job": InjectionJob},
    texts={
        "create": "Judge every stored sample of an ended job again."
        " The job, its verdicts and its pairs stay as they are.",
        "list": "Rejudgings, newest first.",
        "get": "One rejudging with its difference in numbers.",
        "cancel": "Stop judging.",
    },
).register(router)


@router.get("/{rejudging_id}/changes", responses=documented(404))
def list_verdict_changes(
    caller: Reader,
    api: ApiDep,
    rejudging_id: str,
    page: PageDep,
    verdict: Annotated[Verdict | None, Query(description="The verdict of today.")] = None,
) -> Listing[VerdictChangeOut]:
    """The samples that are judged differently now."""
    with api.db.read() as session:
        row = path_row(session, Rejudging, rejudging_id, caller.workspace_id)
        filters = {VerdictChangeRow.rejudging_id: row.id, VerdictChangeRow.verdict_after: verdict}
        found = paginate(session, where_given(select(VerdictChangeRow), filters), (VerdictChangeRow.id,), page)
    return found.listing(lambda change: _change(change, row.verifier))


def _change(row: VerdictChangeRow, verifier: str) -> VerdictChangeOut:
    before = Judged(verdict=row.verdict_before, extracted=row.extracted_before, verifier=row.verifier_before)
    after = Judged(verdict=row.verdict_after, extracted=row.extracted_after, verifier=verifier)
    return VerdictChangeOut.of(row, before=before, after=after)
