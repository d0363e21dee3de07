"""Accepting injection jobs: the checks between a request and its rows, and the job's resolved configuration."""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid, invalid
from api.http.rows import body_row
from api.registry import body_model
from api.schemas.injection_jobs import InjectionJobIn
from errata.config import InjectionConfig
from errata.kinds.instructions import INSTRUCTIONS
from errata.presets import PRESETS, resolve
from errata.prompts import EDIT_VERSIONS, SOLVE_VERSION
from errata.types import Domain
from models.base import new_id
from models.jobs import InjectionJob
from models.problems import BroughtSolution, ProblemSet


def resolve_config(body: InjectionJobIn, domain: Domain) -> InjectionConfig:
    """The complete configuration a request asks for of problems of ``domain``. Raises Invalid naming the field."""
    if body.preset not in PRESETS:
        raise Invalid.field("preset", "there is no preset of this name", f"give one of {', '.join(PRESETS)}")
    if "preset" in body.config:
        raise Invalid.field("config.preset", "the preset is not part of its overrides", "give it as `preset`")
    try:
        return resolve(body.preset, body.config, domain)
    except ValidationError as error:
        raise invalid(error.errors(), prefix=["config"]) from None


def new_injection_job(session: Session, workspace_id: str, body: InjectionJobIn) -> tuple[InjectionJob, ProblemSet]:
    """Add a job in the caller's transaction. Raises Invalid naming the field."""
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    config = resolve_config(body, Domain(problem_set.domain))
    _check_kinds(config, Domain(problem_set.domain))
    _check_brought(session, config, problem_set)
    model = None
    if body.language_model is not None:
        model = body_model(session, body.language_model, workspace_id, "language_model")
    elif config.needs_model:
        raise Invalid.field(
            "language_model",
            "this configuration uses a language model, but none is named",
            "name one listed by GET /v1/models, or use preset 'rules' with sampling.source 'brought'",
        )
    job = InjectionJob(
        id=new_id("inj"),
        workspace_id=workspace_id,
        problem_set_id=problem_set.id,
        language_model_id=model.id if model else None,
        name=body.name,
        config=config.model_dump(mode="json"),
        prompt_versions=_prompt_versions(config),
    )
    session.add(job)
    session.flush()
    return job, problem_set


def _check_kinds(config: InjectionConfig, domain: Domain) -> None:
    kinds = config.editing.kinds
    if kinds is None:
        return
    known = INSTRUCTIONS[domain]
    unknown = sorted(set(kinds) - set(known))
    remedy = f"the kinds of domain '{domain}' are {', '.join(known)}"
    if unknown:
        raise Invalid.field("config.editing.kinds", f"domain '{domain}' has no kind '{unknown[0][:80]}'", remedy)
    if not any(weight > 0 for weight in kinds.values()):
        raise Invalid.field("config.editing.kinds", "no kind has a weight above 0", remedy)


def _check_brought(session: Session, config: InjectionConfig, problem_set: ProblemSet) -> None:
    if config.sampling.source != "brought":
        return
    brought = exists(select(BroughtSolution.id).where(BroughtSolution.problem_set_id == problem_set.id))
    if not session.scalar(select(brought)):
        raise Invalid.field(
            "config.sampling.source",
            "no solutions were brought to this problem set",
            f"send them to POST /v1/problem-sets/{problem_set.id}/solutions, or sample from a language model",
        )


def _prompt_versions(config: InjectionConfig) -> dict[str, str]:
    versions = {}
    if config.sampling.source == "model":
        versions["solve"] = SOLVE_VERSION
    if config.editing.editor == "model":
        versions["edit"] = EDIT_VERSIONS[config.editing.layout]
    return versions
