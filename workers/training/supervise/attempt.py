"""One attempt at one leased run: start the process, write what it reports, watch it, and end in one of few ways.

Two watchdogs: the lease's heartbeat (this daemon lives and reaches the store) and progress (the process *advances*). A
daemon that could not renew its lease in time kills its process: another may have taken the run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from models import run_leases
from models.events import record
from models.logs import DATABASE
from models.run_leases import RunLease
from models.session import Database, passing
from models.settings import StoreSettings
from models.states import TrainingState
from workers.child_process import ChildEnded, ChildLate, ChildProcess
from workers.training.protocol import STOPPABLE_PHASES, CannotTrain, RunSpec, parse, storable
from workers.training.supervise import gathering, relay
from workers.training.supervise.exchange import fetch_dataset, publish_model
from workers.training.supervise.gathering import Gathering, Loss
from workers.training.supervise.launch import Meeting, command
from workers.training.supervise.registry import make_spec, run_folder
from workers.training.supervise.relay import LeaseLost
from workers.training.supervise.settings import TrainerSettings

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
_FLUSH_SECONDS = 1.0
_SEND_SECONDS = 1.0  # a pipe that holds thousands of unread words belongs to a process that hangs
Request = Literal["go on", "stop", "cancel", "discard"]  # cancel keeps the checkpoints, discard deletes them


class Attempt:
    """Supervises until the process ends or must end. ``run`` never raises for what the run does."""

    def __init__(self, db: Database, store: StoreSettings, settings: TrainerSettings, lease: RunLease) -> None:
        self.db, self.store, self.settings, self.lease = db, store, settings, lease
        self._metrics: list[dict[str, Any]] = []
        self._urgent: list[dict[str, Any]] = []  # messages whose rows are not written yet
        self._phase = "loading"
        self._doing: dict[str, Any] | None = None  # as last told by the process, and as last written
        self._told: dict[str, Any] | None = None
        self._advanced = self._renewed = self._flushed = self._polled = time.monotonic()
        self._step = 0
        self._error: dict[str, Any] | None = None
        self._finished = False
        self._state: str = TrainingState.VALIDATING
        self._request: Request = "go on"
        self._loss: Loss | None = None  # of a run over several hosts: what ended it on another one

    def run(self, stop_event: threading.Event) -> None:
        """Supervise one process from start to end."""
        try:
            self._supervise(stop_event)
        except LeaseLost:
            logger.warning("the lease of %s was lost; its process is killed", self.lease.run_id)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and passing(error):
                logger.warning("the database is away; %s is left to its lease: %s", self.lease.run_id, error)
                return
            # Whatever it is, the run must end: nobody else will ever say so.
            logger.exception("supervising %s failed", self.lease.run_id)
            fatal = isinstance(error, CannotTrain | NoResultFound)
            why = str(error) if fatal else f"{type(error).__name__}: {error}"
            self._end(lambda: self._fail(why, fatal=fatal))

    def _supervise(self, stop_event: threading.Event) -> None:
        with self.db.read() as session:
            spec = make_spec(session, self.store, self.lease.run_id, self.settings.lease_seconds)
        meeting = None
        if self.lease.hosts > 1:
            gathering_hosts = Gathering(self.db, self.settings, self.lease)
            meeting = gathering_hosts.wait(stop_event)
            if meeting is None:
                if not gathering_hosts.given_back:
                    self._request = "stop"  # or what the store asks for
                    self._end(self._conclude_request)
                return
            self._renewed = self._advanced = time.monotonic()
        child = self._start(spec, meeting)
        try:
            self._watch(child, stop_event)
        finally:
            child.kill()
        self._end(lambda: self._conclude(child))

    def _start(self, spec: RunSpec, meeting: Meeting | None) -> ChildProcess:
        with self._beating():
            fetch_dataset(self.store, spec)
        folder = run_folder(self.store, self.lease.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "spec.json"
        path.write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        line, environment = command(self.settings.accelerate_config, self.settings.threads, path, meeting)
        child = ChildProcess("training", line, env=environment, log_file=folder / "run.log")
        self._urgent.append({"type": "started", "pid": child.pid, "worker": self.lease.worker})
        return child

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Keep the lease while files travel, which may take longer than it lasts. Raises LeaseLost at the end."""
        done, lost = threading.Event(), threading.Event()

        def beat() -> None:
            while not done.wait(self.settings.heartbeat_seconds):
                with suppress(SQLAlchemyError), self.db.begin() as session:
                    if run_leases.heartbeat(session, self.lease, self.settings.lease_seconds) is None:
                        lost.set()
                        return
                    self._renewed = time.monotonic()

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        if lost.is_set():
            raise LeaseLost

    def _watch(self, child: ChildProcess, stop_event: threading.Event) -> None:
        """Until the process has ended, or is to be killed."""
        asked_at: float | None = None
        while self._read_messages(child):
            now = time.monotonic()
            self._sync_with_store(child, now)
            if stop_event.is_set() and self._request == "go on":
                self._request = "stop"
            if now - self._renewed > self.settings.lease_seconds:
                raise LeaseLost  # another daemon may own the run by now: two processes must never write to its folder
            if self._loss is not None:
                return  # the processes of the other hosts would wait for this one, or this one for theirs
            if self._request == "discard" or (self._request != "go on" and self._phase not in STOPPABLE_PHASES):
                return  # nothing would be kept, or there is nothing to keep yet
            if self._request != "go on" and asked_at is None:
                asked_at = now
                _tell(child, "stop")
            if asked_at is not None and now - asked_at > self.settings.stop_seconds:
                return
            limit = self.settings.loading_seconds if self._phase == "loading" else self.settings.stall_seconds
            if now - self._advanced > limit:
                why = f"no progress for {limit:g} s while {self._phase} (step {self._step})"
                self._error = {"message": why, "fatal": False}
                return

    def _read_messages(self, child: ChildProcess) -> bool:
        """Handle what the process sent meanwhile. False: it sends no more, and has ended."""
        wait = _TICK_SECONDS
        while True:
            try:
                message = parse(child.read_line(wait) or "")
            except ChildLate:
                return True
            except ChildEnded:
                return False
            if message is not None:
                self._handle(message)
            wait = 0.0  # of what is there already, all: one transaction writes it

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self._advanced = time.monotonic()  # any message is progress: a process that hangs sends none
        if kind in ("metrics", "checkpoint"):
            self._phase, self._doing = "training", None  # again, after a checkpoint was saved
        if kind == "progress":
            self._phase = message["phase"]
            steps = self._phase == "training"  # these are told by their metrics
            self._doing = None if steps else {name: message[name] for name in ("phase", "done", "total")}
        elif kind == "metrics":
            self._step = message["step"]
            self._metrics.append(message)
        elif kind == "error":
            self._error = message
        elif kind == "stopped" and self._request == "go on":
            self._request = "stop"  # another host's process was asked
        elif kind in relay.HANDLERS:
            if kind == "finished":
                with self._beating():
                    publish_model(self.store, self.lease.run_id, Path(message["path"]))
            self._urgent.append(message)
            self._finished = self._finished or kind == "finished"

    def _sync_with_store(self, child: ChildProcess, now: float) -> None:
        """Write what is new, renew the lease and read whether the run is still wanted. A store that is away waits."""
        if self._finished and not self._urgent:
            return  # the run is over, and with it the lease
        news = bool(self._metrics) or self._doing != self._told
        due = bool(self._urgent) or (news and now - self._flushed > _FLUSH_SECONDS)
        renew = now - self._renewed > self.settings.heartbeat_seconds
        if not due and not renew and now - self._polled < self.settings.poll_seconds:
            return
        try:
            if due or renew:
                self._flush()
                # ``now`` was read before the commit: the lease can only last longer than this believes.
                self._renewed = self._flushed = now
                _tell(child, "beat")  # a process that does not hear this for long ends itself
            self._polled = now
            if not self._finished:
                self._read_request()
        except SQLAlchemyError as error:
            if not passing(error):
                raise
            self._polled = now
            DATABASE.away(logger, error)

    def _flush(self) -> None:
        urgent, metrics, doing = list(self._urgent), list(self._metrics), self._doing
        with self.db.begin() as session:
            relay.write(session, self.lease, self.settings.lease_seconds, self._step, metrics, urgent, doing)
        # Only now that the commit has succeeded: a failed one is written again, with the same rows.
        del self._urgent[: len(urgent)], self._metrics[: len(metrics)]
        self._told = doing

    def _read_request(self) -> None:
        with self.db.read() as session:
            state, keep = relay.requested(session, self.lease)
            if self.lease.hosts > 1 and self._loss is None:
                self._loss, leaving = gathering.look(session, self.lease)
                if leaving and self._request == "go on":
                    self._request = "stop"
        self._state = state
        if state == TrainingState.CANCELLING:
            self._request = "cancel" if keep else "discard"
        elif state not in (TrainingState.VALIDATING, TrainingState.RUNNING):
            self._request = "stop"

    def _end(self, conclude: Callable[[], object]) -> None:
        """Write the end; a store that is away is waited for until the lease would run out."""
        while True:
            try:
                conclude()
                return
            except LeaseLost:
                logger.warning("the lease of %s was lost; nothing more is written", self.lease.run_id)
                return
            except SQLAlchemyError as error:
                if not passing(error):
                    raise
                if time.monotonic() - self._renewed > self.settings.lease_seconds:
                    logger.warning("the database stayed away; %s is left to its lease: %s", self.lease.run_id, error)
                    return
                time.sleep(self.settings.poll_seconds)

    def _conclude(self, child: ChildProcess) -> None:
        if self._urgent or self._metrics:
            self._flush()
        if self._conclude_request():
            return
        fatal = self._error is not None and bool(self._error.get("fatal"))
        if self.lease.hosts > 1 and self._loss is None and not fatal:
            self._loss = gathering.last_words(self.db, self.settings, self.lease)
            if self._conclude_request():  # a host that leaves breaks the connection as one that is gone does
                return
        if self._loss is not None and self._loss.gone:
            self._interrupt(self._loss)
            return
        if self._error is not None:
            told = str(self._error["message"])
        else:
            death = f"the training process {child.how_it_ended()} at step {self._step}"
            told = f"{death}\n{child.last_words()}".strip()
        if self._loss is not None:
            told, fatal = f"on host {self._loss.host}: {self._loss.error}\n{told}", fatal or self._loss.fatal
        self._fail(told, fatal=fatal)

    def _conclude_request(self) -> bool:
        """End what was asked to end, or has succeeded. False: the process ended unasked."""
        self._read_request()  # once more: a request may have come while the process ended
        if self._state == TrainingState.SUCCEEDED:
            return True  # how the process ended after its last message does not matter
        if self._request in ("cancel", "discard"):
            relay.end_cancelled(self.db, self.store, self.lease)
            return True
        if self._request != "stop" or (self._error is not None and self._error.get("fatal")):
            return False
        with self.db.begin() as session:
            run_leases.release(session, self.lease)
            record(session, self.lease.workspace_id, self.lease.run_id, "training.stopped", step=self._step)
        return True

    def _interrupt(self, loss: Loss) -> None:
        with self.db.begin() as session:
            state = run_leases.interrupt(session, self.lease)
            if state is None:
                raise LeaseLost
            failed = state == TrainingState.FAILED
            why = {"error": run_leases.INTERRUPTED} if failed else {"why": f"the host {loss.host} was gone"}
            kind = "training.failed" if failed else "training.interrupted"
            record(session, self.lease.workspace_id, self.lease.run_id, kind, **why)

    def _fail(self, error: str, *, fatal: bool) -> None:
        error = storable(error)  # the end of a log may be anything
        with self.db.begin() as session:
            backoff = self.settings.backoff_seconds
            state = run_leases.fail(session, self.lease, error, fatal=fatal, backoff_seconds=backoff)
            if state is None:
                raise LeaseLost
            kind = "training.failed" if state == TrainingState.FAILED else "training.interrupted"
            record(session, self.lease.workspace_id, self.lease.run_id, kind, error=error[:2000], step=self._step)


def _tell(child: ChildProcess, word: Literal["stop", "beat"]) -> None:
    # One that is dead or hangs is found by its silence, not here.
    with suppress(ChildEnded, ChildLate):
        child.send(f"{word}\n", _SEND_SECONDS)
