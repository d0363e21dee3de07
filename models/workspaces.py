"""What a workspace has before any job: its keys, the registry of language models, problem sets and their problems."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, Timestamped

DEFAULT_WORKSPACE = "ws_default"
PILOT_WORKSPACE, PILOT_WORKSPACE_NAME = "ws_pilots", "(pilots)"
"""The workspace of the pilots of estimates (models.jobs.Estimate). No key may be made for it."""

DELETED_WORKSPACE, DELETED_WORKSPACE_NAME = "ws_deleted", "(deleted)"
"""The workspace of rows that are being deleted (models.deletion). No key may be made for it."""

RECEIVING_WORKSPACE, RECEIVING_WORKSPACE_NAME = "ws_receiving", "(receiving)"
"""The workspace of problem sets that are still coming in (models.receiving). No key may be made for it."""
RESERVED_NAMES = (PILOT_WORKSPACE_NAME, DELETED_WORKSPACE_NAME, RECEIVING_WORKSPACE_NAME)


class Workspace(Identified, Timestamped, Base):
    """Owner of every row; rows of other workspaces are invisible."""

    __tablename__ = "workspaces"
    name: Mapped[str] = mapped_column(unique=True)


class Owned(Identified):
    """A row of one workspace."""

    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)


class ApiKey(Owned, Timestamped, Base):
    """``errata_<id>_<secret>``; of the secret only its SHA-256 (hex) is kept.

    ``created_by`` is the actor that made it (models.access.AuditEntry), ``replaced_by`` the key it was rotated to.
    """

    __tablename__ = "api_keys"
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[Any]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[str | None]
    replaced_by: Mapped[str | None]


class IdempotencyKey(Timestamped, Base):
    """One row per workspace, route and key; ``resource_id`` is null while the first request is in flight."""

    __tablename__ = "idempotency_keys"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    resource_id: Mapped[str | None]


class LanguageModel(Owned, Timestamped, Base):
    """A name, the engine that serves it and what that engine needs; operators' entries have no training run.

    ``config`` for engine ``transformers``: ``path`` (folder or hub id), ``revision``, ``dtype``, ``device``,
    ``max_context``, ``batch_size``; for ``openai``: ``base_url``, ``model``, ``api_key_env``, ``concurrency``; for
    ``vllm``: ``path``, ``revision``, ``tensor_parallel``, ``gpu_memory_utilization``, ``dtype``, ``quantization``; the
    latter two also ``adapter``. docs/engines.md has them all.
    """

    __tablename__ = "language_models"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)
    name: Mapped[str]
    engine: Mapped[str]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    base_model_id: Mapped[str | None] = mapped_column(ForeignKey("language_models.id"))
    training_run_id: Mapped[str | None]
    fingerprint: Mapped[str | None]


class ProblemSet(Owned, Timestamped, Base):
    """A set of problems of one domain, as posted.

    ``content_sha256`` covers the problems as stored; ``upload_sha256`` the body that brought them and how it was read.
    ``rejected`` and ``notes`` list what was told about rows, equal texts once, with their count and first lines.
    ``benchmark``: its questions are to stand in no dataset; the gate ``contamination`` looks for them.
    ``license`` and ``source_url``: on what terms the problems may be used and where they come from, as its sender told;
    datasets made from them name both.
    """

    __tablename__ = "problem_sets"
    name: Mapped[str]
    domain: Mapped[str]
    problem_count: Mapped[int] = mapped_column(default=0)
    content_sha256: Mapped[str]
    upload_sha256: Mapped[str | None]
    rejected: Mapped[list[Any]] = mapped_column(default=list)
    benchmark: Mapped[bool] = mapped_column(default=False, server_default=false())
    rejected_count: Mapped[int | None]
    notes: Mapped[list[Any] | None]
    license: Mapped[str | None]
    source_url: Mapped[str | None] = mapped_column(Text)


class ProblemRow(Identified, Base):
    """One problem; ``position`` counts from 0 in posting order."""

    __tablename__ = "problems"
    __table_args__ = (
        UniqueConstraint("problem_set_id", "position"),
        Index("ix_problems_external_id", "external_id", "problem_set_id"),
    )
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    position: Mapped[int]
    external_id: Mapped[str | None]
    question: Mapped[str] = mapped_column(Text)
    gold_answer: Mapped[str] = mapped_column(Text)
    gold_solution: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None]
    level: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)


class BroughtSolution(Identified, Timestamped, Base):
    """A solution brought along, keyed by problem and source: two sources may write the same text.

    ``label`` is the sender's own correctness label where given: compared with our verdict, never used for it.
    """

    __tablename__ = "brought_solutions"
    __table_args__ = (UniqueConstraint("problem_id", "source"),)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    source: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    label: Mapped[bool | None]
