"""``/v1/injection-jobs:estimate`` and ``/v1/estimates``: what a job would make and cost, from a pilot."""

from __future__ import annotations

from fastapi import Response
from sqlalchemy import select

from api.estimates import estimate_out
from api.http.auth import Reader, Writer
from api.http.errors import Conflict, Invalid, documented
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, paginate, path_row
from api.schemas.estimates import EstimateIn, EstimateOut
from api.submit import new_injection_job
from models.base import new_id
from models.estimates import Estimate, pilot_workspace
from models.jobs import InjectionJob
from workers.dispatch import Hint, cancel, plan_pilot, settle

router = make_router("/v1", "estimates")


@router.post("/injection-jobs:estimate", status_code=202, responses=documented(409, 413, 415))
def estimate_injection_job(
    caller: Writer, api: ApiDep, who: IdempotencyDep, body: EstimateIn, response: Response
) -> EstimateOut:
    """Run a pilot over a few problems and forecast pairs, tokens and time of the whole job. Starts no job."""
    hints: list[Hint] = []

    with api.db.begin() as session:

        def make() -> str:
            pilot, problem_set = new_injection_job(session, caller.workspace_id, body)
            if problem_set.problem_count == 0:
                raise Invalid.field("problem_set", "the set has no problems", "post one that has some")
            pilot.workspace_id = pilot_workspace(session)
            session.flush()
            hints.extend(plan_pilot(session, pilot, problem_set.problem_count, body.pilot_problems))
            row = Estimate(id=new_id("est"), workspace_id=caller.workspace_id, pilot_id=pilot.id)
            row.problems = problem_set.problem_count
            session.add(row)
            session.flush()
            return row.id

        row_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = estimate_out(session, session.get_one(Estimate, row_id))
    api.dispatcher.send(hints)
    accepted(response, f"/v1/estimates/{row_id}", replayed=not new)
    return answer


@router.get("/estimates")
def list_estimates(caller: Reader, api: ApiDep, page: PageDep) -> Listing[EstimateOut]:
    """Estimates, newest first."""
    query = select(Estimate).where(Estimate.workspace_id == caller.workspace_id)
    with api.db.read() as session:
        found = paginate(session, query, (Estimate.created_at, Estimate.id), page, descending=True)
        rows = [estimate_out(session, row) for row in found.rows]
    return Listing(data=rows, has_more=bool(found.next), next=found.next)


@router.get("/estimates/{estimate_id}", responses=documented(404))
def get_estimate(caller: Reader, api: ApiDep, estimate_id: str) -> EstimateOut:
    """One estimate, with its forecast once the pilot has succeeded."""
    with api.db.read() as session:
        return estimate_out(session, path_row(session, Estimate, estimate_id, caller.workspace_id))


@router.post("/estimates/{estimate_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_estimate(caller: Writer, api: ApiDep, estimate_id: str, response: Response) -> EstimateOut:
    """Stop the pilot."""
    with api.db.begin() as session:
        row = path_row(session, Estimate, estimate_id, caller.workspace_id)
        if not cancel(session, InjectionJob, row.pilot_id):
            raise Conflict("the estimate has already ended")
        settle(session, InjectionJob, row.pilot_id)
        answer = estimate_out(session, row)
    accepted(response, f"/v1/estimates/{estimate_id}")
    return answer
