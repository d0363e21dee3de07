"""Datasets, evaluations and language models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.http.downloads import StoredFile
from api.schemas.common import JobOut, ModelName, Name, Progress, Request, RowId, job_fields
from errata.evaluation import EvaluationConfig
from models.outputs import Dataset, Evaluation, EvaluationSample


class DatasetIn(Request):
    """A dataset: the jobs whose pairs are frozen, and what differs from the defaults."""

    name: Name
    jobs: list[RowId] = Field(min_length=1, max_length=100)
    config: dict[str, Any] = Field(default_factory=dict, description="Schema: DatasetConfig, without `jobs`.")


class DatasetOut(JobOut):
    """A dataset; immutable once ``succeeded``. ``manifest`` tells counts, rows per shape and split, lineage, audit."""

    object: Literal["dataset"] = "dataset"
    name: str
    jobs: list[str]
    config: dict[str, Any]
    manifest: dict[str, Any] | None
    sha256: str | None

    @classmethod
    def of(cls, row: Dataset, progress: Progress) -> DatasetOut:
        """The answer for a row."""
        return cls(
            **job_fields(row, progress),
            name=row.name,
            jobs=row.config.get("jobs", []),
            config=row.config,
            manifest=row.manifest,
            sha256=row.sha256,
        )


class FileOut(BaseModel):
    """A file of a dataset or of a trained language model; ``url`` is where it is downloaded."""

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


class EvaluationIn(Request):
    """An evaluation: one language model's answers to one problem set."""

    problem_set: RowId
    language_model: ModelName
    config: EvaluationConfig = EvaluationConfig()
    name: Name | None = None


class EvaluationOut(JobOut):
    """An evaluation; ``result`` holds accuracy with its 95 % interval once it has succeeded."""

    object: Literal["evaluation"] = "evaluation"
    name: str | None
    problem_set: str
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None

    @classmethod
    def of(cls, row: Evaluation, progress: Progress, language_model: str) -> EvaluationOut:
        """The answer for a row."""
        return cls(
            **job_fields(row, progress),
            name=row.name,
            problem_set=row.problem_set_id,
            language_model=language_model,
            config=row.config,
            result=row.result,
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
