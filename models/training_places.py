"""Places of training runs over several hosts: opened by the trainer that claimed the run, taken by others.

The trainer that claimed a run (:mod:`models.run_leases`) opens a place for every further host. Each place has a lease
of its own, and the fence of the claim that opened it: once the run is given back, expired or claimed anew, no place of
before counts, and whoever holds one finds out at its next statement. Nothing starts before all places are taken. A
place that was taken and not started goes back when its lease runs out; one that was started is lost for all. Clocks are
the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, select, tuple_
from sqlalchemy.orm import Session, aliased

from models.base import db_now
from models.outputs import TrainingPlace, TrainingRun
from models.run_leases import RunLease
from models.session import update_returning
from models.states import PlaceState, TrainingState

_P = PlaceState
_FREE: dict[str, Any] = {"state": _P.OPEN, "worker": None, "lease_expires_at": None, "seen_at": None}


@dataclass(frozen=True, slots=True)
class Place:
    """A claim on one place: valid while ``fence`` is the run's and ``worker`` the place's."""

    run_id: str
    workspace_id: str
    rank: int
    fence: int
    worker: str
    hosts: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What the trainer that claimed the run sees of a place. ``expired``: its lease ran out."""

    rank: int
    worker: str | None
    state: str
    expired: bool
    seen_at: datetime | None
    error: str | None
    fatal: bool

    @property
    def host(self) -> str:
        """The name of the machine whose trainer took it."""
        return (self.worker or "?").rsplit(":", 2)[0]


def _live_run() -> ColumnElement[bool]:
    """A place of the claim that holds its run now."""
    held = and_(TrainingRun.worker.is_not(None), TrainingRun.lease_expires_at > db_now())
    return and_(TrainingRun.id == TrainingPlace.run_id, TrainingRun.fence == TrainingPlace.fence, held)


# What the trainer that claimed the run does. Its transactions make run_leases' fenced statement first.


def open_places(session: Session, lease: RunLease, gpus: int, meets: dict[str, Any]) -> None:
    """Open a place for every host of the run but the first; those of an earlier claim go."""
    session.execute(delete(TrainingPlace).where(TrainingPlace.run_id == lease.run_id))
    common = {"run_id": lease.run_id, "fence": lease.fence, "gpus": gpus, "meets": meets}
    session.add_all(TrainingPlace(**common, rank=rank) for rank in range(1, lease.hosts))


def gather(session: Session, lease: RunLease) -> int:
    """Hosts that are there, the first one included. A place whose trainer is silent beyond its lease is open again."""
    # Locked until the end of the transaction: nobody leaves between the count and the start.
    own = and_(TrainingPlace.run_id == lease.run_id, TrainingPlace.fence == lease.fence)
    session.execute(select(TrainingPlace.rank).where(own).with_for_update()).all()
    gone = and_(own, TrainingPlace.state == _P.TAKEN, TrainingPlace.lease_expires_at < db_now())
    update_returning(session, TrainingPlace, gone, TrainingPlace.rank, **_FREE).all()
    taken = select(TrainingPlace.rank).where(own, TrainingPlace.state == _P.TAKEN)
    return 1 + len(session.scalars(taken).all())


def start(session: Session, lease: RunLease, meets: dict[str, Any]) -> None:
    """Start all hosts at once, in the transaction that has counted them by :func:`gather`."""
    own = and_(TrainingPlace.run_id == lease.run_id, TrainingPlace.fence == lease.fence)
    update_returning(session, TrainingPlace, own, TrainingPlace.rank, state=_P.STARTED, meets=meets).all()


def older_gathers(session: Session, lease: RunLease, gpus: int | None) -> bool:
    """Whether an older run waits for a host that this run's trainer could be.

    Two runs that each wait for a host that the other one has would wait for ever: the younger one gives way.
    """
    own = aliased(TrainingRun)
    order = tuple_(TrainingRun.created_at, TrainingRun.id) < tuple_(own.created_at, own.id)
    return session.execute(_open(gpus).join(own, own.id == lease.run_id).where(order)).first() is not None


