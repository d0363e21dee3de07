"""Studies and campaigns: jobs that start other jobs, and which rows they made for what.

A part is written in the transaction that makes its row, under a lock on the study: looking at a study again makes
nothing twice, and a process that is killed leaves either both or neither.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamped
from models.jobs import JobColumns
from models.states import JobState, state_check


class Study(JobColumns, Base):
    """Arms x seeds under equal budgets, compared on test problems. ``result`` has the table."""

    __tablename__ = "studies"
    __table_args__ = (state_check("state", JobState),)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    validation_set_id: Mapped[str | None] = mapped_column(ForeignKey("problem_sets.id"))
    test_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"))
    language_model_id: Mapped[str] = mapped_column(ForeignKey("language_models.id"))
    name: Mapped[str | None]
    config: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]


class StudyPart(Timestamped, Base):
    """A row that a study made. ``key`` says what for, the same however often the study is looked at."""

    __tablename__ = "study_parts"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[str]


class Campaign(JobColumns, Base):
    """Rounds of injection, training and evaluation, each with the newest model. ``result`` has the rounds."""

    __tablename__ = "campaigns"
    __table_args__ = (state_check("state", JobState),)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    evaluation_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"))
    language_model_id: Mapped[str] = mapped_column(ForeignKey("language_models.id"))
    name: Mapped[str | None]
    config: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]


class CampaignPart(Timestamped, Base):
    """A row that a campaign made; see StudyPart."""

    __tablename__ = "campaign_parts"
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[str]
