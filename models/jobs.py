"""Injection jobs and estimates, the shards every leased computation is cut into, and what the stages write."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Identified, Timestamped
from models.session import insert_ignore
from models.states import JOB_TRANSITIONS, JobState, ShardState, Stage, state_check
from models.workspaces import PILOT_WORKSPACE, PILOT_WORKSPACE_NAME, Owned, Workspace


class JobColumns(Owned, Timestamped):
    """What injection jobs, datasets, evaluations and rejudgings share."""

    TRANSITIONS: ClassVar[dict[str, frozenset[str]]] = JOB_TRANSITIONS
    state: Mapped[str] = mapped_column(default=JobState.QUEUED, index=True)
    partial: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class InjectionJob(JobColumns, Base):
    """Problems in, pairs out. ``config`` is resolved and complete; ``prompt_versions`` name what was rendered."""

    __tablename__ = "injection_jobs"
    __table_args__ = (state_check("state", JobState),)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    language_model_id: Mapped[str | None] = mapped_column(ForeignKey("language_models.id"))
    name: Mapped[str | None]
    config: Mapped[dict[str, Any]]
    prompt_versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    funnel: Mapped[dict[str, Any] | None]
    paused_at: Mapped[datetime | None]  # while set, no shard of the job is claimed and running stages give up
    retry_of: Mapped[str | None] = mapped_column(index=True)  # the ended job whose missing problems it tries again
    samples_deleted_at: Mapped[datetime | None]  # when samples and edits without a pair went (models.retention)
    extends: Mapped[str | None] = mapped_column(index=True)  # the ended job that it adds to
    extension: Mapped[dict[str, Any] | None]  # what it adds: samples, edits_per_solution, problems or problem_set
    stopped: Mapped[str | None]  # the limit of ``config.stop`` that was reached
    prices: Mapped[dict[str, Any] | None]  # of its tokens, when it was accepted (errata.prices); null: not known
    priority: Mapped[int] = mapped_column(default=0, server_default="0")  # -1 low, 0 normal, 1 high (models.shares)


class JobSummary(Base):
    """What the ledgers of a job's shards add up to (models.summaries), and, once it has ended, its shards in groups."""

    __tablename__ = "job_summaries"
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id", ondelete="CASCADE"), primary_key=True)
    counts: Mapped[dict[str, Any]]
    groups: Mapped[list[Any] | None]


class Estimate(Owned, Timestamped, Base):
    """A forecast for an injection job, asked for when its problem set had ``problems`` problems.

    State and figures are those of its pilot, a real injection job over a few of the problems. The pilot and everything
    its stages write belong to a workspace that no key opens: what hides the rows of other workspaces (lists, ids,
    datasets, pages) hides a pilot's as well.
    """

    __tablename__ = "estimates"
    pilot_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), unique=True)
    problems: Mapped[int]


def pilot_workspace(session: Session) -> str:
    """The id of the workspace of pilots. Creates it where it is missing."""
    insert_ignore(session, Workspace, [{"id": PILOT_WORKSPACE, "name": PILOT_WORKSPACE_NAME}])
    return PILOT_WORKSPACE


class LeaseColumns:
    """A lease on a row: who computes it, until when, and under which fence."""

    fence: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    interruptions: Mapped[int] = mapped_column(default=0)
    alone: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    next_run_at: Mapped[datetime | None]
    hinted_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


