"""What comes of injection jobs: datasets, training runs, evaluations, rejudgings, and the events of all of them.

With :mod:`models.curation`, which imports every other module that declares tables, ``Base.metadata`` is complete.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ForeignKey, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, Timestamped
from models.jobs import JobColumns, LeaseColumns, SampleColumns, StageColumns
from models.states import TRAINING_TRANSITIONS, JobState, PlaceState, TrainingState, state_check
from models.workspaces import Owned


class Dataset(JobColumns, Base):
    """Pairs frozen to files. Immutable once ``succeeded``; ``manifest`` lists files with size, rows and SHA-256."""

    __tablename__ = "datasets"
    __table_args__ = (
        state_check("state", JobState),
        Index("ix_datasets_import", "workspace_id", "import_key", unique=True),
    )
    name: Mapped[str]
    config: Mapped[dict[str, Any]]  # jobs, splits, shapes, seed; of an imported one also ``import``
    import_key: Mapped[str | None]  # digest of file and settings: the same import again is this dataset
    folder: Mapped[str | None]
    manifest: Mapped[dict[str, Any] | None]
    sha256: Mapped[str | None]


class DatasetSource(Base):
    """Lineage: which jobs' pairs a dataset was frozen from."""

    __tablename__ = "dataset_sources"
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), primary_key=True)


class TrainingRun(Owned, LeaseColumns, Timestamped, Base):
    """One training run (``/v1/training-jobs``), claimed and supervised by the trainer daemon."""

    TRANSITIONS: ClassVar[dict[str, frozenset[str]]] = TRAINING_TRANSITIONS
    __tablename__ = "training_runs"
    __table_args__ = (state_check("state", TrainingState),)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    base_model_id: Mapped[str] = mapped_column(ForeignKey("language_models.id"))
    output_model_id: Mapped[str | None] = mapped_column(ForeignKey("language_models.id"))
    output_name: Mapped[str]
    state: Mapped[str] = mapped_column(default=TrainingState.QUEUED)
    config: Mapped[dict[str, Any]]
    step: Mapped[int] = mapped_column(Integer, default=0)
    total_steps: Mapped[int | None]
    progressed_at: Mapped[datetime | None]
    doing: Mapped[dict[str, Any] | None]
    """``phase``, ``done`` and ``total`` of what is no optimizer step (loading, the reference pass, saving)."""
    keep_on_cancel: Mapped[bool] = mapped_column(default=True)
    from_run_id: Mapped[str | None] = mapped_column(index=True)  # the run whose checkpoint it begins with
    from_step: Mapped[int | None]  # of that checkpoint
    last_step: Mapped[int | None]  # where it ends before its data do: at ``from_step``, to make the checkpoint a model
    hosts: Mapped[int] = mapped_column(Integer, default=1, server_default="1")  # trainers that it trains on together
    summary: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TrainingPlace(Base):
    """One place beside the trainer that claimed a run of several hosts (:mod:`models.training_places`).

    It counts only while ``fence`` is the run's. ``worker`` is the trainer that took it.
    """

    __tablename__ = "training_places"
    __table_args__ = (state_check("state", PlaceState),)
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)  # from 1: the trainer that claimed the run is 0
    fence: Mapped[int]
    state: Mapped[str] = mapped_column(default=PlaceState.OPEN)
    gpus: Mapped[int]  # that a host needs
    meets: Mapped[dict[str, Any]]  # where the hosts meet, and how each of them launches its processes
    worker: Mapped[str | None]
    seen_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    fatal: Mapped[bool] = mapped_column(default=False)


class Metric(Timestamped, Base):
    """The metrics of one optimizer step of one run."""

    __tablename__ = "metrics"
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[str] = mapped_column(primary_key=True, default="train")
    values: Mapped[dict[str, Any]]


class Checkpoint(Identified, Timestamped, Base):
    """A checkpoint whose files are complete, or were: ``state`` is ``ready`` or ``deleted``."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("run_id", "step"), state_check("state", ("ready", "deleted")))
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), index=True)
    step: Mapped[int]
    state: Mapped[str] = mapped_column(default="ready")
    path: Mapped[str]
    size_bytes: Mapped[int]
    manifest: Mapped[dict[str, Any]]


class Evaluation(JobColumns, Base):
    """One language model's answers to one problem set under one decoding setting."""

    __tablename__ = "evaluations"
    __table_args__ = (state_check("state", JobState),)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"))
    language_model_id: Mapped[str] = mapped_column(ForeignKey("language_models.id"))
    name: Mapped[str | None]
    config: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]


class EvaluationSample(SampleColumns, Base):
    """One answer of an evaluation; one row per evaluation, problem and sample."""

    __tablename__ = "evaluation_samples"
    __table_args__ = (Index("ix_evaluation_samples_problem_id", "problem_id"),)
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)
    seed: Mapped[int]
    nats: Mapped[float | None]  # negative log-probability of the text at its temperature, where it was asked for


class EvaluationScore(StageColumns, Base):
    """The probability of one problem's right solution in a scored evaluation, by its steps (errata.decisive).

    ``hits``: whether each step is what the model writes greedily. ``logprobs``: temperature -> the natural logarithm of
    each step's probability. Both are null where question and solution do not fit the model's context.
    """

    __tablename__ = "evaluation_scores"
    __table_args__ = (Index("ix_evaluation_scores_problem_id", "problem_id"),)
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"), primary_key=True)
    hits: Mapped[list[Any] | None]
    logprobs: Mapped[dict[str, Any] | None]


class Rejudging(JobColumns, Base):
    """One pass over a job's samples. It changes nothing of the job: the difference is its result."""

    __tablename__ = "rejudgings"
    __table_args__ = (state_check("state", JobState),)
    injection_job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), index=True)
    verifier: Mapped[str]
    result: Mapped[dict[str, Any] | None]


class VerdictChangeRow(Identified, Base):
    """One sample whose verdict or extracted answer differs; samples without a row were judged the same."""

    __tablename__ = "verdict_changes"
    __table_args__ = (
        UniqueConstraint("rejudging_id", "solution_id"),
        *(Index(f"ix_verdict_changes_{name}", name) for name in ("shard_id", "solution_id", "problem_id")),
    )
    rejudging_id: Mapped[str] = mapped_column(ForeignKey("rejudgings.id"), index=True)
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id"))
    solution_id: Mapped[str] = mapped_column(ForeignKey("solutions.id"))
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    role: Mapped[str | None]
    verdict_before: Mapped[str]
    verdict_after: Mapped[str]
    extracted_before: Mapped[str | None] = mapped_column(Text)
    extracted_after: Mapped[str | None] = mapped_column(Text)
    verifier_before: Mapped[str | None]


class Event(Timestamped, Base):
    """Something that happened to a job, dataset, run or evaluation, in order of ``id``."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_subject", "subject_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    subject_id: Mapped[str]
    type: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
