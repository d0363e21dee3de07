"""Which processes live: each tells the database from time to time what it does and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, db_now

BEATS_MISSED = 4
_FORGOTTEN_SECONDS = 86_400.0


class ProcessBeat(Base):
    """One role of one process. It counts as heard until ``expires_at``; ``away`` names the engines it cannot reach."""

    __tablename__ = "process_beats"
    process: Mapped[str] = mapped_column(primary_key=True)  # host:pid
    role: Mapped[str] = mapped_column(primary_key=True)  # generation, grading or sweeper
    started_at: Mapped[datetime] = mapped_column(default=db_now())
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    away: Mapped[list[Any]] = mapped_column(default=list)


def beat(session: Session, process: str, role: str, seconds: float, away: Sequence[str] = ()) -> None:
    """Tell that a process lives, and will again within ``seconds``."""
    make: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[session.get_bind().dialect.name]
    told = {"seen_at": db_now(), "expires_at": db_now(seconds * BEATS_MISSED), "away": sorted(away)}
    row = make(ProcessBeat).values(process=process, role=role, started_at=db_now(), **told)
    session.execute(row.on_conflict_do_update(index_elements=["process", "role"], set_=told))


def leave(session: Session, process: str, role: str) -> None:
    """Tell that a process ends."""
    session.execute(delete(ProcessBeat).where(ProcessBeat.process == process, ProcessBeat.role == role))


def forget_dead(session: Session) -> None:
    """Delete what processes that ended without a word left behind a day ago."""
    old = ProcessBeat.expires_at < db_now(-_FORGOTTEN_SECONDS)
    session.execute(delete(ProcessBeat).where(old).execution_options(synchronize_session=False))


def heard(session: Session) -> Sequence[ProcessBeat]:
    """Every role of every process that lives, as far as it told."""
    living = select(ProcessBeat).where(ProcessBeat.expires_at > db_now())
    return session.scalars(living.order_by(ProcessBeat.role, ProcessBeat.process)).all()