class Shard(Identified, LeaseColumns, Timestamped, Base):
    """A slice ``[start, stop)`` of problem positions of exactly one owner, moving forward through stages.

    ``ledger`` holds the shard's part of the funnel, written together with the rows it counts. ``progress`` says how far
    the stage that runs is (workers.engines.meter): null before it tells anything, and once the lease has ended.
    """

    __tablename__ = "shards"
    __table_args__ = (
        state_check("state", ShardState),
        state_check("stage", Stage),
        CheckConstraint(
            "(CASE WHEN injection_job_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN dataset_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN evaluation_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN rejudging_id IS NULL THEN 0 ELSE 1 END) = 1",
            name="one_owner",
        ),
        UniqueConstraint("injection_job_id", "position"),
        UniqueConstraint("dataset_id", "position"),
        UniqueConstraint("evaluation_id", "position"),
        UniqueConstraint("rejudging_id", "position"),
        Index("ix_shards_state_lease", "state", "lease_expires_at"),
        Index("ix_shards_job_stage", "injection_job_id", "state", "stage", "position"),
        # Whom to send a hint next: a shard is in this index only while it waits.
        Index(
            "ix_shards_waiting",
            *("hinted_at", "created_at", "position"),
            postgresql_where=text("state = 'queued'"),
            sqlite_where=text("state = 'queued'"),
        ),
    )
    injection_job_id: Mapped[str | None] = mapped_column(ForeignKey("injection_jobs.id"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("evaluations.id"))
    rejudging_id: Mapped[str | None] = mapped_column(ForeignKey("rejudgings.id"))
    position: Mapped[int]
    start: Mapped[int] = mapped_column(default=0)
    stop: Mapped[int] = mapped_column(default=0)
    positions: Mapped[list[Any] | None]  # a pilot's: the slice is one of this list
    stage: Mapped[str]
    state: Mapped[str] = mapped_column(default=ShardState.QUEUED)
    skipped: Mapped[str | None]  # of a cancelled one that never began: the limit of its job that was reached before
    ledger: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any] | None]
    traceparent: Mapped[str | None]  # W3C trace context of the request that made it (models.telemetry.tracing)


class StageColumns:
    """What a stage wrote about a problem: about which one, and for which shard."""

    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id"), index=True)


class SampleColumns(StageColumns):
    """What a language model's answer to a problem is, and how it was judged."""

    sample_index: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    finish_reason: Mapped[str | None]
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    verdict: Mapped[str | None]
    extracted: Mapped[str | None] = mapped_column(Text)
    verifier: Mapped[str | None]
    verdict_seconds: Mapped[float | None]


class SolutionRow(Identified, SampleColumns, Timestamped, Base):
    """One sample (or brought solution) of one problem; one row per job, problem and sample."""

    __tablename__ = "solutions"
    __table_args__ = (
        UniqueConstraint("job_id", "problem_id", "sample_index"),
        Index("ix_solutions_problem_id", "problem_id"),
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), index=True)
    source: Mapped[str]
    seed: Mapped[int | None]
    cached_tokens: Mapped[int] = mapped_column(default=0)
    label: Mapped[bool | None]
    role: Mapped[str | None]  # "correct" or "incorrect" where drawn for pairs
    reason: Mapped[str | None]  # why it was not drawn
    plan: Mapped[dict[str, Any] | None]  # of a drawn correct one: the steps to edit and into which kinds


class ProblemOutcome(Base):
    """What became of one problem in one job: kept, or dropped with a reason."""

    __tablename__ = "problem_outcomes"
    __table_args__ = (Index("ix_problem_outcomes_problem_id", "problem_id"),)
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), primary_key=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"), primary_key=True)
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id"), index=True)
    outcome: Mapped[str]
    reason: Mapped[str | None]


class ProblemError(Base):
    """A problem that a stage set aside because the method raised for it; its shard went on without it."""

    __tablename__ = "problem_errors"
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id"), primary_key=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"), primary_key=True)
    stage: Mapped[str]
    type: Mapped[str]  # of the error
    message: Mapped[str] = mapped_column(Text)
    trace: Mapped[str] = mapped_column(Text)


