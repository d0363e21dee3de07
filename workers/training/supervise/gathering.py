"""The other hosts of a run, as the trainer that claimed it sees them: waited for at the start, watched until the end.

Nothing starts before all are there. The wait is bounded, and of two runs that wait the younger one gives way, so no run
holds up another. Once the hosts have started, what ends one of them ends the attempt of all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import run_leases, training_places
from models.base import db_now
from models.events import record
from models.run_leases import RunLease
from models.session import Database, passing
from models.states import PlaceState, TrainingState
from models.training_places import Seen
from workers.training.supervise.launch import Meeting, visible_gpus
from workers.training.supervise.meeting import free_port, meeting, offer
from workers.training.supervise.relay import LeaseLost
from workers.training.supervise.settings import TrainerSettings

T = TypeVar("T")
PHASE = "hosts"  # of a run that waits for its other hosts
_OVER = (PlaceState.DONE, PlaceState.FAILED, PlaceState.LEFT)


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a run cannot go on. ``gone``: the host itself is, and not only its process."""

    host: str
    error: str
    gone: bool = False
    fatal: bool = False


class Gathering:
    """Waits until every host of a run is there."""

    def __init__(self, db: Database, settings: TrainerSettings, lease: RunLease) -> None:
        self.db, self.settings, self.lease = db, settings, lease
        self._gpus, self._offered = offer(settings, db.url)
        self.given_back = False
        self._there = 0
        self._told = False

    def wait(self, stop_event: threading.Event) -> Meeting | None:
        """What this host is to launch. None: the run was ``given_back``, or is not to start any more.

        Raises LeaseLost.
        """
        began = renewed = time.monotonic()
        self._retrying(self._open, renewed)
        while True:
            now = time.monotonic()
            wanted = self._retrying(self._look, renewed)
            renewed = now
            if wanted and self._there == self.lease.hosts:
                return meeting(self._offered, self.settings, self.lease.hosts, 0)
            if not wanted or stop_event.is_set():
                return None
            ends = self._give_back if now - began > self.settings.gather_seconds else self._gives_way
            self.given_back = self._retrying(ends, renewed)
            if self.given_back:
                return None
            stop_event.wait(self.settings.poll_seconds)

    def _retrying(self, work: Callable[[Session], T], renewed: float) -> T:
        """One transaction; a database that is away is waited for until the lease would run out."""
        while True:
            try:
                with self.db.begin() as session:
                    return work(session)
            except SQLAlchemyError as error:
                if not passing(error):
                    raise
                if time.monotonic() - renewed > self.settings.lease_seconds:
                    raise LeaseLost from error
                time.sleep(self.settings.poll_seconds)

    def _open(self, session: Session) -> None:
        _renew(session, self.lease, self.settings)
        training_places.open_places(session, self.lease, self._gpus, self._offered)

    def _look(self, session: Session) -> bool:
        """Count the hosts, and start all when they are there. False: the run is no longer wanted."""
        if _renew(session, self.lease, self.settings) != TrainingState.VALIDATING:
            return False
        there = training_places.gather(session, self.lease)
        if there != self._there:
            _renew(session, self.lease, self.settings, doing=self._doing(there))
        if there == self.lease.hosts:
            # A port that is free now: the one of the beginning may have been taken while hosts were waited for.
            self._offered = {**self._offered, "port": self.settings.port or free_port()}
            training_places.start(session, self.lease, self._offered)
            names = [seen.host for seen in training_places.seen(session, self.lease)]
            self._event(session, "training.gathered", hosts=[self.lease.worker.rsplit(":", 2)[0], *names])
        elif not self._told:
            missing = f"{self.lease.hosts - there} more of {self.lease.hosts} hosts"
            self._event(session, "training.waiting", waits_for=missing)
            self._told = True
        self._there = there
        return True

    def _give_back(self, session: Session) -> bool:
        pause = self.settings.gather_seconds
        if not run_leases.give_back(session, self.lease, pause, doing=self._doing(self._there)):
            return False  # paused or being cancelled: the next look sees it
        self._event(session, "training.hosts_missing", there=self._there, hosts=self.lease.hosts)
        return True

    def _gives_way(self, session: Session) -> bool:
        if not training_places.older_gathers(session, self.lease, visible_gpus()):
            return False
        return run_leases.give_back(session, self.lease, 0.0)

    def _doing(self, there: int) -> dict[str, Any]:
        return {"phase": PHASE, "done": there, "total": self.lease.hosts}

    def _event(self, session: Session, kind: str, **data: Any) -> None:
        record(session, self.lease.workspace_id, self.lease.run_id, kind, **data)


def _renew(session: Session, lease: RunLease, settings: TrainerSettings, **values: Any) -> str:
    state = run_leases.heartbeat(session, lease, settings.lease_seconds, **values)
    if state is None:
        raise LeaseLost
    return state


def look(session: Session, lease: RunLease) -> tuple[Loss | None, bool]:
    """What has ended the run on another host, and whether a host asks that it be stopped behind a checkpoint."""
    seen = training_places.seen(session, lease)
    return _loss(seen), any(place.state == PlaceState.LEFT for place in seen)


def _loss(seen: Sequence[Seen]) -> Loss | None:
    for place in seen:
        if place.state == PlaceState.FAILED:
            return Loss(place.host, place.error or "its process died", fatal=place.fatal)
    # Behind what was said: a host whose process failed, and which is gone as well, has told why.
    gone = (place for place in seen if place.expired and place.state not in _OVER)
    return next((Loss(place.host, "it was gone", gone=True) for place in gone), None)


def last_words(db: Database, settings: TrainerSettings, lease: RunLease) -> Loss | None:
    """Why another host ended the process of this one, which has died. None: no other host did.

    A connection that breaks is all that a process sees of a host that is gone. So each host is given the time to say
    that it is still there: at most as long as its lease lasts. Raises LeaseLost.
    """
    with db.begin() as session:
        died_at = session.scalars(select(db_now())).one()
    deadline = time.monotonic() + settings.lease_seconds
    while time.monotonic() < deadline:
        with db.begin() as session:
            _renew(session, lease, settings)
            seen = training_places.seen(session, lease)
        if (loss := _loss(seen)) is not None:
            return loss
        if all(place.state in _OVER or (place.seen_at and place.seen_at > died_at) for place in seen):
            return None
        time.sleep(settings.poll_seconds)
    return None
