"""What of an injection job went wrong, trying again what is missing, and pausing."""

from __future__ import annotations

from typing import Literal

from fastapi import Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Reader, Writer
from api.http.errors import Conflict, documented
from api.http.routing import ApiDep, accepted, make_router
from api.http.rows import Listing, PageDep, lock_row, paginate, path_row
from api.injection_jobs.jobs import InjectionJobOut, jobs
from api.quotas import admit_job
from api.schemas import RowAnswer
from models.jobs import InjectionJob, ProblemError, Shard
from models.states import TERMINAL, JobState
from models.workspaces import ProblemRow
from workers.dispatch import Hint, missing_positions, pause, plan_retry, resume, retry_quarantined

router = make_router("/v1/injection-jobs", "injection jobs")


class FailedProblemOut(RowAnswer):
    """A problem that a stage set aside because the program raised an error for it; its shard went on without it."""

    object: Literal["failed_problem"] = "failed_problem"
    job: str
    problem: str = Field(validation_alias="id")
    position: int
    external_id: str | None
    stage: str = Field(description="Where it was set aside.")
    type: str = Field(description="Of the error.")
    message: str
    trace: str = Field(description="Where in the program: its last 8,000 characters.")


@router.get("/{job_id}/failed-problems", responses=documented(404))
def list_failed_problems(caller: Reader, api: ApiDep, job_id: str, page: PageDep) -> Listing[FailedProblemOut]:
    """The problems of a job that raised errors, in posting order, each with its error. A retry tries them again."""
    of_job = Shard.injection_job_id == job_id
    with api.db.read() as session:
        path_row(session, InjectionJob, job_id, caller.workspace_id)
        errors = select(ProblemError).join(Shard, ProblemError.shard_id == Shard.id).where(of_job)
        failed = errors.with_only_columns(ProblemError.problem_id)
        query = select(ProblemRow).where(ProblemRow.id.in_(failed))
        found = paginate(session, query, (ProblemRow.position,), page)
        mine = errors.where(ProblemError.problem_id.in_([problem.id for problem in found.rows]))
        told = {error.problem_id: error for error in session.scalars(mine)}
    names = ("stage", "type", "message", "trace")
    return found.listing(
        lambda problem: FailedProblemOut.of(
            problem, job=job_id, **{name: getattr(told[problem.id], name) for name in names}
        )
    )


@router.post("/{job_id}/retry", status_code=202, responses=documented(404, 409, 429))
def retry_injection_job(caller: Writer, api: ApiDep, job_id: str, response: Response) -> InjectionJobOut:
    """Try again what failed. A running job takes its quarantined shards up again, and the answer is that job.

    An ended job stays as it is. A new job with its configuration is made for the problems it lacks: those of shards
    that failed or were cancelled, and those that raised errors. The answer is that job; `retry_of` names the old one.
    """
    with api.db.begin() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        again, hints = retry_job(session, job)
        session.flush()
        answer = jobs.one(session, again.id)
    api.dispatcher.send(hints)
    accepted(response, f"{jobs.kind.url}/{answer.id}")
    return answer


def retry_job(session: Session, job: InjectionJob) -> tuple[InjectionJob, list[Hint]]:
    """The job that goes on, a new one where this one has ended, and hints. Raises Conflict where there is none."""
    lock_row(session, job)  # of two retries at once the second sees what the first made
    if job.state == JobState.CANCELLING:
        raise Conflict("the job is being cancelled; retry it once it has ended")
    if job.state not in TERMINAL:
        hints = retry_quarantined(session, job.id)
        if not hints:
            raise Conflict(
                "the job has no quarantined shards; problems that raised errors are retried once it has ended"
            )
        return job, hints
    later = session.scalars(select(InjectionJob.id).where(InjectionJob.retry_of == job.id)).first()
    if later is not None:
        raise Conflict(f"job {later} retries this one already; retry that one, once it has ended")
    positions = missing_positions(session, job)
    if not positions:
        raise Conflict("the job lacks no problem: there is nothing to retry")
    admit_job(session, job.workspace_id, InjectionJob)
    return plan_retry(session, job, positions)


@router.post("/{job_id}/pause", status_code=202, responses=documented(404, 409))
def pause_injection_job(caller: Writer, api: ApiDep, job_id: str, response: Response) -> InjectionJobOut:
    """Let nothing of a job run until it is resumed. Running shards stop within seconds; what stages stored stays."""
    return jobs.change(api, caller, job_id, response, pause_job)


@router.post("/{job_id}/resume", status_code=202, responses=documented(404, 409))
def resume_injection_job(caller: Writer, api: ApiDep, job_id: str, response: Response) -> InjectionJobOut:
    """Let a paused job go on where it stopped."""
    return jobs.change(api, caller, job_id, response, resume_job)


def pause_job(session: Session, job: InjectionJob) -> list[Hint]:
    """Pause a job in the caller's transaction. Raises Conflict where its state does not allow it."""
    if not pause(session, job):
        raise Conflict(f"the job cannot be paused: it is {job.state}")
    return []


def resume_job(session: Session, job: InjectionJob) -> list[Hint]:
    """Let a paused job go on, in the caller's transaction. Raises Conflict where it is not paused."""
    hints = resume(session, job)
    if hints is None:
        going = job.state in (JobState.QUEUED, JobState.RUNNING)
        raise Conflict("the job is not paused" if going else f"the job cannot go on: it is {job.state}")
    return hints
