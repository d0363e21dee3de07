"""``/v1/injection-jobs``: accepting jobs, watching and ending them.

Accepting is the checks between a request and its rows, and the job's resolved configuration.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from api.http.routing import make_router
from api.http.rows import body_row
from api.injection_jobs.pricing import SpentOut, check_stop, prices_of, spent_of, stored_prices
from api.injection_jobs.prompting import check_examples, prompt_versions, settle_examples
from api.jobs import JobResource, resolved
from api.language_models import body_model
from api.progress import made_of, tokens_of
from api.schemas import JobOut, ModelName, Name, Request, RowAnswer, RowId, key_of
from errata.advice import advise
from errata.config import PRESETS, InjectionConfig, resolve
from errata.kinds import kinds_of
from errata.types import Domain
from models.base import new_id
from models.jobs import InjectionJob, Shard
from models.results import running_progress
from models.shares import PRIORITIES, Priority, named_priority
from models.states import TERMINAL, JobState, ShardState
from models.workspaces import BroughtSolution, LanguageModel, ProblemSet
from workers.dispatch import Hint, can_score, plan_injection

router = make_router("/v1/injection-jobs", "injection jobs")
_LISTED_SHARDS = 20


class InjectionJobIn(Request):
    """A job: a preset, and what differs from it."""

    problem_set: RowId
    language_model: ModelName | None = Field(None, description="A name from /v1/models, where the job uses one.")
    preset: str = Field("errata", max_length=50, description="See /v1/presets.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the preset, section by section (schema: InjectionConfig)."
    )
    name: Name | None = None
    priority: Priority = Field("normal", description="How urgent it is beside the workspace's other jobs.")


class QuarantinedShard(RowAnswer):
    """A shard that failed three times."""

    position: int
    stage: str
    error: str | None


class ExtensionOut(RowAnswer):
    """A job that adds to another one."""

    job: str = Field(validation_alias="id")
    extension: dict[str, Any] | None
    state: str
    created_at: datetime


class InjectionJobOut(JobOut):
    """An injection job. ``config`` is complete; ``funnel`` and ``quarantined`` are given for one job, not in lists."""

    object: Literal["injection_job"] = "injection_job"
    name: str | None
    problem_set: str = Field(validation_alias="problem_set_id")
    language_model: str | None
    preset: Annotated[str, key_of("preset", "errata")] = Field(validation_alias="config")
    config: dict[str, Any]
    prompt_versions: dict[str, Any]
    funnel: dict[str, Any] | None = None
    advice: str | None = Field(
        None, description="Of a job that succeeded with no pairs or few: why, and what to try. Told of one job."
    )
    quarantined: list[QuarantinedShard] | None = None
    tags: list[str] = Field(default_factory=list)
    paused_at: datetime | None = Field(None, description="Since when nothing of the job runs; null: it is not paused.")
    retry_of: str | None = Field(None, description="The ended job whose missing problems this one tries again.")
    samples_deleted_at: datetime | None = Field(
        None, description="When samples that were not correct, and edits without a pair, were deleted for their age."
    )
    stopped: str | None = Field(None, description="The limit of `config.stop` that was reached; null: none.")
    priority: Annotated[Priority, BeforeValidator(named_priority)] = "normal"
    spent: SpentOut | None = Field(None, description="Null where its models had no prices; told of one job.")
    extends: str | None = Field(None, description="The ended job that this one adds to.")
    extension: dict[str, Any] | None = Field(None, description="What it adds to that job.")
    extended_by: list[ExtensionOut] = Field(default_factory=list, description="What was added when; of one job.")


def new_injection_job(session: Session, workspace_id: str, body: InjectionJobIn) -> tuple[InjectionJob, list[Hint]]:
    """Add a job with its shards in the caller's transaction. Raises Invalid naming the field."""
    job, problem_set = add_injection_job(session, workspace_id, body)
    return job, plan_injection(session, job, problem_set.problem_count)


def add_injection_job(session: Session, workspace_id: str, body: InjectionJobIn) -> tuple[InjectionJob, ProblemSet]:
    """Add a job, without shards, in the caller's transaction. Raises Invalid naming the field."""
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    domain = Domain(problem_set.domain)
    config = resolved(body, PRESETS, lambda name, overrides: resolve(name, overrides, domain))
    _check_kinds(config, domain)
    check_brought(session, config, problem_set)
    check_examples(config, domain)
    editor = model = None
    if config.editing.editor_model is not None:
        editor = body_model(session, config.editing.editor_model, workspace_id, "config.editing.editor_model")
    if body.language_model is not None:
        model = body_model(session, body.language_model, workspace_id, "language_model")
    elif config.needs_model:
        raise Invalid.field(
            "language_model",
            "this configuration uses a language model, but none is named",
            "name one listed by GET /v1/models, or use preset 'rules' with sampling.source 'brought'",
        )
    _check_first(config)
    config = settle_examples(config, editor or model)
    prices = prices_of(config, model, editor)
    check_stop(session, config.stop, prices)
    _check_slips(config, domain, editor or model)
    _check_mined(config, domain)
    job = InjectionJob(
        id=new_id("inj"),
        workspace_id=workspace_id,
        problem_set_id=problem_set.id,
        language_model_id=model.id if model else None,
        name=body.name,
        config=config.model_dump(mode="json"),
        prompt_versions=prompt_versions(config, domain),
        prices=stored_prices(prices),
        priority=PRIORITIES[body.priority],
    )
    session.add(job)
    session.flush()
    return job, problem_set


