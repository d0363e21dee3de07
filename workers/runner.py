"""Running one shard's stage: claim, compute under a heartbeat, finish fenced, send the next hint, complete the job.

Two short transactions enclose a long computation during which no session is open. What goes wrong has one of four ends:

- *cancelled*: the owner wants no more;
- *released*: this worker stops, or an engine is away, or it was *parked*: its requests went in batches;
- *failed*: the stage raised, or a child process that it started died;
- *interrupted*: the lease or the database was lost, so nothing is written and the sweeper requeues; or an engine died
  that worked for other shards too, and the shard is requeued at once.
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
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_fixed

from models import leases
from models.batches import forget, park
from models.events import record_shard_event
from models.jobs import InjectionJob, Shard
from models.leases import Lease, has_open_shards, load_owner
from models.logs import DATABASE
from models.session import Database, passing
from models.settings import StoreSettings
from models.states import JobState, ShardState
from workers.app import GRADING
from workers.claiming import claim_shard
from workers.dispatch import Dispatcher
from workers.engines.base import Cancelled, EngineError, Journal
from workers.engines.kept import Parked
from workers.engines.meter import Meter
from workers.hints import Hints
from workers.judge import JudgePool
from workers.lifecycle import complete_owner, hint_for
from workers.outcomes import JOB_GOES_ON, NOTHING_WRITTEN, observed
from workers.outcomes import ShardOutcome as ShardOutcome
from workers.settings import WorkerSettings
from workers.shares import Shares
from workers.stages.base import Finish, Generator, StageContext, StageFunction
from workers.stages.isolation import store_errors
from workers.stages.ledger import (
    count_reused,
    record_engine_away,
    record_engine_use,
    write_ledger,
)
from workers.stages.request_cache import AnswerCache
from workers.stopping import follow_stop, stop_of

log = logging.getLogger(__name__)
_WRITE_AGAIN_SECONDS = 1.0


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
    hints: Hints = field(default_factory=Hints)
    shares: Shares = field(default_factory=Shares)


class Heartbeat:
    """Extends a lease from a thread of its own, tells how far the stage is, and knows whether it should stop."""

    def __init__(self, services: Services, lease: Lease, meter: Meter) -> None:
        self._services, self._lease, self._meter = services, lease, meter
        self._done = threading.Event()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{lease.shard_id}", daemon=True)

    def should_stop(self) -> bool:
        """Whether the stage's result is no longer wanted, or the worker is stopping."""
        return self.lost.is_set() or self._services.stopping.is_set()

    @contextmanager
    def beating(self) -> Iterator[Heartbeat]:
        """Beat while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._done.set()
            self._thread.join()

    def _run(self) -> None:
        settings = self._services.settings
        last, told = time.monotonic(), None
        looks = (settings.cancel_poll_seconds, settings.heartbeat_seconds, settings.progress_seconds)
        while not self._done.wait(min(looks)):
            progress = self._meter.snapshot()
            news = None if progress == told else progress
            wait = settings.heartbeat_seconds if news is None else min(looks[1:])
            due = time.monotonic() - last >= wait
            try:
                alive = self._extend(news) if due else self._is_wanted()
            except SQLAlchemyError as error:
                # A database that is away is no lost lease: others cannot claim either. Only when the lease must have
                # run out may another worker have the shard once the database is back.
                DATABASE.away(log, error)
                alive = time.monotonic() - last < settings.lease_seconds
            else:
                last, told = (time.monotonic(), progress) if due else (last, told)
            if not alive:
                self.lost.set()
                return

    def _extend(self, progress: dict[str, Any] | None) -> bool:
        with self._services.db.begin() as session:
            return leases.heartbeat(session, self._lease, self._services.settings.lease_seconds, progress)

    def _is_wanted(self) -> bool:
        with self._services.db.look() as session:
            return leases.is_wanted(session, self._lease)


def run_shard(services: Services, shard_id: str, queue: str | None = None) -> ShardOutcome:
    """Run the shard's current stage if it can be claimed.

    With the ``queue`` its hint came by, a shard of the same job that should go first is run in its place, and another
    one where the named shard is past this: there are as many hints as shards that wait, whichever they name.
    """
    with services.hints.busy(queue):
        return _run_stages(services, shard_id, queue)


def _run_stages(services: Services, shard_id: str, queue: str | None) -> ShardOutcome:
    while not services.stopping.is_set():
        lease = claim_shard(services, shard_id, queue)
        if lease is None:
            return ShardOutcome.NOT_CLAIMED
        with observed(lease) as told:
            told.outcome = outcome = _attempt(services, lease, queue)
        if outcome not in JOB_GOES_ON:
            _complete(services, lease)
        if lease.table is InjectionJob and lease.limited and outcome not in NOTHING_WRITTEN:
            _follow_stop(services, lease.owner_id)
        if outcome is not ShardOutcome.CONTINUES:
            return outcome
        shard_id = lease.shard_id
    return ShardOutcome.STOPPING


def _complete(services: Services, lease: Lease) -> None:
    """End the owner if no shard of it is left: seldom, so its row is locked and its shards are counted only then.

    Of two workers that end the last two shards, the one that looks last sees both ended.
    """
    with services.db.look() as session:
        if has_open_shards(session, lease.table, lease.owner_id):
            return
    with services.db.begin() as session:
        complete_owner(session, lease.table, lease.owner_id)


def _follow_stop(services: Services, job_id: str) -> None:
    """Stop a job with limits where it has reached one; else let its next shard begin."""
    with services.db.look() as session:
        if stop_of(session, job_id) is None:
            return
    with services.db.begin() as session:
        hints = follow_stop(session, job_id)
    services.dispatcher.send(hints)


def _attempt(services: Services, lease: Lease, queue: str | None) -> ShardOutcome:
    journal = Journal()
    with Heartbeat(services, lease, journal.meter).beating() as heartbeat:
        stop = heartbeat.should_stop
        context = StageContext(
            *(services.db, services.store, lease, services.engines, services.judge, stop, journal),
            cache=_cache(services, lease),
        )
        started = time.monotonic()
        try:
            finish = services.stages[lease.stage](context)
        except Cancelled:
            return _stopped(services, lease)
        except EngineError as error:
            if isinstance(error, Parked):
                return _parked(services, lease, error)
            if error.shared:
                return _engine_lost(services, lease, error)
            return _engine_away(services, context, error) if error.retryable else _failed(services, lease, error)
        except SQLAlchemyError as error:
            return ShardOutcome.INTERRUPTED if passing(error) else _failed(services, lease, error)
        except Exception as error:
            return _failed(services, lease, error)
        # Under the heartbeat still: a database that is away is waited for as long as the lease holds.
        outcome = _store(services, context, finish, time.monotonic() - started, heartbeat)
    return _hand_on(services, lease, finish, queue) if outcome is ShardOutcome.ADVANCED else outcome


def _cache(services: Services, lease: Lease) -> AnswerCache | None:
    settings = services.settings
    unknown = settings.cache_unknown_revisions
    return AnswerCache(services.db, lease, unknown_revisions=unknown) if settings.cache_answers else None


def _store(
    services: Services, context: StageContext, finish: Finish, seconds: float, heartbeat: Heartbeat
) -> ShardOutcome:
    """Write what the stage made, waiting for a database that is away as long as the lease holds."""
    lease = context.lease

    def write() -> ShardOutcome:
        with services.db.begin() as session:
            shard = leases.finish(session, lease, finish.next_stage)
            if shard is None:
                # Also after an ambiguous commit: it was lost on the way back, the row has moved on, and the fence
                # refuses this second try. What was computed is stored, and the sweeper goes on from the row.
                return ShardOutcome.DISCARDED
            finish.write(session)
            store_errors(session, lease, context.errors, in_funnel=shard.injection_job_id is not None)
            if context.journal.batched:
                forget(session, lease.shard_id)
            record_engine_use(session, lease, context.journal)
            count_reused(session, lease, context.journal.reused)
            write_ledger(session, lease, {"total": seconds, "engine": context.journal.seconds})
        return ShardOutcome.CANCELLED if shard.state == ShardState.CANCELLED else ShardOutcome.ADVANCED

    def warn(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        DATABASE.away(log, error or "a stage's end is not written yet")

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=lambda _: heartbeat.should_stop(),
        wait=wait_fixed(_WRITE_AGAIN_SECONDS),
        before_sleep=warn,
        reraise=True,
    )
    try:
        return retrying(write)
    except Exception as error:
        return ShardOutcome.INTERRUPTED if _may_pass(error) else _failed(services, lease, error)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, SQLAlchemyError) and passing(error)


def _hand_on(services: Services, lease: Lease, finish: Finish, queue: str | None) -> ShardOutcome:
    """Send the hint for the next stage, or go on with it here."""
    if finish.next_stage is None:
        return ShardOutcome.DONE
    hint = hint_for(lease.shard_id, finish.next_stage)
    if hint.queue == queue == GRADING and not services.stopping.is_set():
        return ShardOutcome.CONTINUES  # grading stages are shorter than a message between them
    services.dispatcher.send([hint])
    return ShardOutcome.ADVANCED


def _stopped(services: Services, lease: Lease) -> ShardOutcome:
    """The stage was told to stop: the owner is cancelling, the lease is lost, or this worker is stopping."""
    with services.db.begin() as session:
        shard = session.get_one(Shard, lease.shard_id)
        cancelling = load_owner(session, shard).state == JobState.CANCELLING
        ended = leases.cancel(session, lease) if cancelling else leases.release(session, lease)
    if not ended:
        return ShardOutcome.DISCARDED
    if cancelling:
        return ShardOutcome.CANCELLED
    services.dispatcher.send([hint_for(lease.shard_id, lease.stage)])
    return ShardOutcome.RELEASED


def _parked(services: Services, lease: Lease, wait: Parked) -> ShardOutcome:
    """Requests of the stage wait at a provider: the shard waits with them, and no thread does."""
    with services.db.begin() as session:
        may_go_on = park(session, lease, wait.wait_seconds, until_ended=wait.until_ended)
    if may_go_on is None:
        return ShardOutcome.DISCARDED
    if may_go_on:
        services.dispatcher.send([hint_for(lease.shard_id, lease.stage)])
    return ShardOutcome.PARKED


def _engine_away(services: Services, context: StageContext, error: EngineError) -> ShardOutcome:
    lease = context.lease
    delay = max(services.settings.engine_retry_seconds, error.wait_seconds)
    with services.db.begin() as session:
        if leases.release(session, lease, delay_seconds=delay):
            record_engine_away(session, lease, str(error))
            record_engine_use(session, lease, context.journal)
    return ShardOutcome.RELEASED


def _engine_lost(services: Services, lease: Lease, error: EngineError) -> ShardOutcome:
    """The engine died under several shards: an interruption for each, until the one to blame runs alone."""
    with services.db.begin() as session:
        if not leases.interrupt(session, lease):
            return ShardOutcome.DISCARDED
        record_shard_event(session, lease, "shard_interrupted", fence=lease.fence, error=str(error)[:500])
    services.dispatcher.send([hint_for(lease.shard_id, lease.stage)])
    return ShardOutcome.ENGINE_LOST


def _failed(services: Services, lease: Lease, error: Exception) -> ShardOutcome:
    log.error("a stage failed", exc_info=error)
    message = "".join(traceback.format_exception_only(error)).strip()[:2000]
    with services.db.begin() as session:
        state = leases.fail(session, lease, message, backoff_seconds=services.settings.failure_backoff_seconds)
        if state is None:
            return ShardOutcome.DISCARDED
        quarantined = state == ShardState.QUARANTINED
        record_shard_event(session, lease, "shard_quarantined" if quarantined else "shard_failed", error=message)
    return ShardOutcome.QUARANTINED if quarantined else ShardOutcome.FAILED
