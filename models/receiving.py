"""A problem set that is still coming in: rows are stored while more are read, and none is seen before it is shown.

A set that is coming in stands in a workspace that no key opens. Its rows go in in small transactions, so that an upload
of a million problems keeps no writer waiting. ``show`` gives the set to its workspace, in the caller's transaction.
A set that is not shown is hidden (models.deletion) when its ``Receiving`` is closed. Of a process that was killed the
sweeper hides it, once ``ABANDONED_SECONDS`` have passed without a row. ``created_at`` says when the last rows came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.base import db_now
from models.bulk import insert_lines
from models.deletion import hide
from models.session import Database, insert_ignore
from models.workspaces import RECEIVING_WORKSPACE, RECEIVING_WORKSPACE_NAME, ProblemRow, ProblemSet, Workspace

ABANDONED_SECONDS = 900.0
_WAITING = 2  # pieces that may wait while one is stored: reading goes on meanwhile, and memory stays flat
_SQLITE_ROWS = 1000  # of one transaction: it keeps every other writer waiting


class ReceivingLost(Exception):
    """The set was taken for abandoned, and is being deleted."""


class Receiving:
    """Stores the rows of one set piece by piece. Belongs to one thread; nothing is written before the first piece."""

    def __init__(self, db: Database, set_id: str, columns: Sequence[str]) -> None:
        """``columns``: of ``ProblemRow``, as the lines have them."""
        self._db, self._set_id, self._columns = db, set_id, columns
        # PostgreSQL stores a piece while the next is read. SQLite would only take turns with itself.
        self._pool = ThreadPoolExecutor(1, "receiving") if db.is_postgres else None
        self._pending: deque[Future[None]] = deque()
        self._shown = False
        self.begun = False

    def add(self, lines: bytes) -> None:
        """Store lines of ``RowFile.take``, now or soon. Raises what storing them, or earlier ones, raises."""
        if not self.begun:
            self._begin()
        if self._pool is None:
            for part in _parts(lines, _SQLITE_ROWS):
                self._store(part)
            return
        while len(self._pending) > _WAITING:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._store, lines))

    def finish(self) -> None:
        """Wait until everything is stored. Raises as ``add``."""
        while self._pending:
            self._pending.popleft().result()

    def show(self, session: Session, **values: Any) -> None:
        """Give the set to its workspace, with ``values``, in the caller's transaction. Raises ReceivingLost."""
        changed = update(ProblemSet).where(
            ProblemSet.id == self._set_id, ProblemSet.workspace_id == RECEIVING_WORKSPACE
        )
        result: Any = session.execute(changed.values(created_at=db_now(), **values))
        if result.rowcount != 1:
            raise ReceivingLost(self._set_id)
        self._shown = True

    def _begin(self) -> None:
        with self._db.begin() as session:
            insert_ignore(session, Workspace, [{"id": RECEIVING_WORKSPACE, "name": RECEIVING_WORKSPACE_NAME}])
            session.add(
                ProblemSet(id=self._set_id, workspace_id=RECEIVING_WORKSPACE, name="", domain="", content_sha256="")
            )
        self.begun = True

    def _store(self, lines: bytes) -> None:
        with self._db.begin() as session:
            here = ProblemSet.id == self._set_id, ProblemSet.workspace_id == RECEIVING_WORKSPACE
            changed: Any = session.execute(update(ProblemSet).where(*here).values(created_at=db_now()))
            if changed.rowcount != 1:
                raise ReceivingLost(self._set_id)
            insert_lines(session, ProblemRow, self._columns, lines)

    def __enter__(self) -> Receiving:
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self.begun and (kind is not None or not self._shown):
            # The transaction that showed it may have been rolled back: the row itself tells.
            _hide(self._db, ProblemSet.id == self._set_id)


def hide_abandoned(db: Database, seconds: float = ABANDONED_SECONDS) -> int:
    """Hide the sets that no row has come for in so many seconds; how many those were. ``purge`` then deletes them."""
    return _hide(db, ProblemSet.created_at < db_now(-seconds))


def _hide(db: Database, condition: Any) -> int:
    query = select(ProblemSet).where(ProblemSet.workspace_id == RECEIVING_WORKSPACE, condition)
    with db.read() as session:  # a sweep without any takes no write lock
        if session.scalars(query.limit(1)).first() is None:
            return 0
    with db.begin() as session:
        rows = session.scalars(query.with_for_update(skip_locked=True)).all()
        if rows:
            hide(session, rows)
        return len(rows)


def _parts(lines: bytes, rows: int) -> Iterator[bytes]:
    whole = lines.splitlines(keepends=True)  # breaks in values are escaped
    for at in range(0, len(whole), rows):
        yield b"".join(whole[at : at + rows])