def _check_kinds(config: InjectionConfig, domain: Domain) -> None:
    kinds = config.editing.kinds
    if kinds is None:
        return
    known = kinds_of(domain)
    unknown = sorted(set(kinds) - set(known))
    remedy = f"the kinds of domain '{domain}' are {', '.join(known)}"
    if unknown:
        raise Invalid.field("config.editing.kinds", f"domain '{domain}' has no kind '{unknown[0][:80]}'", remedy)
    if config.editing.editor != "model" and (own := next((k for k in kinds if known[k].version is not None), None)):
        told = f"kind '{own}' is the operator's own and has no rule: editor '{config.editing.editor}' cannot make it"
        raise Invalid.field("config.editing.kinds", told, "use the editor 'model', or leave the kind out")
    if not any(weight > 0 for weight in kinds.values()):
        raise Invalid.field("config.editing.kinds", "no kind has a weight above 0", remedy)


def _check_first(config: InjectionConfig) -> None:
    if config.sampling.first:
        remedy = "leave it out; POST /v1/injection-jobs/{job_id}/extend draws further samples of an ended job"
        raise Invalid.field("config.sampling.first", "it is set by an extension only", remedy)


def _check_mined(config: InjectionConfig, domain: Domain) -> None:
    """Mined errors are told from right steps by their calculations."""
    if config.editing.editor == "mined" and config.pairs.step and domain in (Domain.LOGIC, Domain.CODE):
        told = f"mined errors are proven by calculations and continuations, and domain '{domain}' has neither"
        raise Invalid.field("config.editing.editor", told, "use the editor 'model' or 'rules'")


def _check_slips(config: InjectionConfig, domain: Domain, model: LanguageModel | None) -> None:
    """Slips as the editor: where they are only a fallback, the job does without them and says so."""
    if config.editing.editor != "slip" or not config.pairs.step:
        return
    if domain in (Domain.LOGIC, Domain.CODE):
        told = f"slips are wrong numbers and signs of calculations, and domain '{domain}' has none"
        raise Invalid.field("config.editing.editor", told, "use the editor 'model' or 'rules'")
    if model is not None and can_score(model.engine, model.config) is False:
        told = f"the engine of '{model.name}' tells no log-probabilities of a given text, which slips are drawn from"
        remedy = (
            "name a model of engine transformers or vllm, or of a vLLM server with the setting 'tokenizer';"
            " or use the editor 'model'"
        )
        raise Invalid.field("config.editing.editor", told, remedy)


def check_brought(session: Session, config: InjectionConfig, problem_set: ProblemSet) -> None:
    """Raises Invalid where the job uses brought solutions and the set has none."""
    if config.sampling.source != "brought":
        return
    brought = exists(select(BroughtSolution.id).where(BroughtSolution.problem_set_id == problem_set.id))
    if not session.scalar(select(brought)):
        raise Invalid.field(
            "config.sampling.source",
            "no solutions were brought to this problem set",
            f"send them to POST /v1/problem-sets/{problem_set.id}/solutions, or sample from a language model",
        )


def _answer(session: Session, job: InjectionJob) -> InjectionJobOut:
    """A job with all that is told of a single one."""
    # The row holds a funnel only once the job has ended: until then it is counted anew.
    funnel, running = running_progress(session, job)
    answer = jobs.summaries(session, [job])[0]
    answer.progress.tokens, answer.progress.made = tokens_of(funnel, running), made_of(funnel, running)
    answer.funnel = funnel.to_dict()
    answer.spent = spent_of(job, funnel)
    answer.advice = advise(funnel.counts) if job.state == JobState.SUCCEEDED else None
    if job.state in TERMINAL:  # only such a job can be extended, and one that runs is asked for often
        added = select(InjectionJob).where(InjectionJob.extends == job.id).order_by(InjectionJob.created_at)
        answer.extended_by = [ExtensionOut.of(other) for other in session.scalars(added)]
    # Most jobs have none, and are not asked for them.
    answer.quarantined = _quarantined(session, job.id) if answer.progress.shards.quarantined else []
    return answer


def _quarantined(session: Session, job_id: str) -> list[QuarantinedShard]:
    bad = select(Shard).where(Shard.injection_job_id == job_id, Shard.state == ShardState.QUARANTINED)
    shards = session.scalars(bad.order_by(Shard.position).limit(_LISTED_SHARDS))
    return [QuarantinedShard.of(shard) for shard in shards]


jobs = JobResource(
    table=InjectionJob,
    body=InjectionJobIn,
    model=InjectionJobOut,
    name="injection_job",
    noun="job",
    create=new_injection_job,
    answer=_answer,
    listed={"funnel": None},
    references={"problem_set": ProblemSet},
    texts={
        "create": "Start a job. It is accepted once this answers, whatever happens to any process afterwards.",
        "list": "Jobs with their progress, newest first.",
        "get": "One job with progress, funnel and quarantined shards.",
        "cancel": "Ask a job to stop. Running shards stop within seconds; what the job had stays.",
    },
)
jobs.register(router)
