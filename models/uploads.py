"""What OpenAI's routes keep beside our own rows: uploaded files, and what a training run was asked for there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamped
from models.workspaces import Owned

CONTENT = "content"
_FOLDER = "uploads"


class UploadedFile(Owned, Timestamped, Base):
    """A file as it was sent; its content lies in the file store (``upload_folder``) until the file is deleted.

    ``report`` is what its check found: ``format``, ``rows``, ``pairs``, ``samples`` and ``duplicates``.
    """

    __tablename__ = "uploaded_files"
    __table_args__ = (Index("ix_uploaded_files_listed", "workspace_id", "created_at", "id"),)
    name: Mapped[str]
    purpose: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    report: Mapped[dict[str, Any]]


class FineTuningJob(Base):
    """What a training run was asked for through ``/v1/fine_tuning/jobs``; the run itself is the job.

    The files are named and not referred to: a job outlives them. ``hyperparameters`` are resolved ones.
    """

    __tablename__ = "fine_tuning_jobs"
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    training_file: Mapped[str]
    validation_file: Mapped[str | None]
    method: Mapped[str]
    hyperparameters: Mapped[dict[str, Any]]
    job_metadata: Mapped[dict[str, Any] | None]


def upload_folder(file_id: str) -> str:
    """The folder of an uploaded file in the file store; its one file is ``content``."""
    return f"{_FOLDER}/{file_id}"
