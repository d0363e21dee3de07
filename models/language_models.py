"""The registry of language models: the only names a job may use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamped


class LanguageModel(Timestamped, Base):
    """A name, the engine that serves it and what that engine needs; operators' entries have no training run.

    ``config`` for engine ``transformers``: ``path`` (folder or hub id), ``revision``, ``dtype``, ``device``,
    ``max_context``, ``batch_size``; for ``openai``: ``base_url``, ``model``, ``api_key_env``, ``concurrency``; for
    ``vllm``: ``path``, ``revision``, ``tensor_parallel``, ``gpu_memory_utilization``, ``dtype``, ``quantization``; the
    latter two also ``adapter``. docs/engines.md has them all.
    """

    __tablename__ = "language_models"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    name: Mapped[str]
    engine: Mapped[str]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    base_model_id: Mapped[str | None] = mapped_column(ForeignKey("language_models.id"))
    training_run_id: Mapped[str | None]
    fingerprint: Mapped[str | None]
