"""Recording and reading events: what happened to a job, dataset, run or evaluation, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.outputs import Event


def record(session: Session, workspace_id: str, subject_id: str, kind: str, **data: Any) -> None:
    """Add one event in the caller's transaction: it is seen exactly when what it tells of is."""
    session.add(Event(workspace_id=workspace_id, subject_id=subject_id, type=kind, data=data))


def after(session: Session, subject_id: str, last_id: int = 0, limit: int = 100) -> Sequence[Event]:
    """Up to ``limit`` events of one subject with an id above ``last_id``, oldest first."""
    query = select(Event).where(Event.subject_id == subject_id, Event.id > last_id).order_by(Event.id).limit(limit)
    return session.scalars(query).all()
