"""``/v1/injection-jobs``: starting, watching and ending jobs, and reading what their stages wrote."""

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
from api.progress import progress_of, tokens_of
from api.registry import model_names
from api.schemas.common import RowId
from api.schemas.injection_jobs import (
    EditOut,
    FunnelOut,
    InjectionJobIn,
    InjectionJobOut,
    QuarantinedShard,
    SolutionOut,
)
from api.schemas.pairs import PairOut
from api.submit import new_injection_job
from errata.types import EvidenceKind, Verdict
from models.jobs import EditRow, InjectionJob, PairRow, Shard, SolutionRow
from models.problems import ProblemSet
from models.results import job_funnel
from models.states import TERMINAL, JobState, ShardState
from workers.dispatch import Hint, cancel, plan_injection, retry_quarantined, settle

router = make_router("/v1/injection-jobs", "injection jobs")
_LISTED_SHARDS = 20


@router.post("", status_code=202, responses=documented(409, 413, 415))
def create_injection_job(
    caller: Writer, api: ApiDep, who: IdempotencyDep, body: InjectionJobIn, response: Response
) -> InjectionJobOut:
    """Start a job. It is accepted once this answers, whatever happens to any process afterwards."""
    hints: list[Hint] = []

    with api.db.begin() as session:

        def make() -> str:
            job, problem_set = new_injection_job(session, caller.workspace_id, body)
            hints.extend(plan_injection(session, job, problem_set.problem_count))
            return job.id

        job_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = _one(session, session.get_one(InjectionJob, job_id, populate_existing=True))
    api.dispatcher.send(hints)
    accepted(response, f"/v1/injection-jobs/{job_id}", replayed=not new)
    return answer


def _one(session: Session, job: InjectionJob) -> InjectionJobOut:
    """A job with all that is told of a single one."""
    funnel = job_funnel(session, job)
    progress = progress_of(session, InjectionJob, [job])[job.id]
    progress.tokens = tokens_of(funnel)
    bad = select(Shard).where(Shard.injection_job_id == job.id, Shard.state == ShardState.QUARANTINED)
    shards = session.scalars(bad.order_by(Shard.position).limit(_LISTED_SHARDS))
    return InjectionJobOut.of(
        job,
        progress,
        model_names(session, [job.language_model_id]).get(job.language_model_id or ""),
        funnel=funnel.to_dict(),
        quarantined=[QuarantinedShard(position=s.position, stage=s.stage, error=s.error) for s in shards],
    )


def _many(session: Session, jobs: Sequence[InjectionJob]) -> list[InjectionJobOut]:
    progress = progress_of(session, InjectionJob, jobs)
    names = model_names(session, [job.language_model_id for job in jobs])
    return [InjectionJobOut.of(job, progress[job.id], names.get(job.language_model_id or "")) for job in jobs]


@router.get("")
def list_injection_jobs(
    caller: Reader,
    api: ApiDep,
    page: PageDep,
    state: Annotated[JobState | None, Query()] = None,
    problem_set: Annotated[RowId | None, Query()] = None,
) -> Listing[InjectionJobOut]:
    """Jobs with their progress, newest first."""
    query = select(InjectionJob).where(InjectionJob.workspace_id == caller.workspace_id)
    with api.db.read() as session:
        if state is not None:
            query = query.where(InjectionJob.state == state)
        if problem_set is not None:
            owner = body_row(session, ProblemSet, problem_set, caller.workspace_id, "problem_set")
            query = query.where(InjectionJob.problem_set_id == owner.id)
        found = paginate(session, query, (InjectionJob.created_at, InjectionJob.id), page, descending=True)
        return Listing(data=_many(session, found.rows), has_more=bool(found.next), next=found.next)


@router.get("/{job_id}", responses=documented(404))
def get_injection_job(caller: Reader, api: ApiDep, job_id: str) -> InjectionJobOut:
    """One job with progress, funnel and quarantined shards."""
    with api.db.read() as session:
        return _one(session, path_row(session, InjectionJob, job_id, caller.workspace_id))


