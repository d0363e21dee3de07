"""Training jobs: started, previewed, their metrics and checkpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.schemas import ModelName, Request, RowAnswer, RowId, StateOut, key_of

MOST_HOSTS = 1024


class TrainingInputs(Request):
    """What a training job trains on and how."""

    dataset: RowId
    base_model: ModelName
    preset: str = Field("errata", max_length=50, description="errata, paper, scripts or sft.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the preset (schema: TrainingConfig)."
    )


class TrainingJobIn(TrainingInputs):
    """A training job: a frozen dataset, the model to start from, and the name of the one to come."""

    output_name: ModelName
    hosts: int = Field(
        1,
        ge=1,
        le=MOST_HOSTS,
        description="Trainers that train it together, each with its processes. It starts when all are there.",
    )


class TrainingPreviewIn(TrainingInputs):
    """A training job that is only looked at."""

    examples: int = Field(3, ge=0, le=10, description="Pairs whose tokens are shown.")


class TokenOut(BaseModel):
    """One token and its text on its own."""

    id: int
    text: str


class PromptTokens(BaseModel):
    """The tokens before both sides: read, never trained. ``omitted`` ones stand before those shown."""

    tokens: list[TokenOut]
    omitted: int


class SideTokens(BaseModel):
    """One side of a pair: every token of it is trained."""

    tokens: list[TokenOut]
    omitted: int = Field(description="Tokens behind those shown.")
    scored: list[list[int]] = Field(description="Start and stop of each span of tokens that the loss sees.")
    divergent: list[int] = Field(description="Start and stop of the span in which the sides differ: the error.")
    eos: list[int] = Field(description="Where the end-of-sequence token stands.")
    ends_with_eos: bool


class PreviewExample(BaseModel):
    """One pair as the trainer would see it, cut to ``max_length``."""

    pair_id: str
    type: Literal["step", "full"]
    error_kind: str | None
    prompt: PromptTokens
    chosen: SideTokens
    rejected: SideTokens


class PreviewReport(BaseModel):
    """Counts over the examined pairs."""

    pairs: int
    step: int
    full: int
    problems: int
    trained: int
    unweighted: int = Field(description="Without weight in this objective.")
    identical: int = Field(description="Both sides the same: no gradient.")
    lost: int = Field(description="Their error lies beyond max_length: no gradient.")
    cut: int = Field(description="Only their end lies beyond max_length.")
    duplicates: int
    longest: int = Field(description="Tokens.")
    tokens: int = Field(description="Of the trained pairs, as a plain trainer would run them.")
    scored: int = Field(0, description="Tokens of both sides of the trained pairs that the loss sees.")


class PreviewTokens(BaseModel):
    """Tokens of one epoch: as plain pairs, as packed, and their ratio."""

    plain: int
    used: int
    ratio: float


class TrainingPreviewOut(BaseModel):
    """What a training job would train on. Sizes and times are estimates; what is not known is null."""

    object: Literal["training_preview"] = "training_preview"
    refused: str | None = Field(description="Why such a job would fail at its start.")
    config: dict[str, Any]
    rows: int | None = Field(None, description="Of the dataset's file that the objective trains on.")
    examined: int | None = Field(None, description="Rows that were read; the counts are theirs.")
    report: PreviewReport | None = None
    examples: list[PreviewExample] = []
    steps: int | None = None
    tokens: PreviewTokens | None = None
    parameters: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = Field(None, description="Checkpoints and result.")
    seconds: dict[str, float] | None = Field(None, description="On one CPU core, and on one large GPU.")


class PhaseOut(BaseModel):
    """A phase without optimizer steps: loading, encoding, reference (its log-probabilities), saving.

    In the phase ``hosts`` it waits for the trainers of other hosts: ``done`` of ``total`` are there.
    """

    phase: str
    done: int
    total: int


class TrainingJobOut(StateOut):
    """A training job. ``language_model`` is the name of the result; rate and ETA come from its newest metrics."""

    object: Literal["training_job"] = "training_job"
    dataset: str = Field(validation_alias="dataset_id")
    base_model: str
    output_name: str
    language_model: str | None
    config: dict[str, Any]
    hosts: int = Field(description="Trainers that train it together.")
    step: int
    total_steps: int | None
    doing: PhaseOut | None = Field(None, description="What it does between optimizer steps, and how far that is.")
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = Field(None, description="From 1, among jobs that wait for a trainer.")
    failures: int
    interruptions: int
    summary: dict[str, Any] | None
    progressed_at: datetime | None
    from_run: str | None = Field(
        None, validation_alias="from_run_id", description="The ended run whose checkpoint it begins with."
    )
    from_step: int | None = Field(None, description="The step of that checkpoint.")
    last_step: int | None = Field(None, description="Of a run that only makes that checkpoint a model: its step.")
    tags: list[str] = Field(default_factory=list)


class MetricOut(RowAnswer):
    """The metrics of one optimizer step."""

    object: Literal["metric"] = "metric"
    step: int
    phase: str
    values: dict[str, Any]
    created_at: datetime


class CheckpointOut(RowAnswer):
    """A checkpoint; ``deleted`` ones were replaced by newer ones."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    step: int
    state: str
    size_bytes: int
    score: Annotated[float | None, key_of("score")] = Field(
        validation_alias="manifest", description="The loss by which the best one is kept; lower is better."
    )
    created_at: datetime
