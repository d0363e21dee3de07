"""Generated answers that are kept for requests that come again (workers.stages.request_cache).

An answer belongs to one workspace, and is found by the digest of everything it follows from. It is read and written
beside the stages' own transactions: none of them waits for it or depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, and_, delete, func, select, tuple_, update
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, db_now
from models.session import Database, insert_ignore

_ROWS = 500  # per statement
_TOUCH_SECONDS = 86_400.0


class CachedAnswer(Base):
    """One completion. ``tokens`` were generated for it; ``size`` is its text's in bytes (UTF-8).

    ``used_at``: when it was made or last served, to the day.
    """

    __tablename__ = "cached_answers"
    __table_args__ = (Index("ix_cached_answers_used_at", "used_at"),)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    finish_reason: Mapped[str]
    tokens: Mapped[int]
    size: Mapped[int]
    used_at: Mapped[datetime] = mapped_column(default=db_now())


class Kept(NamedTuple):
    """What is kept of an answer."""

    text: str
    finish_reason: str
    tokens: int


def find_answers(db: Database, workspace_id: str, keys: Sequence[bytes]) -> dict[bytes, Kept]:
    """The workspace's answers to these keys, as far as there are any; they count as used now."""
    found: dict[bytes, Kept] = {}
    idle: list[bytes] = []
    of = CachedAnswer
    stale = of.used_at < db_now(-_TOUCH_SECONDS)
    with db.look() as session:
        for at in range(0, len(keys), _ROWS):
            wanted = and_(of.workspace_id == workspace_id, of.key.in_(keys[at : at + _ROWS]))
            query = select(of.key, of.text, of.finish_reason, of.tokens, stale).where(wanted)
            for key, text, reason, tokens, is_idle in session.execute(query):
                found[key] = Kept(text, reason, tokens)
                idle += [key] if is_idle else []
    if idle:
        with db.begin() as session:
            for key in sorted(idle):  # in one order everywhere, so that two writers never wait for each other
                mine = and_(of.workspace_id == workspace_id, of.key == key)
                session.execute(update(of).where(mine).values(used_at=db_now()))
    return found


def keep_answers(db: Database, workspace_id: str, answers: Mapping[bytes, Kept]) -> int:
    """Keep the answers whose keys are new, in a transaction of their own; how many those were."""
    rows = [
        {"workspace_id": workspace_id, "key": key, "size": len(answers[key].text.encode()), **answers[key]._asdict()}
        for key in sorted(answers)
    ]
    new = 0
    for at in range(0, len(rows), _ROWS):
        with db.begin() as session:
            new += insert_ignore(session, CachedAnswer, rows[at : at + _ROWS])
    return new


def shrink(db: Database, most_bytes: int, seconds: float = float("inf")) -> int:
    """Delete the answers that were used longest ago until the texts of the others fit; how many went.

    In small transactions, for about ``seconds``; the next call goes on.
    """
    until, gone, of = time.monotonic() + seconds, 0, CachedAnswer
    with db.read() as session:
        size = int(session.scalar(select(func.coalesce(func.sum(of.size), 0))) or 0)
    while size > most_bytes and time.monotonic() <= until:
        with db.begin() as session:
            oldest = select(of.workspace_id, of.key, of.size).order_by(of.used_at, of.key).limit(_ROWS)
            some: list[tuple[str, bytes]] = []
            for workspace_id, key, each in session.execute(oldest):
                if size <= most_bytes:
                    break
                some.append((workspace_id, key))
                size -= each
            if not some:
                break
            session.execute(
                delete(of).where(tuple_(of.workspace_id, of.key).in_(some)).execution_options(synchronize_session=False)
            )
        gone += len(some)
    return gone
