"""Adding to an ended injection job, in a new one that goes on behind it, and changing where a running one stops."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Writer
from api.http.errors import Conflict, Invalid, documented
from api.http.routing import ApiDep, accepted, make_router
from api.http.rows import body_row, lock_row, path_row
from api.injection_jobs.jobs import InjectionJobOut, check_brought, jobs
from api.injection_jobs.pricing import check_stop
from api.injection_jobs.prompting import prompt_versions
from api.quotas import admit_job
from api.schemas import Name, Request, RowId
from errata.config import InjectionConfig
from errata.prices import read_prices
from errata.stopping import StopConfig
from errata.types import Domain
from models.base import new_id
from models.deletion import parents_hidden
from models.events import record
from models.extensions import family, finished_positions, new_positions, untouched_positions
from models.jobs import InjectionJob
from models.states import TERMINAL, JobState
from models.workspaces import ProblemSet
from workers.dispatch import Hint, plan_positions

router = make_router("/v1/injection-jobs", "injection jobs")
_KINDS = ("problems", "problem_set", "samples", "edits_per_solution")


class ExtensionIn(Request):
    """What is added to an ended job. Give exactly one of the first four fields."""

    problems: Literal["rest"] | None = Field(
        None, description="`rest`: the problems of its set that it and its extensions never began."
    )
    problem_set: RowId | None = Field(
        None, description="The problems of another set of the same domain, without questions that it had."
    )
    samples: int | None = Field(
        None, ge=2, le=4096, description="Samples per problem in all: those behind the job's own are drawn now."
    )
    edits_per_solution: int | None = Field(
        None, ge=1, le=64, description="Edited steps per solution in all, of the solutions that the job drew."
    )
    stop: StopConfig | None = Field(None, description="Limits of the extension alone; needed where the job had some.")
    name: Name | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ExtensionIn:
        if len(self.spec) != 1:
            raise ValueError(f"give exactly one of {', '.join(_KINDS)}; for a further one extend the job again")
        return self

    @property
    def spec(self) -> dict[str, Any]:
        """What is added, as the new job keeps it."""
        return {name: value for name in _KINDS if (value := getattr(self, name)) is not None}


@router.post("/{job_id}/extend", status_code=202, responses=documented(404, 408, 409, 413, 415))
def extend_injection_job(
    caller: Writer, api: ApiDep, job_id: str, body: ExtensionIn, response: Response
) -> InjectionJobOut:
    """Add to an ended job without doing anything again: further problems, further samples, or further edits.

    The ended job stays as it is. The answer is a new job with its configuration, which does only what is new; `extends`
    names the old one. Freeze both for a dataset of all pairs. The same extension again answers the same new job.
    """
    with api.db.begin() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        added, hints = extend_job(session, job, body)
        session.flush()
        answer = jobs.one(session, added.id)
    api.dispatcher.send(hints)
    accepted(response, f"{jobs.kind.url}/{answer.id}", replayed=not hints)
    return answer


@router.put("/{job_id}/stop", status_code=202, responses=documented(404, 408, 409, 413, 415))
def set_injection_job_stop(
    caller: Writer, api: ApiDep, job_id: str, body: StopConfig, response: Response
) -> InjectionJobOut:
    """Set the limits at which a job stops, in place of those it has. Refused once it has reached one, or has ended."""
    return jobs.change(api, caller, job_id, response, lambda session, job: set_stop(session, job, body))


def set_stop(session: Session, job: InjectionJob, stop: StopConfig) -> list[Hint]:
    """Give a job in work other limits, in the caller's transaction. Raises Conflict where it is too late."""
    lock_row(session, job)
    if job.state in TERMINAL or job.state == JobState.CANCELLING or job.stopped is not None:
        why = f"it reached its limit '{job.stopped}'" if job.stopped else f"it is {job.state}"
        raise Conflict(f"the limits cannot be changed: {why}; extend the job with `problems: rest` once it has ended")
    check_stop(session, stop, read_prices(job.prices), "")
    job.config = {**job.config, "stop": stop.model_dump(mode="json")}
    record(session, job.workspace_id, job.id, "limits_changed", **stop.told)
    # Whoever waited for the old limits starts with the next hint; the sweeper stops a job that is past the new ones.
    return []


