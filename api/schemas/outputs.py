"""Datasets, training jobs and evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.downloads import StoredFile
from api.schemas.common import ModelName, Name, Progress, Request, RowId
from errata.evaluation import EvaluationConfig
from models.outputs import Checkpoint, Dataset, Evaluation, EvaluationSample, Metric, TrainingRun


class DatasetIn(Request):
    """A dataset: the jobs whose pairs are frozen, and what differs from the defaults."""

    name: Name
    jobs: list[RowId] = Field(min_length=1, max_length=100)
    config: dict[str, Any] = Field(default_factory=dict, description="Schema: DatasetConfig, without `jobs`.")


class DatasetOut(BaseModel):
    """A dataset; immutable once ``succeeded``. ``manifest`` tells counts, rows per shape and split, lineage, audit."""

    object: Literal["dataset"] = "dataset"
    id: str
    name: str
    state: str
    partial: bool
    error: str | None
    jobs: list[str]
    config: dict[str, Any]
    manifest: dict[str, Any] | None
    sha256: str | None
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Dataset, progress: Progress) -> DatasetOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            state=row.state,
            partial=row.partial,
            error=row.error,
            jobs=row.config.get("jobs", []),
            config=row.config,
            manifest=row.manifest,
            sha256=row.sha256,
            progress=progress,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )


class FileOut(BaseModel):
    """A file of a dataset, at ``GET /v1/datasets/{id}/files/{path}``."""

    object: Literal["file"] = "file"
    path: str
    bytes: int
    sha256: str
    rows: int | None
    url: str

    @classmethod
    def of(cls, file: StoredFile, url: str) -> FileOut:
        """The answer for a manifest's entry."""
        return cls(path=file.path, bytes=file.size, sha256=file.sha256, rows=file.rows, url=url)


class TrainingJobIn(Request):
    """A training job: a frozen dataset, the model to start from, and the name of the one to come."""

    dataset: RowId
    base_model: ModelName
    output_name: ModelName
    preset: str = Field("errata", max_length=50, description="errata, paper, scripts or sft.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the preset (schema: TrainingConfig)."
    )


class TrainingJobOut(BaseModel):
    """A training job. ``language_model`` is the name of the result; rate and ETA come from its newest metrics."""

    object: Literal["training_job"] = "training_job"
    id: str
    state: str
    error: str | None
    dataset: str
    base_model: str
    output_name: str
    language_model: str | None
    config: dict[str, Any]
    step: int
    total_steps: int | None
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = Field(None, description="From 1, among jobs that wait for a trainer.")
    failures: int
    interruptions: int
    summary: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    progressed_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: TrainingRun, names: dict[str, str], **more: Any) -> TrainingJobOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            state=row.state,
            error=row.error,
            dataset=row.dataset_id,
            base_model=names.get(row.base_model_id, ""),
            output_name=row.output_name,
            language_model=names.get(row.output_model_id or ""),
            config=row.config,
            step=row.step,
            total_steps=row.total_steps,
            failures=row.failures,
            interruptions=row.interruptions,
            summary=row.summary,
            created_at=row.created_at,
            started_at=row.started_at,
            progressed_at=row.progressed_at,
            finished_at=row.finished_at,
            **more,
        )


class MetricOut(BaseModel):
    """The metrics of one optimizer step."""

    object: Literal["metric"] = "metric"
    step: int
    phase: str
    values: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, row: Metric) -> MetricOut:
        """The answer for a row."""
        return cls(step=row.step, phase=row.phase, values=row.values, created_at=row.created_at)


class CheckpointOut(BaseModel):
    """A checkpoint; ``deleted`` ones were replaced by newer ones."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    step: int
    state: str
    size_bytes: int
    created_at: datetime

    @classmethod
    def of(cls, row: Checkpoint) -> CheckpointOut:
        """The answer for a row."""
        return cls(id=row.id, step=row.step, state=row.state, size_bytes=row.size_bytes, created_at=row.created_at)


class EvaluationIn(Request):
    """An evaluation: one language model's answers to one problem set."""

    problem_set: RowId
    language_model: ModelName
    config: EvaluationConfig = EvaluationConfig()
    name: Name | None = None


class EvaluationOut(BaseModel):
    """An evaluation; ``result`` holds accuracy with its 95 % interval once it has succeeded."""

    object: Literal["evaluation"] = "evaluation"
    id: str
    name: str | None
    state: str
    partial: bool
    error: str | None
    problem_set: str
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Evaluation, progress: Progress, language_model: str) -> EvaluationOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            state=row.state,
            partial=row.partial,
            error=row.error,
            problem_set=row.problem_set_id,
            language_model=language_model,
            config=row.config,
            result=row.result,
            progress=progress,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )


class EvaluationSampleOut(BaseModel):
    """One answer of an evaluation."""

    object: Literal["evaluation_sample"] = "evaluation_sample"
    problem: str
    sample_index: int
    text: str
    seed: int
    prompt_tokens: int
    completion_tokens: int
    verdict: str | None
    extracted: str | None

    @classmethod
    def of(cls, row: EvaluationSample) -> EvaluationSampleOut:
        """The answer for a row."""
        return cls(
            problem=row.problem_id,
            sample_index=row.sample_index,
            text=row.text,
            seed=row.seed,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            verdict=row.verdict,
            extracted=row.extracted,
        )


class Side(BaseModel):
    """One side of a comparison, with the accuracy of its whole evaluation."""

    evaluation: str
    language_model: str
    config: dict[str, Any]
    accuracy: float | None
    interval: list[float] | None = Field(description="95 %.")


class Flip(BaseModel):
    """A problem right on one side only; for several samples, the shares of right answers lie on both sides of 0.5."""

    problem: str
    before: float
    after: float


class ComparisonOut(BaseModel):
    """Two evaluations compared problem by problem; ``delta`` is after minus before, with a 95 % interval."""

    object: Literal["comparison"] = "comparison"
    before: Side
    after: Side
    delta: float
    interval: list[float]
    p_value: float
    problems: int = Field(description="Problems with a verdict on both sides; nothing else is compared.")
    gained: int
    lost: int = Field(description="Negative flips: right before, wrong after.")
    gained_problems: list[Flip] = Field(description="The first of them, in the order of the set.")
    lost_problems: list[Flip]
    same_config: bool = Field(description="A difference in decoding is a difference too.")


class LanguageModelOut(BaseModel):
    """A language model; ``id`` is its name, as the `openai` client expects. Where it is stored is not told."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time, seconds.")
    owned_by: str
    engine: str
    base_model: str | None
    training_job: str | None


class ModelListing(BaseModel):
    """Every language model the caller may name; also a valid answer to the `openai` client."""

    object: Literal["list"] = "list"
    data: list[LanguageModelOut]
    has_more: Literal[False] = False
