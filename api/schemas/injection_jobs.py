"""Injection jobs and what their stages write: solutions and edits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas.common import JobOut, ModelName, Name, Progress, Request, RowId, job_fields
from errata.types import EvidenceKind
from models.jobs import EditRow, InjectionJob, SolutionRow


class InjectionJobIn(Request):
    """A job: a preset, and what differs from it."""

    problem_set: RowId
    language_model: ModelName | None = Field(None, description="A name from /v1/models, where the job uses one.")
    preset: str = Field("errata", max_length=50, description="See /v1/presets.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the preset, section by section (schema: InjectionConfig)."
    )
    name: Name | None = None


class QuarantinedShard(BaseModel):
    """A shard that failed three times."""

    position: int
    stage: str
    error: str | None


class InjectionJobOut(JobOut):
    """An injection job. ``config`` is complete; ``funnel`` and ``quarantined`` are given for one job, not in lists."""

    object: Literal["injection_job"] = "injection_job"
    name: str | None
    problem_set: str
    language_model: str | None
    preset: str
    config: dict[str, Any]
    prompt_versions: dict[str, Any]
    funnel: dict[str, Any] | None = None
    quarantined: list[QuarantinedShard] | None = None

    @classmethod
    def of(cls, row: InjectionJob, progress: Progress, language_model: str | None, **more: Any) -> InjectionJobOut:
        """The answer for a row."""
        return cls(
            **job_fields(row, progress),
            name=row.name,
            problem_set=row.problem_set_id,
            language_model=language_model,
            preset=row.config.get("preset", "errata"),
            config=row.config,
            prompt_versions=row.prompt_versions,
            **more,
        )


class FunnelOut(BaseModel):
    """The funnel of a job: what became of every problem, sample, step, edit and pair, with tokens per stage."""

    object: Literal["funnel"] = "funnel"
    job: str
    complete: bool = Field(description="Whether the job has ended; until then the counts still grow.")
    problems: dict[str, Any]
    samples: dict[str, Any]
    steps: dict[str, Any]
    edits: dict[str, Any]
    pairs: dict[str, Any]
    tokens: dict[str, Any]
    figures: dict[str, float | None]


class SolutionOut(BaseModel):
    """One sample or brought solution, with its verdict; ``reason`` says why it was not drawn for pairs."""

    object: Literal["solution"] = "solution"
    id: str
    job: str
    problem: str
    sample_index: int
    source: str
    text: str
    seed: int | None
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    label: bool | None
    verdict: str | None
    extracted: str | None
    verifier: str | None
    verdict_seconds: float | None = Field(description="How long the comparison took.")
    role: str | None
    reason: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: SolutionRow) -> SolutionOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            job=row.job_id,
            problem=row.problem_id,
            sample_index=row.sample_index,
            source=row.source,
            text=row.text,
            seed=row.seed,
            finish_reason=row.finish_reason,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cached_tokens=row.cached_tokens,
            label=row.label,
            verdict=row.verdict,
            extracted=row.extracted,
            verifier=row.verifier,
            verdict_seconds=row.verdict_seconds,
            role=row.role,
            reason=row.reason,
            created_at=row.created_at,
        )


class EditOut(BaseModel):
    """One edit of one step; ``start`` and ``end`` are offsets into the solution, ``reason`` is why it made no pair."""

    object: Literal["edit"] = "edit"
    id: str
    job: str
    problem: str
    solution: str
    step_index: int
    kind: str
    start: int
    end: int
    original: str
    edited: str | None
    attempts: list[Any]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    distance: int | None
    reason: str | None
    evidence_kind: EvidenceKind | None
    evidence: dict[str, Any] | None
    continuations: dict[str, Any] | None
    created_at: datetime

    @classmethod
    def of(cls, row: EditRow) -> EditOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            job=row.job_id,
            problem=row.problem_id,
            solution=row.solution_id,
            step_index=row.step_index,
            kind=row.kind,
            start=row.start,
            end=row.end,
            original=row.original,
            edited=row.edited,
            attempts=row.attempts,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cached_tokens=row.cached_tokens,
            distance=row.distance,
            reason=row.reason,
            evidence_kind=EvidenceKind(row.evidence_kind) if row.evidence_kind else None,
            evidence=row.evidence,
            continuations=row.continuations,
            created_at=row.created_at,
        )
