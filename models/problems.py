"""Problem sets, their problems, and solutions brought along instead of sampled."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamped


class ProblemSet(Timestamped, Base):
    """A set of problems of one domain, as posted. ``rejected`` lists bad rows with line number and reason."""

    __tablename__ = "problem_sets"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    name: Mapped[str]
    domain: Mapped[str]
    problem_count: Mapped[int] = mapped_column(default=0)
    content_sha256: Mapped[str]
    rejected: Mapped[list[Any]] = mapped_column(default=list)


class ProblemRow(Base):
    """One problem; ``position`` counts from 0 in posting order."""

    __tablename__ = "problems"
    __table_args__ = (UniqueConstraint("problem_set_id", "position"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    position: Mapped[int]
    external_id: Mapped[str | None]
    question: Mapped[str] = mapped_column(Text)
    gold_answer: Mapped[str] = mapped_column(Text)
    gold_solution: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None]
    level: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)


class BroughtSolution(Timestamped, Base):
    """A solution brought along, keyed by problem and source: two sources may write the same text.

    ``label`` is the sender's own correctness label where given: compared with our verdict, never used for it.
    """

    __tablename__ = "brought_solutions"
    __table_args__ = (UniqueConstraint("problem_id", "source"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    problem_set_id: Mapped[str] = mapped_column(ForeignKey("problem_sets.id"), index=True)
    problem_id: Mapped[str] = mapped_column(ForeignKey("problems.id"))
    source: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    label: Mapped[bool | None]
