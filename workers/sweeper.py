"""The sweeper: expires leases, re-sends hints that nobody took up, completes jobs whose last worker died.

Any number may run: on PostgreSQL one at a time does, under an advisory lock; SQLite's write lock does the same.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.base import db_now
from models.cached_answers import shrink
from models.completions import forget_unwanted
from models.deletion import purge
from models.events import record
from models.heartbeats import forget_dead
from models.jobs import Shard
from models.leases import OwnerTable, expire, is_waiting, load_owner, owner_in, withdraw_unwanted
from models.logs import DATABASE
from models.receiving import hide_abandoned
from models.retention import delete_old
from models.session import Database, passing, update_returning
from models.settings import StoreSettings
from models.states import JobState, ShardState
from models.telemetry.metrics import HINTS_SENT, LEASES_EXPIRED
from workers.app import GENERATION, GRADING
from workers.dispatch import Dispatcher
from workers.lifecycle import Hint, complete_owner, find_incomplete, stages_of
from workers.settings import WorkerSettings
from workers.stopping import find_stopping, follow_stop

log = logging.getLogger(__name__)
_LOCK = 0x45525241  # "ERRA"
_DELETE_OLD_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    expired: int = 0
    completed: int = 0
    sent: int = 0


class Sweeper:
    """Sweeps once with ``sweep()``, or every ``sweep_seconds`` and at start with ``run``."""

    def __init__(
        self, db: Database, dispatcher: Dispatcher, settings: WorkerSettings, store: StoreSettings | None = None
    ) -> None:
        self._db, self._dispatcher, self._settings = db, dispatcher, settings
        self._store = store  # without one nothing that was deleted is purged
        self._delete_old_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Sweep until ``stop`` is set. What goes wrong is logged and tried again at the next sweep."""
        while not stop.is_set():
            try:
                self.sweep()
            except SQLAlchemyError as error:
                if not passing(error):
                    log.exception("sweep failed, trying again in %s s", self._settings.sweep_seconds)
                DATABASE.away(log, error)
            except Exception:
                log.exception("sweep failed, trying again in %s s", self._settings.sweep_seconds)
            self.purge()
            self.delete_old()
            stop.wait(self._settings.sweep_seconds)

    def purge(self) -> None:
        """Go on with deletions that a request began, and with what killed uploads left. Nothing else waits for it."""
        if self._store is None:
            return
        try:
            hide_abandoned(self._db)
            purge(self._db, self._store, self._settings.sweep_seconds)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and passing(error):
                DATABASE.away(log, error)
            else:
                log.exception("what was deleted cannot be purged, trying again in %s s", self._settings.sweep_seconds)

    def delete_old(self) -> None:
        """Delete what is too old (models.retention), about once an hour. What goes wrong delays nothing else."""
        if time.monotonic() < self._delete_old_at:
            return
        try:
            seconds = self._settings.sweep_seconds
            gone = delete_old(self._db, self._settings.retention, seconds)
            gone["answers_beyond_room"] = shrink(self._db, self._settings.cache_bytes, seconds)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and passing(error):
                DATABASE.away(log, error)
            else:
                log.exception("what is too old cannot be deleted, trying again in %s s", self._settings.sweep_seconds)
            return
        if told := {name: rows for name, rows in gone.items() if rows}:
            log.info("old rows were deleted", extra=told)
        else:  # where there was something there may be more
            self._delete_old_at = time.monotonic() + _DELETE_OLD_SECONDS

    def sweep(self) -> Swept:
        """One sweep: rows first, in one transaction; then what has ended, each by itself; then the hints."""
        room = {queue: self._settings.resend_limit - self._dispatcher.waiting(queue) for queue in (GENERATION, GRADING)}
        with self._db.begin() as session:
            if self._db.is_postgres and not session.scalar(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")):
                return Swept()
            expired = expire(session)
            for shard in expired:
                self._end_interrupted(session, shard)
            session.flush()
            withdraw_unwanted(session)
            forget_dead(session)
            forget_unwanted(session)
            hints = [hint for queue in room for hint in self._due_hints(session, queue, room[queue])]
            incomplete = find_incomplete(session)
            stopping = find_stopping(session)
        hints += [hint for job_id in stopping for hint in self._follow_stop(job_id)]
        # Hints go out after the commit: a worker that is faster than it would find nothing to claim.
        sent = self._dispatcher.send(hints)
        HINTS_SENT.inc(sent)
        for shard in expired:
            LEASES_EXPIRED.labels(shard.stage).inc()
        return Swept(len(expired), sum(self._complete(*row) for row in incomplete), sent)

    def _complete(self, table: OwnerTable, row_id: str) -> bool:
        """In a transaction of its own: a job that cannot be ended (written by another version) delays no other."""
        try:
            with self._db.begin() as session:
                return complete_owner(session, table, row_id) is not None
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("%s cannot be ended", row_id)
            return False

    def _follow_stop(self, job_id: str) -> list[Hint]:
        """Stop a job that reached its limit while the worker that saw it died."""
        try:
            with self._db.begin() as session:
                return follow_stop(session, job_id)
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("the limits of %s cannot be looked at", job_id)
            return []

    def _end_interrupted(self, session: Session, shard: Shard) -> None:
        """Record what happened to an expired shard; with a cancelling owner it must not wait again."""
        owner = load_owner(session, shard)
        if owner.state == JobState.CANCELLING and shard.state == ShardState.QUEUED:
            shard.state = ShardState.CANCELLED
        log.warning("a lease expired", extra={"job": owner.id, "shard": shard.id, "stage": shard.stage})
        kind = "shard_quarantined" if shard.state == ShardState.QUARANTINED else "shard_interrupted"
        record(session, owner.workspace_id, owner.id, kind, shard=shard.id, stage=shard.stage, fence=shard.fence)

    def _due_hints(self, session: Session, queue: str, room: int) -> list[Hint]:
        """Hints for shards that have none on its way, and for those whose hint is old where the queue has room.

        An old hint may be lost or may only wait in a long queue: sent again without end, it would fill the broker.
        """
        wanted = owner_in(JobState.QUEUED, JobState.RUNNING)
        waiting = select(Shard.id).where(is_waiting(), Shard.stage.in_(stages_of(queue)), wanted)
        bare = waiting.where(Shard.hinted_at.is_(None)).order_by(Shard.created_at, Shard.position)
        old = waiting.where(Shard.hinted_at <= db_now(-self._settings.resend_after_seconds)).order_by(Shard.hinted_at)
        # SKIP LOCKED: a shard that a worker is just claiming needs no hint, and is not waited for.
        ids = list(session.scalars(bare.limit(self._settings.resend_limit).with_for_update(skip_locked=True, of=Shard)))
        if room > len(ids):
            ids += session.scalars(old.limit(room - len(ids)).with_for_update(skip_locked=True, of=Shard))
        if ids:
            update_returning(session, Shard, Shard.id.in_(ids), Shard.id, hinted_at=db_now())
        return [Hint(shard_id, queue) for shard_id in ids]
