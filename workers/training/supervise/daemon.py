"""The trainer daemon: claims runs from the store, starts and watches one process per run, and survives its death.

``errata trainer`` runs one. Any number may run on any number of hosts; a run is leased to one at a time. Of a run over
several hosts that one gathers others, each in a place of its own (workers.training.supervise.member). Knows nothing of
torch: training happens in the process it starts (workers.training.run).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import run_leases, training_places
from models.base import db_now
from models.events import record
from models.logs import DATABASE, bound
from models.outputs import TrainingPlace, TrainingRun
from models.run_leases import RunLease
from models.session import Database
from models.settings import StoreSettings
from models.training_places import Place
from workers.gpu import GpuLock, gpu_is_shared
from workers.training.supervise.attempt import Attempt
from workers.training.supervise.launch import visible_gpus
from workers.training.supervise.member import Member
from workers.training.supervise.registry import mark_checkpoints_deleted, remove_checkpoints
from workers.training.supervise.settings import TrainerSettings

logger = logging.getLogger(__name__)

_FREED = {"cancelled": "training.cancelled", "failed": "training.failed"}


class TrainerDaemon:
    """Claims and supervises training runs, one after the other."""

    def __init__(self, db: Database, store: StoreSettings, settings: TrainerSettings | None = None) -> None:
        self.db, self.store, self.settings = db, store, settings or TrainerSettings()
        self.worker = worker_name()
        shared = gpu_is_shared(store.gpu_turns)
        self._gpu = GpuLock(store.gpu_folder, f"trainer {self.worker}") if shared else None
        self._reported: tuple[str, str] | None = None

    def run(self, stop_event: threading.Event) -> None:
        """Work until ``stop_event`` is set; a run in hand is then checkpointed and released."""
        while not stop_event.is_set():
            if not self.run_once(stop_event):
                stop_event.wait(self.settings.poll_seconds)

    def run_once(self, stop_event: threading.Event) -> bool:
        """Free what died, and supervise one run if any waits. False: nothing to do, or the database is away."""
        try:
            self._sweep()
            # The GPU before the run: a claimed run that waits for the GPU would hold up every other daemon.
            if not self._may_use_the_gpu():
                return False
            with self.db.begin() as session:
                # Places first: the hosts that are there already wait for them.
                place = training_places.take(session, self.worker, self.settings.lease_seconds, visible_gpus())
                taken = place or self._claim(session)
        except DBAPIError as error:
            DATABASE.away(logger, error)
            return False
        if taken is None:
            self._leave_the_gpu()
            return False
        try:
            with bound(run=taken.run_id):
                self._work(taken, stop_event)
        except Exception:
            # One run must not end the daemon; the run itself is left to its lease, and is an interruption.
            logger.exception("supervising %s failed", taken.run_id)
        finally:
            self._leave_the_gpu()
        return True

    def _claim(self, session: Session) -> RunLease | None:
        lease = run_leases.claim(session, self.worker, self.settings.lease_seconds)
        if lease is not None:
            record(session, lease.workspace_id, lease.run_id, "training.claimed", worker=self.worker)
        return lease

    def _work(self, taken: RunLease | Place, stop_event: threading.Event) -> None:
        if isinstance(taken, Place):
            logger.info("place %d of a training run taken", taken.rank)
            Member(self.db, self.store, self.settings, taken).run(stop_event)
            logger.info("place of a training run left")
            return
        logger.info("training run claimed")
        Attempt(self.db, self.store, self.settings, taken).run(stop_event)
        logger.info("training run left", extra={"state": self._state_of(taken.run_id)})

    def _state_of(self, run_id: str) -> str:
        with self.db.read() as session:
            return session.get_one(TrainingRun, run_id).state

    def _may_use_the_gpu(self) -> bool:
        """On a machine whose GPU is shared: whether it is lent to us; the run that waits for it is told for whom."""
        if self._gpu is None:
            return True
        with self.db.read() as session:
            waiting = training_places.next_open(session, visible_gpus()) or run_leases.next_waiting(session)
        if waiting is None:
            self._gpu.leave()
            return False
        run_id, workspace_id = waiting
        if self._gpu.take(f"training run {run_id}"):
            return True
        waits = (run_id, self._gpu.holder() or "another process")
        if waits != self._reported:  # one event, not one at every look
            self._reported = waits
            with self.db.begin() as session:
                record(session, workspace_id, run_id, "training.waiting", waits_for=f"the GPU, lent to {waits[1]}")
        return False

    def _leave_the_gpu(self) -> None:
        self._reported = None
        if self._gpu is not None:
            self._gpu.leave()

    def _sweep(self) -> None:
        with self.db.begin() as session:
            _expire_dead_neighbors(session, self.worker)
            freed = run_leases.expire(session)
            for run_id, workspace_id, state in freed:
                why = {"error": run_leases.INTERRUPTED} if state == "failed" else {"why": "the trainer was gone"}
                record(session, workspace_id, run_id, _FREED.get(state, "training.interrupted"), **why)
        for run_id, _, state in freed:
            if state == "cancelled":
                self._discard_unless_kept(run_id)

    def _discard_unless_kept(self, run_id: str) -> None:
        with self.db.begin() as session:
            if session.get_one(TrainingRun, run_id).keep_on_cancel:
                return
            mark_checkpoints_deleted(session, run_id)
        remove_checkpoints(self.store, run_id)


def worker_name() -> str:
    """``host:pid:start``: unique, and tells a daemon on the same host whether that one still lives."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty when it is gone, ``?`` where this cannot be known."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            return "?"
        return "?"
    try:
        # The command's name may hold spaces and parentheses: count fields behind its last one.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _expire_dead_neighbors(session: Session, own: str) -> None:
    """End the leases of daemons of this host that are gone, so that a restart need not wait for them to run out."""
    for table in (TrainingRun, TrainingPlace):
        held = select(table.worker).where(table.worker.is_not(None), table.lease_expires_at > db_now()).distinct()
        for worker in session.scalars(held).all():
            if worker != own and _is_dead_neighbor(worker or ""):
                session.execute(
                    update(table)
                    .where(table.worker == worker)
                    .values(lease_expires_at=db_now(-1.0))
                    .execution_options(synchronize_session=False)
                )


def _is_dead_neighbor(worker: str) -> bool:
    name, pid, started = ["", "", "", *worker.rsplit(":", 2)][-3:]
    # A process id is used again: only with its start time does it name the same process.
    return name == socket.gethostname() and pid.isdigit() and _started(int(pid)) != started
