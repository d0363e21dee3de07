"""The trainer of a further host: how it tells its process's end, and when it gives its place back or kills it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from models import run_leases, training_places
from models.outputs import TrainingPlace, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.states import PlaceState
from models.training_places import Place
from tests.training.conftest import wait_for
from tests.training.hosts import TRAINS, over, says, taken
from tests.training.test_endings import FakeChild
from workers.training.supervise import member
from workers.training.supervise.member import Member
from workers.training.supervise.settings import TrainerSettings

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def place(database: Database, make_run: Callable[..., str]) -> Place:
    """The one further place of a run that another trainer has claimed."""
    over(database, make_run())
    meets = {"address": "127.0.0.1", "port": 1, "processes": 1, "on_cpu": True, "sharding": None}
    with database.begin() as session:
        lease = run_leases.claim(session, "first:1:1", 60)
        assert lease is not None
        training_places.open_places(session, lease, 0, meets)
    return taken(database)


def start(database: Database, place: Place) -> None:
    with database.begin() as session:
        session.execute(update(TrainingPlace).where(TrainingPlace.rank == place.rank).values(state="started"))


def row(database: Database) -> TrainingPlace:
    with database.read() as session:
        return session.query(TrainingPlace).one()


class Ending(FakeChild):
    """A made-up process that a place's trainer reads the end of."""

    def __init__(self, *said: dict[str, Any], status: int | None = 1, patient: bool = False) -> None:
        super().__init__(*said, patient=patient)
        self.returncode, self.killed = status, False

    def kill(self) -> None:
        self.killed = True

    def wait(self, _seconds: float) -> int | None:
        return self.returncode


@pytest.mark.parametrize(
    ("child", "state", "error", "fatal"),
    [
        (lambda: Ending(status=0), "done", None, False),
        (lambda: Ending({"type": "error", "message": "no model", "fatal": True}), "failed", "no model", True),
        (lambda: Ending(status=-9), "failed", "the process ended with status 1", False),
    ],
)
def test_a_member_tells_how_its_process_ended(
    child: Callable[[], Ending],
    state: str,
    error: str | None,
    fatal: bool,
    place: Place,
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(database, place)
    says(monkeypatch, member, child())
    Member(database, store, quick, place).run(threading.Event())
    told = row(database)
    assert (told.state, told.error, told.fatal) == (state, error, fatal)


def test_a_member_kills_its_process_when_the_place_no_longer_counts(
    place: Place,
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(database, place)
    child = Ending(TRAINS, patient=True)
    says(monkeypatch, member, child)
    thread = threading.Thread(target=Member(database, store, quick, place).run, args=(threading.Event(),))
    thread.start()
    wait_for(lambda: not child._said, 60)
    with database.begin() as session:
        session.execute(update(TrainingRun).values(worker=None))
    thread.join(60)
    assert not thread.is_alive()
    assert child.killed
    assert row(database).state == PlaceState.STARTED, "nothing more is written"


def test_a_member_that_stops_before_the_start_gives_its_place_back(
    place: Place, database: Database, store: StoreSettings, quick: TrainerSettings
) -> None:
    stop = threading.Event()
    stop.set()
    Member(database, store, quick, place).run(stop)
    assert (row(database).state, row(database).worker) == (PlaceState.OPEN, None)


@pytest.mark.parametrize(("said", "asked"), [([TRAINS], True), ([], False)])
def test_a_member_that_stops_later_has_the_run_stopped(
    said: list[dict[str, Any]],
    asked: bool,
    place: Place,
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a checkpoint where the run trains; where it loads there is none to write."""
    start(database, place)
    child, stop = Ending(*said, patient=True), threading.Event()
    says(monkeypatch, member, child)
    stop.set()
    served = Member(database, store, quick, place)
    monkeypatch.setattr(served, "_await_start", lambda _stop: True)
    served.run(stop)
    assert child.stopped == asked
    assert row(database).state == PlaceState.LEFT
