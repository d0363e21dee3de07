"""Completions that are being answered: a row each, with the pieces that a worker writes and the API reads.

A row lives as long as its request. The API adds it, says from time to time that the client is still there, and deletes
it when the answer is delivered or the client has left; a worker that misses its row stops generating. The sweeper
deletes what an API process that died left behind, so no prompt is kept for longer than about a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, case, delete, func, literal, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Timestamped, db_now
from models.session import update_returning
from models.states import state_check
from models.workspaces import Owned

CompletionState = Literal["waiting", "running", "done", "failed"]
WANTED_SECONDS = 60.0  # the API says more often than this that the client is still there
LEASE_SECONDS = 10.0  # a worker that answers says more often than this that it lives
_OPEN: tuple[CompletionState, ...] = ("waiting", "running")

Piece = tuple[int, str, str | None]
"""What was added to one choice: its index, the text, and how it ended, if it did."""


class CompletionRow(Owned, Timestamped, Base):
    """One request for completions. ``request`` is what workers.completions reads; ``seen`` counts its pieces.

    ``language_model_id`` is no foreign key: a model may be deleted meanwhile, and the answer then fails.
    """

    __tablename__ = "completions"
    __table_args__ = (
        state_check("state", ("waiting", "running", "done", "failed")),
        Index("ix_completions_waiting", "state", "created_at", "id"),
    )
    language_model_id: Mapped[str]
    request: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="waiting")
    holder: Mapped[str | None]  # the worker that answers
    lease_until: Mapped[datetime | None]
    wanted_until: Mapped[datetime]
    error: Mapped[dict[str, Any] | None]
    usage: Mapped[dict[str, Any] | None]


class CompletionPieceRow(Base):
    """What a worker wrote at once: pieces of one or several choices, in order by ``number``."""

    __tablename__ = "completion_pieces"
    completion_id: Mapped[str] = mapped_column(ForeignKey("completions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    pieces: Mapped[list[Any]]


@dataclass(frozen=True, slots=True)
class News:
    """What a look at a completion found: ``state`` is None where its row is gone, ``lost`` where its worker died."""

    state: CompletionState | None
    pieces: tuple[Piece, ...] = ()
    number: int = 0  # of the last piece row seen
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    lost: bool = False


def add(session: Session, row_id: str, workspace_id: str, language_model_id: str, request: dict[str, Any]) -> None:
    """Add a completion that waits for a worker."""
    wanted = {"wanted_until": db_now(WANTED_SECONDS)}
    session.add(
        CompletionRow(
            id=row_id, workspace_id=workspace_id, language_model_id=language_model_id, request=request, **wanted
        )
    )


def open_completions(session: Session, workspace_id: str) -> int:
    """How many requests of a workspace are being answered or wait for it."""
    found = select(func.count()).where(CompletionRow.workspace_id == workspace_id, CompletionRow.state.in_(_OPEN))
    return session.scalar(found) or 0


def look(session: Session, row_id: str, after: int) -> News:
    """What is new behind the piece row ``after``. The state is read first: behind an end no piece is missing."""
    lost = case((CompletionRow.lease_until < db_now(), True), else_=False)
    columns = (CompletionRow.state, CompletionRow.error, CompletionRow.usage, lost.label("lost"))
    found = session.execute(select(*columns).where(CompletionRow.id == row_id)).one_or_none()
    if found is None:
        return News(None, number=after)
    rows = session.execute(
        select(CompletionPieceRow.number, CompletionPieceRow.pieces)
        .where(CompletionPieceRow.completion_id == row_id, CompletionPieceRow.number > after)
        .order_by(CompletionPieceRow.number)
    ).all()
    pieces = tuple((int(index), str(text), end) for row in rows for index, text, end in row.pieces)
    number = rows[-1].number if rows else after
    return News(found.state, pieces, number, found.error, found.usage, found.state == "running" and bool(found.lost))


def want(session: Session, row_id: str) -> None:
    """Say that the client is still there."""
    row = update(CompletionRow).where(CompletionRow.id == row_id)
    session.execute(row.values(wanted_until=db_now(WANTED_SECONDS)))


def remove(session: Session, row_id: str) -> None:
    """Delete a completion with its pieces; a worker that answers it stops soon."""
    session.execute(delete(CompletionRow).where(CompletionRow.id == row_id))


def any_waiting(session: Session) -> bool:
    """Whether a completion waits for a worker. Takes no lock."""
    return session.scalar(select(literal(1)).where(CompletionRow.state == "waiting").limit(1)) is not None


def claim(session: Session, holder: str) -> CompletionRow | None:
    """Take the completion that has waited longest, if there is one."""
    oldest = select(CompletionRow.id).where(CompletionRow.state == "waiting")
    oldest = oldest.order_by(CompletionRow.created_at, CompletionRow.id).limit(1)
    row_id = session.scalar(oldest.with_for_update(skip_locked=True))
    if row_id is None:
        return None
    lease = {"holder": holder, "lease_until": db_now(LEASE_SECONDS), "state": "running"}
    changed = update_returning(session, CompletionRow, CompletionRow.id == row_id, CompletionRow, **lease)
    row: CompletionRow = changed.scalar_one()
    return row


def write(
    session: Session,
    row_id: str,
    holder: str,
    number: int,
    pieces: Sequence[Piece],
    **values: Any,
) -> bool:
    """Extend the holder's lease, set ``values``, and store these pieces; False where the completion is no longer its.

    A completion is no longer its holder's when the client has left, or when it was taken for dead.
    """
    values.setdefault("lease_until", db_now(LEASE_SECONDS))
    mine = (CompletionRow.id == row_id) & (CompletionRow.holder == holder) & (CompletionRow.state == "running")
    if update_returning(session, CompletionRow, mine, CompletionRow.id, **values).first() is None:
        return False
    if pieces:
        session.add(CompletionPieceRow(completion_id=row_id, number=number, pieces=[list(piece) for piece in pieces]))
    return True


def forget_unwanted(session: Session) -> None:
    """Delete what no client waits for: an API process that died could not."""
    old = CompletionRow.wanted_until < db_now()
    session.execute(delete(CompletionRow).where(old).execution_options(synchronize_session=False))
