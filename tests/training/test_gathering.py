"""Trainers that gather for one run: what each does when another does not come, fails, leaves or is gone.

What a process says is made up here, as in test_endings; tests/chaos/test_training_hosts.py has real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import update

from models import run_leases, training_places
from models.base import db_now
from models.outputs import TrainingPlace, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.states import PlaceState
from models.training_places import Place
from tests.training.conftest import events, read_run, wait_for
from tests.training.hosts import TRAINS, over, says, taken
from tests.training.test_endings import READY, FakeChild
from workers.training.supervise import attempt
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.gathering import Gathering
from workers.training.supervise.settings import TrainerSettings

pytestmark = pytest.mark.timeout(120)


@contextmanager
def one_run(daemon: TrainerDaemon) -> Iterator[threading.Event]:
    """The daemon takes one run, in a thread that has ended in the end."""
    stop = threading.Event()
    thread = threading.Thread(target=daemon.run_once, args=(stop,))
    thread.start()
    try:
        yield stop
        thread.join(60)
        assert not thread.is_alive()
    finally:
        stop.set()
        thread.join(60)


def started(database: Database, place: Place) -> None:
    def is_started() -> bool:
        with database.read() as session:
            return training_places.state_of(session, place) == PlaceState.STARTED

    wait_for(is_started, 60)


def test_a_run_whose_hosts_do_not_come_lets_others_go_first(
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id, other = over(database, make_run()), make_run("other")
    daemon = TrainerDaemon(database, store, quick.model_copy(update={"gather_seconds": 0.3}))
    says(monkeypatch, attempt, FakeChild({"type": "error", "message": "as the test wants", "fatal": True}))
    assert daemon.run_once(threading.Event())
    run = read_run(database, run_id)
    assert (run.state, run.worker, run.failures, run.interruptions) == ("queued", None, 0, 0)
    assert run.doing == {"phase": "hosts", "done": 1, "total": 2}
    assert events(database, run_id) == ["training.claimed", "training.waiting", "training.hosts_missing"]
    assert run.next_run_at is not None
    with database.begin() as session:  # its pause, made longer than this machine can be slow
        session.execute(update(TrainingRun).where(TrainingRun.id == run_id).values(next_run_at=db_now(600)))
    assert daemon.run_once(threading.Event())
    assert read_run(database, other).state == "failed", "the younger run had its turn"


def test_the_store_says_how_many_are_there_and_a_cancellation_is_heard(
    database: Database, store: StoreSettings, quick: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = over(database, make_run(), hosts=3)
    with one_run(TrainerDaemon(database, store, quick)):
        taken(database)
        wait_for(lambda: read_run(database, run_id).doing == {"phase": "hosts", "done": 2, "total": 3}, 60)
        with database.begin() as session:
            assert run_leases.request_cancel(session, run_id)
    assert read_run(database, run_id).state == "cancelled"


def test_a_trainer_that_stops_gives_the_run_back(
    database: Database, store: StoreSettings, quick: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = over(database, make_run())
    with one_run(TrainerDaemon(database, store, quick)) as stop:
        wait_for(lambda: read_run(database, run_id).doing, 60)
        stop.set()
    run = read_run(database, run_id)
    assert (run.state, run.worker, run.next_run_at) == ("queued", None, None)


def test_the_younger_of_two_half_gathered_runs_gives_way(
    database: Database, quick: TrainerSettings, make_run: Callable[..., str]
) -> None:
    older, younger = (over(database, make_run(name)) for name in ("older", "younger"))
    leases = []
    for worker in ("a:1:1", "b:1:1"):
        with database.begin() as session:
            lease = run_leases.claim(session, worker, 60)
            assert lease is not None
            leases.append(lease)
    first, second = (Gathering(database, quick, lease) for lease in leases)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(first.wait(threading.Event())))
    thread.start()
    try:
        wait_for(lambda: read_run(database, older).doing, 60)
        assert second.wait(threading.Event()) is None
        assert second.given_back
        assert read_run(database, younger).state == "queued"
        place = taken(database)  # its trainer is idle now
        assert place.run_id == older
    finally:
        thread.join(60)
    assert found[0].hosts == 2


def lead(
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    run_id: str,
    then: Callable[[Place], None],
) -> TrainingRun:
    """The run as its trainer leaves it, after ``then`` has happened to the host of its other place."""
    with one_run(TrainerDaemon(database, store, quick)):
        place = taken(database)
        started(database, place)
        then(place)
    return read_run(database, run_id)


def ends(
    database: Database, state: PlaceState, error: str | None = None, *, fatal: bool = False
) -> Callable[..., None]:
    def then(place: Place) -> None:
        with database.begin() as session:
            assert training_places.end(session, place, state, error, fatal=fatal)

    return then


def vanishes(database: Database) -> Callable[..., None]:
    def then(_place: Place) -> None:
        with database.begin() as session:
            session.execute(update(TrainingPlace).values(lease_expires_at=db_now(-1)))

    return then


@pytest.mark.parametrize(("fatal", "state"), [(True, "failed"), (False, "queued")])
def test_a_host_whose_process_fails_says_why(
    fatal: bool,
    state: str,
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = over(database, make_run())
    says(monkeypatch, attempt, FakeChild(READY, patient=True))
    run = lead(database, store, quick, run_id, ends(database, PlaceState.FAILED, "no such model", fatal=fatal))
    assert (run.state, run.failures, run.worker) == (state, 1, None)
    assert "on host far: no such model" in str(run.error)


def test_a_host_that_is_gone_is_an_interruption(
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = over(database, make_run())
    says(monkeypatch, attempt, FakeChild(READY, patient=True))
    run = lead(database, store, quick, run_id, vanishes(database))
    assert (run.state, run.failures, run.interruptions, run.worker) == ("queued", 0, 1, None)
    assert events(database, run_id)[-1] == "training.interrupted"


def test_a_host_that_leaves_stops_the_run_unharmed(
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = over(database, make_run())
    child = says(monkeypatch, attempt, FakeChild(READY, TRAINS, patient=True))
    run = lead(database, store, quick, run_id, ends(database, PlaceState.LEFT))
    assert child.stopped, "behind a checkpoint"
    assert (run.state, run.failures, run.interruptions) == ("queued", 0, 0)


class Broken(FakeChild):
    """Ends by itself once it is ``cut``, as a process does whose connection to another host breaks."""

    def __init__(self, cut: threading.Event) -> None:
        super().__init__(READY, patient=True)
        self._cut = cut

    def read_line(self, seconds: float) -> str:
        self.stopped = self._cut.is_set()
        return super().read_line(seconds)


@pytest.mark.parametrize("how", ["gone", "alive", "left"])
def test_whose_fault_a_broken_connection_was(
    how: str,
    database: Database,
    store: StoreSettings,
    quick: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first host's process dies first. The other host was gone, is still there and says so, or leaves."""
    run_id, cut, done = over(database, make_run()), threading.Event(), threading.Event()
    says(monkeypatch, attempt, Broken(cut))

    def then(place: Place) -> None:
        cut.set()
        if how == "gone":
            vanishes(database)(place)
            return
        if how == "left":
            ends(database, PlaceState.LEFT)(place)
            return

        def renew() -> None:
            while not done.wait(0.1):
                with database.begin() as session:
                    training_places.heartbeat(session, place, 60)

        threading.Thread(target=renew).start()

    try:
        run = lead(database, store, quick, run_id, then)
    finally:
        done.set()
    assert (run.failures, run.interruptions) == {"gone": (0, 1), "alive": (1, 0), "left": (0, 0)}[how]
    assert run.state == "queued"


def test_a_file_store_that_is_not_one_folder_is_refused(
    database: Database, quick: TrainerSettings, make_run: Callable[..., str], store: StoreSettings
) -> None:
    run_id = over(database, make_run())
    far = store.model_copy(update={"files_url": "memory://files"})
    assert TrainerDaemon(database, far, quick).run_once(threading.Event())
    run = read_run(database, run_id)
    assert run.state == "failed"
    assert "needs a file store that is one folder for all of them" in str(run.error)