@router.post("/{job_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_injection_job(caller: Writer, api: ApiDep, job_id: str, response: Response) -> InjectionJobOut:
    """Ask a job to stop. Running shards stop within seconds; what the job had stays."""
    with api.db.begin() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        if not cancel(session, InjectionJob, job.id):
            raise Conflict(f"the job has already ended: {job.state}")
        settle(session, InjectionJob, job.id)
        answer = _one(session, session.get_one(InjectionJob, job_id, populate_existing=True))
    accepted(response, f"/v1/injection-jobs/{job_id}")
    return answer


@router.post("/{job_id}/retry", status_code=202, responses=documented(404, 409))
def retry_injection_job(caller: Writer, api: ApiDep, job_id: str, response: Response) -> InjectionJobOut:
    """Try the quarantined shards of a running job again."""
    with api.db.begin() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        if job.state in TERMINAL or job.state == JobState.CANCELLING:
            raise Conflict(f"the job is {job.state}; post a new job for the problems that are missing")
        hints = retry_quarantined(session, job.id)
        if not hints:
            raise Conflict("the job has no quarantined shards")
        answer = _one(session, job)
    api.dispatcher.send(hints)
    accepted(response, f"/v1/injection-jobs/{job_id}")
    return answer


@router.get("/{job_id}/events", responses=EVENT_RESPONSES, response_model=Listing[EventOut])
def list_injection_job_events(
    request: Request, caller: Reader, api: ApiDep, job_id: str, page: PageDep, last_event_id: LastEventId = None
) -> Any:
    """What happened to the job: a list, or a stream."""
    return events.answer(request, api, InjectionJob, job_id, caller.workspace_id, page, last_event_id)


@router.get("/{job_id}/funnel", responses=documented(404))
def get_funnel(caller: Reader, api: ApiDep, job_id: str) -> FunnelOut:
    """The job's funnel; it adds up exactly once the job is complete."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        counts = job_funnel(session, job).to_dict()
        return FunnelOut(job=job.id, complete=job.state in TERMINAL, **counts)


@router.get("/{job_id}/solutions", responses=documented(404))
def list_solutions(
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    problem: Annotated[RowId | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
) -> Listing[SolutionOut]:
    """The job's samples with their verdicts."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        query = select(SolutionRow).where(SolutionRow.job_id == job.id)
        if problem is not None:
            query = query.where(SolutionRow.problem_id == problem)
        if verdict is not None:
            query = query.where(SolutionRow.verdict == verdict)
        found = paginate(session, query, (SolutionRow.created_at, SolutionRow.id), page)
    return Listing(data=[SolutionOut.of(row) for row in found.rows], has_more=bool(found.next), next=found.next)


@router.get("/{job_id}/edits", responses=documented(404))
def list_edits(
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    kind: Annotated[RowId | None, Query()] = None,
    evidence: Annotated[EvidenceKind | None, Query()] = None,
    reason: Annotated[RowId | None, Query(description="Why an edit made no pair.")] = None,
) -> Listing[EditOut]:
    """The job's edits, rejected ones with their reason."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        query = select(EditRow).where(EditRow.job_id == job.id)
        for column, value in ((EditRow.kind, kind), (EditRow.evidence_kind, evidence), (EditRow.reason, reason)):
            if value is not None:
                query = query.where(column == value)
        found = paginate(session, query, (EditRow.created_at, EditRow.id), page)
    return Listing(data=[EditOut.of(row) for row in found.rows], has_more=bool(found.next), next=found.next)


@router.get("/{job_id}/pairs", responses=documented(404))
def list_job_pairs(caller: Reader, api: ApiDep, job_id: str, page: PageDep) -> Listing[PairOut]:
    """The job's pairs; /v1/pairs has filters."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        query = select(PairRow).where(PairRow.job_id == job.id)
        found = paginate(session, query, (PairRow.created_at, PairRow.id), page)
    return Listing(data=[PairOut.of(row) for row in found.rows], has_more=bool(found.next), next=found.next)