class EditRow(Identified, StageColumns, Timestamped, Base):
    """One edit of one step; one row per solution, step and kind. ``attempts`` holds every reply, the last one used.

    ``start`` and ``end`` are the step's offsets in the drawn solution. ``original`` is the step, or of a mined error
    the right sample of it that is nearest in wording.
    """

    __tablename__ = "edits"
    __table_args__ = (
        UniqueConstraint("solution_id", "step_index", "kind"),
        Index("ix_edits_problem_id", "problem_id"),
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), index=True)
    solution_id: Mapped[str] = mapped_column(ForeignKey("solutions.id"))
    step_index: Mapped[int]
    kind: Mapped[str]
    form: Mapped[str | None]  # null: of a version without forms, in which every result stood
    editor: Mapped[str | None]  # words, slip, rule, mined or random-token
    start: Mapped[int]
    end: Mapped[int]
    original: Mapped[str] = mapped_column(Text)
    edited: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[list[Any]] = mapped_column(default=list)
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    cached_tokens: Mapped[int] = mapped_column(default=0)
    distance: Mapped[int | None]
    reason: Mapped[str | None]  # why it yields no pair
    evidence_kind: Mapped[str | None]
    evidence: Mapped[dict[str, Any] | None]
    continuations: Mapped[dict[str, Any] | None]

    def within(self, solution: str) -> str:
        """The drawn solution with ``original`` in its place: another text only where a mined error chose another."""
        return solution[: self.start] + self.original + solution[self.end :]


PAIR_FILTERS = ("type", "error_kind", "form", "editor", "evidence_kind")


class PairRow(Identified, StageColumns, Timestamped, Base):
    """One preference pair: error against no error. ``pair_key`` is unique in a job, so none is stored twice.

    ``rest`` is what follows on both sides to their answers (errata.rests), in JSON; null: a version that stored none.
    """

    __tablename__ = "pairs"
    __table_args__ = (
        UniqueConstraint("job_id", "pair_key"),
        state_check("type", ("step", "full")),
        # Pairs are listed in this order. Every filter, alone and within a job, has an index that ends in it: one with
        # few pairs, or none, would else look through all of them.
        # These two end in the review: pairs without one, or not rejected, are told apart in the index alone.
        Index("ix_pairs_workspace_created", "workspace_id", "created_at", "id", "review"),
        Index("ix_pairs_job_created", "job_id", "created_at", "id", "review"),
        # Most pairs have no review: only the others are in these indexes.
        *(
            Index(
                f"ix_pairs_{owner}_review",
                *(f"{owner}_id", "review", "created_at", "id"),
                postgresql_where=text("review IS NOT NULL"),
                sqlite_where=text("review IS NOT NULL"),
            )
            for owner in ("workspace", "job")
        ),
        # A row that others refer to can be deleted quickly only where these references have an index.
        Index("ix_pairs_problem_id", "problem_id", "created_at", "id"),
        Index("ix_pairs_solution_id", "solution_id"),
        Index("ix_pairs_rejected_solution_id", "rejected_solution_id"),
        Index("ix_pairs_edit_id", "edit_id"),
        *(
            Index(f"ix_pairs_{owner}_{name}", f"{owner}_id", name, "created_at", "id")
            for owner in ("workspace", "job")
            for name in PAIR_FILTERS
        ),
    )
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"))
    solution_id: Mapped[str] = mapped_column(ForeignKey("solutions.id"))
    rejected_solution_id: Mapped[str | None] = mapped_column(ForeignKey("solutions.id"))
    edit_id: Mapped[str | None] = mapped_column(ForeignKey("edits.id"))
    pair_key: Mapped[str]
    type: Mapped[str]
    question: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text, default="")
    chosen: Mapped[str] = mapped_column(Text)
    rejected: Mapped[str] = mapped_column(Text)
    step_index: Mapped[int | None]
    start: Mapped[int | None]
    end: Mapped[int | None]
    error_kind: Mapped[str | None]
    form: Mapped[str | None]
    editor: Mapped[str | None]
    distance: Mapped[int | None]
    evidence_kind: Mapped[str | None]
    evidence: Mapped[dict[str, Any] | None]
    source: Mapped[str]
    language_model: Mapped[str | None]
    prompt_version: Mapped[str | None]
    seed: Mapped[int | None]
    error_rate: Mapped[float | None]  # how often the model errs at the step (errata.mined); null: not measured
    rest: Mapped[dict[str, Any] | None]
    review: Mapped[str | None]  # accepted or rejected: the verdict that stands (models.curation)
