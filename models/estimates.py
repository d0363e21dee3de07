"""Estimates: a forecast for an injection job from a pilot, which is a real injection job over a few of the problems.

The pilot's row and everything its stages write belong to a workspace of their own that no key opens. So what hides
other workspaces' rows everywhere (lists, ids, datasets, the dashboard) hides a pilot's: its pairs reach no list and no
dataset.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts import PILOT_WORKSPACE, PILOT_WORKSPACE_NAME, Workspace
from models.base import Base, Timestamped
from models.upserts import insert_ignore


class Estimate(Timestamped, Base):
    """A forecast asked for; ``problems`` is the whole set's size at that time. State and figures are the pilot's."""

    __tablename__ = "estimates"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    pilot_id: Mapped[str] = mapped_column(ForeignKey("injection_jobs.id"), unique=True)
    problems: Mapped[int]


def pilot_workspace(session: Session) -> str:
    """The id of the workspace of pilots, made if need be."""
    insert_ignore(session, Workspace, [{"id": PILOT_WORKSPACE, "name": PILOT_WORKSPACE_NAME}])
    return PILOT_WORKSPACE
