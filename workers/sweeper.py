"""The sweeper: expires leases, re-sends hints nobody took up, ends jobs whose last worker died before it could.

Any number may run: on PostgreSQL one at a time does, under an advisory lock; SQLite's write lock does the same.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from sqlalchemy import delete, exists, or_, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.accounts import IdempotencyKey
from models.base import db_now
from models.events import record
from models.jobs import Shard
from models.leases import OWNERS, expire, load_owner, waits
from models.session import Database
from models.states import JobState, ShardState
from workers.dispatch import Dispatcher
from workers.planning import Hint, hint_for
from workers.settings import WorkerSettings
from workers.settle import settle_all

log = logging.getLogger(__name__)
_LOCK = 0x45525241  # "ERRA"


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    expired: int = 0
    settled: int = 0
    sent: int = 0


class Sweeper:
    """Sweeps once with ``sweep()``, or every ``sweep_seconds`` and at start with ``run``."""

    def __init__(self, db: Database, dispatcher: Dispatcher, settings: WorkerSettings) -> None:
        self._db, self._dispatcher, self._settings = db, dispatcher, settings

    def run(self, stop: threading.Event) -> None:
        """Sweep until ``stop`` is set. A lost database is logged and tried again at the next sweep."""
        while not stop.is_set():
            try:
                self.sweep()
            except SQLAlchemyError as error:
                log.warning("sweep failed, trying again in %s s: %s", self._settings.sweep_seconds, error)
            stop.wait(self._settings.sweep_seconds)

    def sweep(self) -> Swept:
        """One sweep: rows first, in one transaction; then the hints, after its commit."""
        with self._db.begin() as session:
            if self._db.is_postgres and not session.scalar(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")):
                return Swept()
            expired = expire(session)
            for shard in expired:
                self._tell(session, shard)
            session.flush()
            settled = settle_all(session)
            self._forget_keys(session)
            hints = self._forgotten(session)
        return Swept(len(expired), settled, self._dispatcher.send(hints))

    def _tell(self, session: Session, shard: Shard) -> None:
        owner = load_owner(session, shard)
        if owner.state == JobState.CANCELLING and shard.state == ShardState.QUEUED:
            shard.state = ShardState.CANCELLED
        kind = "shard_quarantined" if shard.state == ShardState.QUARANTINED else "shard_interrupted"
        record(session, owner.workspace_id, owner.id, kind, shard=shard.id, stage=shard.stage, fence=shard.fence)

    def _forget_keys(self, session: Session) -> None:
        old = IdempotencyKey.created_at < db_now(-86400 * self._settings.idempotency_days)
        session.execute(delete(IdempotencyKey).where(old).execution_options(synchronize_session=False))

    def _forgotten(self, session: Session) -> list[Hint]:
        settings = self._settings
        wanted = or_(
            *(
                exists().where(table.id == getattr(Shard, column), table.state.in_([JobState.QUEUED, JobState.RUNNING]))
                for column, table in OWNERS
            )
        )
        waiting = (
            select(Shard.id)
            .where(
                waits(),
                or_(Shard.hinted_at.is_(None), Shard.hinted_at <= db_now(-settings.resend_after_seconds)),
                wanted,
            )
            .order_by(Shard.created_at, Shard.position)
            .limit(settings.resend_limit)
        )
        ids = list(session.scalars(waiting))
        if not ids:
            return []
        marked = update(Shard).where(Shard.id.in_(ids)).values(hinted_at=db_now()).returning(Shard.id, Shard.stage)
        rows = {row.id: row.stage for row in session.execute(marked.execution_options(synchronize_session=False))}
        return [hint_for(shard_id, rows[shard_id]) for shard_id in ids if shard_id in rows]
