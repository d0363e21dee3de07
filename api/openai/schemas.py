"""Fine-tuning jobs as OpenAI's client writes and reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from api.schemas import ModelName, Request, Storable


def _auto(value: Any) -> Any:
    return None if value == "auto" else value


def _or_auto(kind: str, **bounds: float) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": kind, **bounds}, {"type": "null"}]})


Whole = Annotated[
    Annotated[int, Field(ge=1, le=1000)] | None, BeforeValidator(_auto), _or_auto("integer", minimum=1, maximum=1000)
]
Batch = Annotated[
    Annotated[int, Field(ge=1, le=65536)] | None, BeforeValidator(_auto), _or_auto("integer", minimum=1, maximum=65536)
]
Factor = Annotated[
    Annotated[float, Field(gt=0, le=1000)] | None,
    BeforeValidator(_auto),
    _or_auto("number", exclusiveMinimum=0, maximum=1000),
]
Beta = Annotated[
    Annotated[float, Field(gt=0, le=100)] | None,
    BeforeValidator(_auto),
    _or_auto("number", exclusiveMinimum=0, maximum=100),
]
FileId = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]
Suffix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64), Storable]
MetadataValue = Annotated[str, StringConstraints(max_length=512), Storable]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]


class Hyperparameters(Request):
    """What is chosen of a run; ``auto`` or left out: as the preset has it."""

    n_epochs: Whole = None
    batch_size: Batch = Field(None, description="Rows per optimizer step.")
    learning_rate_multiplier: Factor = Field(None, description="Times the preset's learning rate.")


class DpoHyperparameters(Hyperparameters):
    """Those of DPO."""

    beta: Beta = None


class SupervisedMethod(Request):
    """How chat messages are imitated."""

    hyperparameters: Hyperparameters | None = None


class DpoMethod(Request):
    """How preferences are learnt."""

    hyperparameters: DpoHyperparameters | None = None


class Method(Request):
    """The method, and its settings below its own name."""

    type: Literal["supervised", "dpo"]
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None

    @model_validator(mode="after")
    def _own_settings(self) -> Method:
        other = "supervised" if self.type == "dpo" else "dpo"
        if getattr(self, other) is not None:
            raise ValueError(f"`{other}` has settings, but `type` is '{self.type}'; give them as `{self.type}`")
        return self

    @property
    def chosen(self) -> Hyperparameters:
        """The hyperparameters of the method."""
        settings: SupervisedMethod | DpoMethod | None = self.dpo if self.type == "dpo" else self.supervised
        return (settings and settings.hyperparameters) or Hyperparameters()


class FineTuningJobIn(Request):
    """A fine-tuning job. ``config`` is Errata's own: what else a training run can be told."""

    model: ModelName
    training_file: FileId
    validation_file: FileId | None = Field(None, description="Its rows are held out, and measured at checkpoints.")
    method: Method | None = Field(None, description="Left out: supervised.")
    hyperparameters: Hyperparameters | None = Field(None, description="Of `supervised`; older clients give them here.")
    suffix: Suffix | None = Field(None, description="Part of the new model's name.")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="None are known: give `report_to` in `config`."
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the preset (schema: TrainingConfig); by `extra_body`."
    )

    @model_validator(mode="after")
    def _once(self) -> FineTuningJobIn:
        if self.method is not None and self.hyperparameters is not None:
            raise ValueError("`hyperparameters` are given twice; give them below `method` alone")
        return self


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class MethodOut(BaseModel):
    """The method with its settings as they were resolved; the other one is null."""

    type: str
    supervised: dict[str, Any] | None = None
    dpo: dict[str, Any] | None = None


class FineTuningJob(BaseModel):
    """A fine-tuning job, in OpenAI's shape. Times are Unix times, in seconds."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None = Field(None, description="Of a single job that runs.")
    error: JobError | None
    model: str = Field(description="The base model.")
    fine_tuned_model: str | None = Field(description="The name of the result, once there is one.")
    organization_id: str = Field(description="The workspace.")
    status: Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
    hyperparameters: dict[str, Any]
    method: MethodOut
    training_file: str
    validation_file: str | None
    result_files: list[str] = Field(description="Of a job that succeeded: its metrics as CSV.")
    trained_tokens: int | None = Field(description="Tokens that ran through the model; null before the end.")
    seed: int
    integrations: list[Any] = []
    metadata: dict[str, str] | None
    user_provided_suffix: str | None = None
    training_job: str = Field(description="The training job of Errata that this is.")
    dataset: str = Field(description="The dataset that the files were made.")


class JobEvent(BaseModel):
    """Something that happened to a job, in OpenAI's shape."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointMetrics(BaseModel):
    """Losses at a checkpoint; null where they were not measured."""

    step: int
    train_loss: float | None = None
    full_valid_loss: float | None = Field(None, description="On all of the validation file.")


class JobCheckpoint(BaseModel):
    """A checkpoint, in OpenAI's shape."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str = Field(description="The name for a model that is made of it.")
    step_number: int
    metrics: CheckpointMetrics