def extend_job(session: Session, job: InjectionJob, body: ExtensionIn) -> tuple[InjectionJob, list[Hint]]:
    """The job that adds to an ended one, and its hints: none where it is there already. Raises Conflict and Invalid."""
    lock_row(session, job)  # of two at once the second sees what the first made
    if job.state not in TERMINAL:
        raise Conflict(f"the job is {job.state}; extend it once it has ended")
    same = select(InjectionJob).where(InjectionJob.extends == job.id, InjectionJob.retry_of.is_(None))
    for earlier in session.scalars(same.order_by(InjectionJob.created_at)):
        if earlier.extension == body.spec:
            if body.problems and earlier.state in TERMINAL:
                raise Conflict(f"job {earlier.id} extends this one so already, and has ended; extend that one")
            return earlier, []
    if body.stop is None and StopConfig.model_validate(job.config.get("stop") or {}).told:
        told = "the job has limits, and it is open which ones its extension has"
        raise Invalid.field("stop", told, "give its limits, which count its own pairs and tokens; or {} for none")
    check_stop(session, body.stop or StopConfig(), read_prices(job.prices), "stop.")
    _check_samples(session, job, body)
    problem_set = _problem_set(session, job, body)
    domain = Domain(problem_set.domain)
    config = _config(job, body)
    positions = _positions(session, job, problem_set, config, body)
    if prompt_versions(config, domain) != job.prompt_versions:
        raise Conflict("the prompts have changed since the job was accepted; start a new job instead")
    admit_job(session, job.workspace_id, InjectionJob)
    added = InjectionJob(
        id=new_id("inj"),
        workspace_id=job.workspace_id,
        problem_set_id=problem_set.id,
        language_model_id=job.language_model_id,
        name=body.name or job.name,
        config=config.model_dump(mode="json"),
        prompt_versions=job.prompt_versions,
        extends=job.id,
        extension=body.spec,
        prices=job.prices,
        priority=job.priority,
    )
    session.add(added)
    session.flush()
    if parents_hidden(session, added):
        raise Conflict("its problem set or its language model has just been deleted")
    record(session, job.workspace_id, job.id, "extended", by=added.id, **body.spec)
    return added, plan_positions(session, added, positions)


def _check_samples(session: Session, job: InjectionJob, body: ExtensionIn) -> None:
    """Raises Conflict where what was sampled and edited before must be known, and was deleted for its age."""
    if body.samples is None and body.edits_per_solution is None:
        return
    old = (InjectionJob.id.in_(family(session, job.id)), InjectionJob.samples_deleted_at.is_not(None))
    if (deleted := session.scalars(select(InjectionJob.id).where(*old)).first()) is not None:
        told = f"samples and edits of job {deleted} were deleted for their age, so what is new cannot be told"
        raise Conflict(f"{told}; extend it by problems, or start a new job")


def _problem_set(session: Session, job: InjectionJob, body: ExtensionIn) -> ProblemSet:
    own = session.get_one(ProblemSet, job.problem_set_id)
    if body.problem_set is None:
        return own
    found = body_row(session, ProblemSet, body.problem_set, job.workspace_id, "problem_set")
    if found.id == own.id:
        raise Invalid.field("problem_set", "it is the job's own set", 'give `problems: "rest"` for what is left of it')
    if found.domain != own.domain:
        told = f"its domain is '{found.domain}', and the job's '{own.domain}'"
        raise Invalid.field("problem_set", told, "start a new job over it")
    return found


def _config(job: InjectionJob, body: ExtensionIn) -> InjectionConfig:
    """The configuration of the extension: the job's, but for what is added. Raises Invalid."""
    config = InjectionConfig.model_validate(job.config)
    update: dict[str, Any] = {"stop": body.stop or StopConfig()}
    if body.samples is not None:
        update["sampling"] = _sampling(config, body.samples)
    elif body.edits_per_solution is not None:
        _check_edits(job, config, body.edits_per_solution)
        update["editing"] = config.editing.model_copy(update={"edits_per_solution": body.edits_per_solution})
        update["pairs"] = config.pairs.model_copy(update={"full": False})  # the job has made them
    return InjectionConfig.model_validate(config.model_copy(update=update).model_dump())


def _sampling(config: InjectionConfig, wanted: int) -> Any:
    sampling = config.sampling
    if sampling.source != "model":
        remedy = "bring them to the problem set and start a new job"
        raise Invalid.field("samples", "the job's solutions were brought along, not sampled", remedy)
    if sampling.temperature == 0:
        remedy = "start a new job with sampling.temperature above 0"
        raise Invalid.field("samples", "the job samples greedily: every sample would be the same", remedy)
    had = sampling.first + sampling.samples
    if not had < wanted <= had + 64:
        remedy = f"give {had + 1} to {had + 64}; go further with an extension of the extension"
        raise Invalid.field("samples", f"the job has {had} samples per problem", remedy)
    return sampling.model_copy(update={"first": had, "samples": wanted - had})


def _check_edits(job: InjectionJob, config: InjectionConfig, wanted: int) -> None:
    if not config.pairs.step:
        raise Invalid.field("edits_per_solution", "the job makes no step pairs", "start a new job with pairs.step")
    had = config.editing.edits_per_solution
    if job.stopped is None and (had is None or had >= wanted):
        what = "every step" if had is None else f"{had} steps per solution"
        remedy = "add samples or problems" if had is None else f"give more than {had}"
        raise Invalid.field("edits_per_solution", f"the job edited {what} already", remedy)


def _positions(
    session: Session, job: InjectionJob, problem_set: ProblemSet, config: InjectionConfig, body: ExtensionIn
) -> list[int]:
    """The problems of the extension. Raises Conflict where there are none."""
    if body.problem_set is not None:
        check_brought(session, config, problem_set)
        found = new_positions(session, problem_set.id, family(session, job.id))
        none = "every question of that set is in a problem set of this job or its extensions"
    elif body.problems is not None:
        found = untouched_positions(session, problem_set.id, family(session, job.id))
        none = "no problem of its set is left; what failed or was cancelled is tried again by /retry"
    else:
        found = finished_positions(session, job)
        none = "it has finished no problem"
    if not found:
        raise Conflict(f"the job cannot be extended so: {none}")
    return found
