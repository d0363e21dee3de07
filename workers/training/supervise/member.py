"""A place in a run that another trainer claimed: wait until all hosts are there, run this host's processes, and end.

The lease of a place is renewed as that of a run is. Whoever holds a place writes nothing of the run: no metrics, no
checkpoint, no state. It tells how its own process ended, and kills it as soon as the place no longer counts.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from models import training_places
from models.logs import DATABASE
from models.outputs import TrainingRun
from models.session import Database, passing
from models.settings import StoreSettings
from models.states import PlaceState, TrainingState
from models.training_places import Place
from workers.child_process import ChildEnded, ChildLate, ChildProcess
from workers.training.protocol import STOPPABLE_PHASES, CannotTrain, parse, storable
from workers.training.supervise.launch import command
from workers.training.supervise.meeting import meeting
from workers.training.supervise.registry import make_spec, run_folder
from workers.training.supervise.settings import TrainerSettings

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
_SEND_SECONDS = 1.0
_GRACE_SECONDS = 30.0  # for the processes of a run that has its result to end by themselves


class Member:
    """Serves one place until the run ends or must end. ``run`` never raises for what the run does."""

    def __init__(self, db: Database, store: StoreSettings, settings: TrainerSettings, place: Place) -> None:
        self.db, self.store, self.settings, self.place = db, store, settings, place
        self._renewed = self._polled = time.monotonic()
        self._phase = "loading"
        self._error: dict[str, Any] | None = None
        self._counts = True  # as far as we know: the place may be lost, or the run over

    def run(self, stop_event: threading.Event) -> None:
        """Serve the place from its taking to its end."""
        try:
            if self._await_start(stop_event):
                self._serve(stop_event)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and passing(error):
                logger.warning("the database is away; the place is left to its lease: %s", error)
                return
            logger.exception("serving a place of %s failed", self.place.run_id)
            fatal = isinstance(error, CannotTrain | NoResultFound)
            why = str(error) if fatal else f"{type(error).__name__}: {error}"
            self._end(PlaceState.FAILED, why, fatal=fatal)

    def _await_start(self, stop_event: threading.Event) -> bool:
        """Whether all hosts came. The place is given back where this trainer is to stop meanwhile."""
        while self._counts:
            state = self._sync(time.monotonic())
            if state == PlaceState.STARTED:
                return True
            if stop_event.is_set():
                with self.db.begin() as session:
                    training_places.leave(session, self.place)
                return False
            stop_event.wait(self.settings.poll_seconds)
        return False

    def _serve(self, stop_event: threading.Event) -> None:
        child = self._start()
        try:
            self._watch(child, stop_event)
            if not self._counts and self._has_result():
                child.wait(_GRACE_SECONDS)
        finally:
            child.kill()
        if not self._counts:
            return
        if child.returncode == 0:
            self._end(PlaceState.DONE)
        elif stop_event.is_set():
            self._end(PlaceState.LEFT)
        else:
            told = self._error or {"message": f"the process {child.how_it_ended()}\n{child.last_words()}".strip()}
            self._end(PlaceState.FAILED, str(told["message"]), fatal=bool(told.get("fatal")))

    def _start(self) -> ChildProcess:
        place, settings = self.place, self.settings
        with self.db.read() as session:
            spec = make_spec(session, self.store, place.run_id, settings.lease_seconds)
            offered = training_places.meets_of(session, place)
        folder = run_folder(self.store, place.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"spec-{place.rank}.json"
        path.write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        meets = meeting(offered, settings, place.hosts, place.rank)
        line, environment = command(settings.accelerate_config, settings.threads, path, meets)
        return ChildProcess("training", line, env=environment, log_file=folder / f"run-{place.rank}.log")

    def _watch(self, child: ChildProcess, stop_event: threading.Event) -> None:
        """Until the process has ended, or is to be killed."""
        asked_at: float | None = None
        while self._read_messages(child):
            now = time.monotonic()
            if self._sync(now) is not None and self._renewed >= now:
                _tell(child, "beat")
            if not self._counts:
                return
            if stop_event.is_set():
                if self._phase not in STOPPABLE_PHASES:
                    return  # there is nothing to keep yet
                if asked_at is None:
                    asked_at = now
                    _tell(child, "stop")  # all processes agree at every step whether one was asked
                if now - asked_at > self.settings.stop_seconds:
                    return

    def _read_messages(self, child: ChildProcess) -> bool:
        """Heed what the process sent meanwhile. False: it sends no more, and has ended."""
        wait = _TICK_SECONDS
        while True:
            try:
                message = parse(child.read_line(wait) or "")
            except ChildLate:
                return True
            except ChildEnded:
                return False
            wait = 0.0
            if message is None:
                continue
            if message["type"] == "progress":
                self._phase = message["phase"]
            elif message["type"] == "metrics":
                self._phase = "training"
            elif message["type"] == "error":
                self._error = message

    def _sync(self, now: float) -> str | None:
        """Renew the lease, or look whether the place still counts; its state, None where it was not asked."""
        renew = now - self._renewed > self.settings.heartbeat_seconds
        if not renew and now - self._polled < self.settings.poll_seconds:
            return None
        self._polled = now
        try:
            with self.db.begin() as session:
                if renew:
                    state = training_places.heartbeat(session, self.place, self.settings.lease_seconds)
                else:
                    state = training_places.state_of(session, self.place)
        except SQLAlchemyError as error:
            if not passing(error):
                raise
            DATABASE.away(logger, error)
            # Nobody may be waiting for this process by now, and others may need its GPU.
            self._counts = now - self._renewed <= self.settings.lease_seconds
            return None
        if renew:
            self._renewed = now
        self._counts = state is not None
        return state

    def _has_result(self) -> bool:
        with self.db.read() as session:
            return session.get_one(TrainingRun, self.place.run_id).state == TrainingState.SUCCEEDED

    def _end(self, state: PlaceState, error: str | None = None, *, fatal: bool = False) -> None:
        """Tell how it ended; a database that is away is waited for as long as the lease holds."""
        told = None if error is None else storable(error)
        while time.monotonic() - self._renewed <= self.settings.lease_seconds:
            try:
                with self.db.begin() as session:
                    training_places.end(session, self.place, state, told, fatal=fatal)
                return
            except SQLAlchemyError as away:
                if not passing(away):
                    raise
                time.sleep(self.settings.poll_seconds)


def _tell(child: ChildProcess, word: str) -> None:
    with suppress(ChildEnded, ChildLate):
        child.send(f"{word}\n", _SEND_SECONDS)