def seen(session: Session, lease: RunLease) -> list[Seen]:
    """Every place of the run, by rank."""
    expired = and_(TrainingPlace.lease_expires_at.is_not(None), TrainingPlace.lease_expires_at < db_now())
    columns = (TrainingPlace.rank, TrainingPlace.worker, TrainingPlace.state, expired)
    query = select(*columns, TrainingPlace.seen_at, TrainingPlace.error, TrainingPlace.fatal).where(
        TrainingPlace.run_id == lease.run_id, TrainingPlace.fence == lease.fence
    )
    return [Seen(*row[:3], bool(row[3]), *row[4:]) for row in session.execute(query.order_by(TrainingPlace.rank))]


# What the trainers do that come from other hosts.


def _open(gpus: int | None) -> Select[*tuple[Any, ...]]:
    """Open places that a host with so many GPUs can fill (None: unknown), of the oldest run first."""
    fits = TrainingPlace.gpus <= gpus if gpus is not None else TrainingPlace.gpus >= 0
    columns = (TrainingPlace.run_id, TrainingPlace.rank, TrainingPlace.fence)
    query = select(*columns, TrainingRun.workspace_id, TrainingRun.hosts).join(TrainingRun, _live_run())
    waiting = and_(TrainingPlace.state == _P.OPEN, TrainingRun.state == TrainingState.VALIDATING, fits)
    return query.where(waiting).order_by(TrainingRun.created_at, TrainingRun.id, TrainingPlace.rank).limit(1)


def next_open(session: Session, gpus: int | None) -> tuple[str, str] | None:
    """Id and workspace of the run whose place ``take`` would take; None: no place is open."""
    row = session.execute(_open(gpus)).first()
    return None if row is None else (row.run_id, row.workspace_id)


def take(session: Session, worker: str, ttl_seconds: float, gpus: int | None) -> Place | None:
    """Take an open place of the oldest run that gathers hosts, or None."""
    row = session.execute(_open(gpus).with_for_update(skip_locked=True, of=TrainingPlace)).first()
    if row is None:
        return None
    place = Place(row.run_id, row.workspace_id, row.rank, row.fence, worker, row.hosts)
    chosen = and_(_is(place), TrainingPlace.state == _P.OPEN)
    values = {"state": _P.TAKEN, "worker": worker, "lease_expires_at": db_now(ttl_seconds), "seen_at": db_now()}
    taken = update_returning(session, TrainingPlace, chosen, TrainingPlace.rank, **values).first()
    return None if taken is None else place


def _is(place: Place) -> ColumnElement[bool]:
    own = (TrainingPlace.run_id == place.run_id, TrainingPlace.rank == place.rank)
    return and_(*own, TrainingPlace.fence == place.fence)


def _is_held(place: Place) -> ColumnElement[bool]:
    live = select(TrainingRun.id).where(_live_run()).correlate(TrainingPlace)
    return and_(_is(place), TrainingPlace.worker == place.worker, exists(live))


def meets_of(session: Session, place: Place) -> dict[str, Any]:
    """Where and how the hosts meet; final once the place is started."""
    return dict(session.scalars(select(TrainingPlace.meets).where(_is(place))).one())


def state_of(session: Session, place: Place) -> str | None:
    """The place's state, None when it no longer counts."""
    return session.scalar(select(TrainingPlace.state).where(_is_held(place)))


def heartbeat(session: Session, place: Place, ttl_seconds: float) -> str | None:
    """Extend the place's lease; the answer is its state, None when it no longer counts."""
    values = {"lease_expires_at": db_now(ttl_seconds), "seen_at": db_now()}
    state: str | None = update_returning(
        session, TrainingPlace, _is_held(place), TrainingPlace.state, **values
    ).scalar()
    return state


def leave(session: Session, place: Place) -> None:
    """Give a place back: open again where nothing was started yet, else the whole run is asked to stop."""
    before = and_(_is_held(place), TrainingPlace.state == _P.TAKEN)
    if update_returning(session, TrainingPlace, before, TrainingPlace.rank, **_FREE).first() is None:
        end(session, place, _P.LEFT)


def end(session: Session, place: Place, state: PlaceState, error: str | None = None, *, fatal: bool = False) -> bool:
    """Tell how the process of a started place ended; False when nobody wants to know any more."""
    started = and_(_is_held(place), TrainingPlace.state == _P.STARTED)
    values = {"state": state, "error": error, "fatal": fatal}
    return update_returning(session, TrainingPlace, started, TrainingPlace.rank, **values).first() is not None
