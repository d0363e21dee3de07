"""Running one shard's stage: claim, compute under a heartbeat, finish fenced, hint, settle.

Two short transactions around a long computation with no session open. What goes wrong has one of four ends:
*cancelled* (the owner wants no more), *released* (graceful stop, or an engine that is away), *failed* (the stage
raised, or a child it started died), *interrupted* (lease or database lost: nothing is written, the sweeper requeues; or
an engine died that worked for other shards too: requeued at once).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models import leases
from models.events import record
from models.jobs import Shard
from models.leases import Lease, load_owner, owner_of
from models.session import Database, passing
from models.settings import StoreSettings
from models.states import JobState, ShardState
from workers.app import GRADING
from workers.dispatch import Dispatcher
from workers.engines.base import Cancelled, EngineError
from workers.journal import record_journal, record_unavailable
from workers.judge import JudgePool
from workers.planning import FIRST, hint_for, stages_of
from workers.settings import WorkerSettings
from workers.settle import settle
from workers.stages.base import Finish, Generator, StageContext, StageFunction
from workers.stages.ledger import add_seconds

log = logging.getLogger(__name__)
_WRITE_AGAIN_SECONDS = 1.0
_AT_ONCE = "advanced, and goes on at once"
_WITHDRAWN = "cancelled before its next stage"
_MAY_WAIT_AGAIN = frozenset({"released", "failed", "bereft"})
_claiming = threading.Lock()  # "alone" is decided per worker: two threads of one must not claim at the same moment


def worker_name() -> str:
    """``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass
class Services:
    """What a worker process holds for its lifetime."""

    db: Database
    store: StoreSettings
    settings: WorkerSettings
    dispatcher: Dispatcher
    engines: Generator
    judge: JudgePool
    stages: dict[str, StageFunction]
    stopping: threading.Event = field(default_factory=threading.Event)
    name: str = field(default_factory=worker_name)


