"""``/v1/rejudgings``: an injection job's stored samples judged by today's verifier, as a difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http import events
from api.http.auth import Reader, Writer
from api.http.errors import Conflict, documented
from api.http.events import EVENT_RESPONSES, EventOut, LastEventId
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row
from api.progress import progress_of
from api.schemas.common import RowId
from api.schemas.judging import RejudgingIn, RejudgingOut, VerdictChangeOut
from errata.answers import VERIFIERS
from errata.types import Domain, Verdict
from models.base import new_id
from models.jobs import InjectionJob
from models.problems import ProblemSet
from models.rejudgings import Rejudging, VerdictChangeRow
from models.states import TERMINAL, JobState
from workers.dispatch import Hint, cancel, plan_rejudging, settle

router = make_router("/v1/rejudgings", "rejudgings")


@router.post("", status_code=202, responses=documented(409, 413, 415))
def create_rejudging(
    caller: Writer, api: ApiDep, who: IdempotencyDep, body: RejudgingIn, response: Response
) -> RejudgingOut:
    """Judge every stored sample of an ended job again. The job, its verdicts and its pairs stay as they are."""
    hints: list[Hint] = []

    with api.db.begin() as session:

        def make() -> str:
            job = body_row(session, InjectionJob, body.injection_job, caller.workspace_id, "injection_job")
            if job.state not in TERMINAL:
                raise Conflict(
                    f"injection_job: the job is still {job.state}; judge its samples again when it has ended"
                )
            problem_set = session.get_one(ProblemSet, job.problem_set_id)
            row = Rejudging(
                id=new_id("rejudge"),
                workspace_id=caller.workspace_id,
                injection_job_id=job.id,
                verifier=VERIFIERS[Domain(problem_set.domain)].tag,
            )
            session.add(row)
            session.flush()
            hints.extend(plan_rejudging(session, row, problem_set.problem_count))
            return row.id

        row_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = _many(session, [session.get_one(Rejudging, row_id, populate_existing=True)])[0]
    api.dispatcher.send(hints)
    accepted(response, f"/v1/rejudgings/{row_id}", replayed=not new)
    return answer


def _many(session: Session, rows: Sequence[Rejudging]) -> list[RejudgingOut]:
    progress = progress_of(session, Rejudging, rows)
    return [RejudgingOut.of(row, progress[row.id]) for row in rows]


@router.get("")
def list_rejudgings(
    caller: Reader,
    api: ApiDep,
    page: PageDep,
    state: Annotated[JobState | None, Query()] = None,
    injection_job: Annotated[RowId | None, Query()] = None,
) -> Listing[RejudgingOut]:
    """Rejudgings, newest first."""
    query = select(Rejudging).where(Rejudging.workspace_id == caller.workspace_id)
    if state is not None:
        query = query.where(Rejudging.state == state)
    with api.db.read() as session:
        if injection_job is not None:
            job = body_row(session, InjectionJob, injection_job, caller.workspace_id, "injection_job")
            query = query.where(Rejudging.injection_job_id == job.id)
        found = paginate(session, query, (Rejudging.created_at, Rejudging.id), page, descending=True)
        return Listing(data=_many(session, found.rows), has_more=bool(found.next), next=found.next)


@router.get("/{rejudging_id}", responses=documented(404))
def get_rejudging(caller: Reader, api: ApiDep, rejudging_id: str) -> RejudgingOut:
    """One rejudging with its difference in numbers."""
    with api.db.read() as session:
        return _many(session, [path_row(session, Rejudging, rejudging_id, caller.workspace_id)])[0]


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
        query = select(VerdictChangeRow).where(VerdictChangeRow.rejudging_id == row.id)
        if verdict is not None:
            query = query.where(VerdictChangeRow.verdict_after == verdict)
        found = paginate(session, query, (VerdictChangeRow.id,), page)
    data = [VerdictChangeOut.of(change, row.verifier) for change in found.rows]
    return Listing(data=data, has_more=bool(found.next), next=found.next)


@router.post("/{rejudging_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_rejudging(caller: Writer, api: ApiDep, rejudging_id: str, response: Response) -> RejudgingOut:
    """Stop judging."""
    with api.db.begin() as session:
        row = path_row(session, Rejudging, rejudging_id, caller.workspace_id)
        if not cancel(session, Rejudging, row.id):
            raise Conflict(f"the rejudging has already ended: {row.state}")
        settle(session, Rejudging, row.id)
        answer = _many(session, [session.get_one(Rejudging, rejudging_id, populate_existing=True)])[0]
    accepted(response, f"/v1/rejudgings/{rejudging_id}")
    return answer


@router.get("/{rejudging_id}/events", responses=EVENT_RESPONSES, response_model=Listing[EventOut])
def list_rejudging_events(
    request: Request, caller: Reader, api: ApiDep, rejudging_id: str, page: PageDep, last_event_id: LastEventId = None
) -> Any:
    """What happened to the rejudging: a list, or a stream."""
    return events.answer(request, api, Rejudging, rejudging_id, caller.workspace_id, page, last_event_id)