class Heart:
    """Keeps a lease alive from a thread of its own and knows whether the stage should stop."""

    def __init__(self, services: Services, lease: Lease) -> None:
        self._services, self._lease = services, lease
        self._done = threading.Event()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heart-{lease.shard_id}", daemon=True)

    def should_stop(self) -> bool:
        """Whether the stage's result is no longer wanted, or the worker is stopping."""
        return self.lost.is_set() or self._services.stopping.is_set()

    @contextmanager
    def beating(self) -> Iterator[Heart]:
        """Beat while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._done.set()
            self._thread.join()

    def _run(self) -> None:
        settings = self._services.settings
        last = time.monotonic()
        while not self._done.wait(min(settings.cancel_poll_seconds, settings.heartbeat_seconds)):
            due = time.monotonic() - last >= settings.heartbeat_seconds
            try:
                alive = self._beat() if due else self._wanted()
            except SQLAlchemyError as error:
                log.warning("heartbeat of %s failed: %s", self._lease.shard_id, error)
                alive = time.monotonic() - last < settings.lease_seconds
            else:
                last = time.monotonic() if due else last
            if not alive:
                self.lost.set()
                return

    def _beat(self) -> bool:
        with self._services.db.begin() as session:
            return leases.heartbeat(session, self._lease, self._services.settings.lease_seconds)

    def _wanted(self) -> bool:
        with self._services.db.read() as session:
            return leases.is_wanted(session, self._lease)


def run_shard(services: Services, shard_id: str, queue: str | None = None) -> str:
    """Run the shard's current stage if it can be claimed. The answer names what happened, for logs and tests.

    With the ``queue`` its hint came by, a shard of the same job that should go first is run in its place, and another
    one where the named shard is past this: there are as many hints as shards that wait, whichever they name.
    """
    if services.stopping.is_set():
        return "stopping"
    lease = _claim(services, shard_id, queue)
    if lease is None:
        return "not claimed"
    outcome = _attempt(services, lease, queue)
    if outcome == _WITHDRAWN or (outcome in _MAY_WAIT_AGAIN and not _still_waits(services, lease)):
        return _settle(services, lease, outcome)
    return run_shard(services, lease.shard_id, queue) if outcome == _AT_ONCE else outcome


def _claim(services: Services, shard_id: str, queue: str | None) -> Lease | None:
    holder = (services.name, services.settings.lease_seconds)
    with _claiming, services.db.begin() as session:
        if queue is None:
            return leases.claim(session, shard_id, *holder)
        refused = None
        while True:
            chosen = leases.balanced(session, shard_id, FIRST[queue])
            if chosen is None or chosen.id == refused:
                return None
            lease = leases.claim(session, chosen.id, *holder, stages_of(queue))
            if lease is not None:
                return lease
            refused = chosen.id  # by another worker that was faster: then others still wait
            session.expire_all()


def _still_waits(services: Services, lease: Lease) -> bool:
    """False: the shard ended instead, because its owner is being cancelled; it may have been the last one."""
    with services.db.read() as session:
        return session.scalar(select(Shard.state).where(Shard.id == lease.shard_id)) != ShardState.CANCELLED


def _attempt(services: Services, lease: Lease, queue: str | None) -> str:
    with Heart(services, lease).beating() as heart:
        context = StageContext(services.db, services.store, lease, services.engines, services.judge, heart.should_stop)
        started = time.monotonic()
        try:
            finish = services.stages[lease.stage](context)
        except Cancelled:
            return _stopped(services, lease)
        except EngineError as error:
            if error.shared:
                return _bereft(services, context, error)
            return _engine_away(services, context, error) if error.retryable else _failed(services, lease, error)
        except SQLAlchemyError as error:
            return "interrupted" if passing(error) else _failed(services, lease, error)
        except Exception as error:
            return _failed(services, lease, error)
        outcome = _store(services, context, finish, time.monotonic() - started, heart)
    return outcome or _go_on(services, lease, finish, queue)


def _store(services: Services, context: StageContext, finish: Finish, seconds: float, heart: Heart) -> str | None:
    """Write what the stage made, waiting for a database that is away as long as the lease holds.

    None: written, and the shard goes on.
    """
    lease = context.lease
    while True:
        try:
            with services.db.begin() as session:
                shard = leases.finish(session, lease, finish.next_stage)
                if shard is None:
                    return "discarded"
                finish.write(session)
                record_journal(session, lease, context.journal)
                add_seconds(session, lease, seconds, context.journal.seconds)
            return _WITHDRAWN if shard.state == ShardState.CANCELLED else None
        except SQLAlchemyError as error:
            if not passing(error):
                return _failed(services, lease, error)
            # Perhaps an ambiguous commit: then the fence refuses the next try, and the sweeper goes on from the row.
            log.warning("the end of stage %s of %s is not written yet: %s", lease.stage, lease.shard_id, error)
            if heart.should_stop():
                return "interrupted"
            time.sleep(_WRITE_AGAIN_SECONDS)
        except Exception as error:
            return _failed(services, lease, error)


def _go_on(services: Services, lease: Lease, finish: Finish, queue: str | None) -> str:
    if finish.next_stage is None:
        return _settle(services, lease, "done")
    hint = hint_for(lease.shard_id, finish.next_stage)
    if hint.queue == queue == GRADING and not services.stopping.is_set():
        return _AT_ONCE  # proof and pairs are short: between them a message would cost more than they
    services.dispatcher.send([hint])
    return "advanced"


def _settle(services: Services, lease: Lease, outcome: str) -> str:
    with services.db.begin() as session:
        table, owner_id = owner_of(session.get_one(Shard, lease.shard_id))
        settle(session, table, owner_id)
    return outcome


def _stopped(services: Services, lease: Lease) -> str:
    """The stage was told to stop: the owner is cancelling, the lease is lost, or this worker is stopping."""
    with services.db.begin() as session:
        shard = session.scalars(select(Shard).where(Shard.id == lease.shard_id)).one()
        cancelling = load_owner(session, shard).state == JobState.CANCELLING
        ended = leases.cancel(session, lease) if cancelling else leases.release(session, lease)
    if not ended:
        return "discarded"
    if cancelling:
        return _settle(services, lease, "cancelled")
    services.dispatcher.send([hint_for(lease.shard_id, lease.stage)])
    return "released"


def _engine_away(services: Services, context: StageContext, error: EngineError) -> str:
    lease = context.lease
    delay = max(services.settings.engine_retry_seconds, error.wait_seconds)
    with services.db.begin() as session:
        if leases.release(session, lease, delay_seconds=delay):
            record_unavailable(session, lease, str(error))
            record_journal(session, lease, context.journal)
    return "released"


def _bereft(services: Services, context: StageContext, error: EngineError) -> str:
    """The engine died under several shards: an interruption for each, until the one to blame runs alone."""
    lease = context.lease
    with services.db.begin() as session:
        shard = session.get_one(Shard, lease.shard_id)
        owner = load_owner(session, shard)
        if not leases.interrupt(session, lease):
            return "discarded"
        about = {"shard": shard.id, "stage": lease.stage, "fence": lease.fence, "error": str(error)[:500]}
        record(session, owner.workspace_id, owner.id, "shard_interrupted", **about)
    services.dispatcher.send([hint_for(lease.shard_id, lease.stage)])
    return "bereft"


def _failed(services: Services, lease: Lease, error: Exception) -> str:
    log.error("stage %s of %s failed", lease.stage, lease.shard_id, exc_info=error)
    told = "".join(traceback.format_exception_only(error)).strip()[:2000]
    with services.db.begin() as session:
        state = leases.fail(session, lease, told, backoff_seconds=services.settings.failure_backoff_seconds)
        if state is None:
            return "discarded"
        shard = session.get_one(Shard, lease.shard_id)
        owner = load_owner(session, shard)
        kind = "shard_quarantined" if state == ShardState.QUARANTINED else "shard_failed"
        record(session, owner.workspace_id, owner.id, kind, shard=shard.id, stage=lease.stage, error=told)
    return _settle(services, lease, "quarantined") if state == ShardState.QUARANTINED else "failed"
