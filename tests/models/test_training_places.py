"""Places of runs over several hosts: taken once, bound to one claim, never a reason to wait for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from models import run_leases, training_places
from models.base import db_now, new_id
from models.outputs import Dataset, TrainingPlace, TrainingRun
from models.run_leases import MAX_INTERRUPTIONS, RunLease
from models.session import Database
from models.states import PlaceState
from models.training_places import Place
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace

MEETS = {"address": "10.0.0.1", "port": 29500, "processes": 1, "on_cpu": True, "sharding": None}


@pytest.fixture
def make_run(database: Database) -> Callable[..., str]:
    """Adds a queued run over some hosts; each is a second younger than the one before."""
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        common = {"workspace_id": DEFAULT_WORKSPACE, "config": {}}
        session.add(Dataset(**common, id="ds_1", name="pairs", state="succeeded"))
        session.add(LanguageModel(**common, id="model_base", name="tiny", engine="transformers"))
    ages = iter(range(-1000, 0))

    def make(hosts: int = 2) -> str:
        run_id = new_id("train")
        about = {"workspace_id": DEFAULT_WORKSPACE, "dataset_id": "ds_1", "base_model_id": "model_base", "config": {}}
        with database.begin() as session:
            run = TrainingRun(id=run_id, **about, output_name="m", hosts=hosts, created_at=db_now(next(ages)))
            session.add(run)
        return run_id

    return make


def claim(database: Database, worker: str = "a:1:1", gpus: int = 0) -> RunLease:
    """Claim the next run and open its places."""
    with database.begin() as session:
        lease = run_leases.claim(session, worker, 60)
        assert lease is not None
        training_places.open_places(session, lease, gpus, MEETS)
    return lease


def take(database: Database, worker: str = "b:1:1", ttl: float = 60, gpus: int | None = 0) -> Place | None:
    with database.begin() as session:
        return training_places.take(session, worker, ttl, gpus)


def gather(database: Database, lease: RunLease) -> int:
    with database.begin() as session:
        there = training_places.gather(session, lease)
        if there == lease.hosts:
            training_places.start(session, lease, {**MEETS, "port": 29501})
    return there


def state(database: Database, place: Place) -> str | None:
    with database.read() as session:
        return training_places.state_of(session, place)


def test_all_start_at_once_and_not_before(database: Database, make_run: Callable[..., str]) -> None:
    make_run(hosts=3)
    lease = claim(database)
    assert lease.hosts == 3
    assert gather(database, lease) == 1
    first = take(database, "b:1:1")
    assert first is not None
    assert (first.rank, first.hosts) == (1, 3)
    assert gather(database, lease) == 2
    assert state(database, first) == PlaceState.TAKEN
    second = take(database, "c:1:1")
    assert second is not None
    assert take(database, "d:1:1") is None, "no more places"
    assert gather(database, lease) == 3
    assert [state(database, place) for place in (first, second)] == [PlaceState.STARTED] * 2
    with database.read() as session:
        assert training_places.meets_of(session, second) == {**MEETS, "port": 29501}, "the port that is free then"


def test_places_end_with_the_claim_that_opened_them(database: Database, make_run: Callable[..., str]) -> None:
    make_run()
    lease = claim(database)
    place = take(database)
    assert place is not None
    with database.begin() as session:
        assert run_leases.release(session, lease)
    with database.begin() as session:
        assert training_places.heartbeat(session, place, 60) is None
        assert not training_places.end(session, place, PlaceState.FAILED, "late")
    again = claim(database)
    assert again.fence == lease.fence + 1
    assert state(database, place) is None, "of an earlier claim"
    anew = take(database)
    assert anew is not None
    assert (anew.fence, state(database, anew)) == (again.fence, PlaceState.TAKEN)


def test_a_run_whose_trainer_is_silent_has_no_places(database: Database, make_run: Callable[..., str]) -> None:
    """Its hosts end their processes without anybody sweeping: there may be no other trainer."""
    run_id = make_run()
    claim(database)
    place = take(database)
    assert place is not None
    with database.begin() as session:
        session.execute(update(TrainingRun).where(TrainingRun.id == run_id).values(lease_expires_at=db_now(-1)))
    assert state(database, place) is None
    assert take(database, "c:1:1") is None


def test_a_silent_host_is_waited_for_no_longer(database: Database, make_run: Callable[..., str]) -> None:
    make_run(hosts=3)
    lease = claim(database)
    silent = take(database, "b:1:1", ttl=-1.0)
    assert silent is not None
    assert gather(database, lease) == 1
    assert state(database, silent) is None
    other = take(database, "c:1:1")
    assert other is not None
    assert other.rank == silent.rank
    with database.begin() as session:
        training_places.leave(session, other)
    assert gather(database, lease) == 1, "and one that leaves is not waited for either"


def test_a_started_host_that_is_lost_is_seen(database: Database, make_run: Callable[..., str]) -> None:
    make_run()
    lease = claim(database)
    place = take(database)
    assert place is not None
    assert gather(database, lease) == 2
    with database.begin() as session:
        session.execute(update(TrainingPlace).values(lease_expires_at=db_now(-1)))
    with database.begin() as session:
        (seen,) = training_places.seen(session, lease)
        assert (seen.expired, seen.state, seen.host) == (True, PlaceState.STARTED, "b")
        assert training_places.end(session, place, PlaceState.FAILED, "no memory", fatal=True)
        (seen,) = training_places.seen(session, lease)
        assert (seen.state, seen.error, seen.fatal) == (PlaceState.FAILED, "no memory", True)


def test_a_host_without_the_gpus_takes_no_place(database: Database, make_run: Callable[..., str]) -> None:
    make_run()
    claim(database, gpus=4)
    assert take(database, gpus=2) is None
    with database.read() as session:
        assert training_places.next_open(session, 2) is None
    assert take(database, gpus=None) is not None, "how many it has cannot be told everywhere"


def test_of_two_that_wait_the_younger_gives_way(database: Database, make_run: Callable[..., str]) -> None:
    older, younger = make_run(), make_run()
    first, second = claim(database, "a:1:1"), claim(database, "b:1:1")
    assert [first.run_id, second.run_id] == [older, younger]
    with database.read() as session:
        assert [training_places.older_gathers(session, lease, 0) for lease in (first, second)] == [False, True]
    with database.begin() as session:
        assert run_leases.give_back(session, second, 0.0)
    place = take(database, "b:1:1")
    assert place is not None
    assert place.run_id == older
    assert gather(database, first) == 2
    with database.read() as session:
        assert not training_places.older_gathers(session, second, 0), "nothing waits any more"


def test_a_run_that_was_given_back_lets_others_go_first(database: Database, make_run: Callable[..., str]) -> None:
    make_run(hosts=2)
    alone = make_run(hosts=1)
    lease = claim(database)
    with database.begin() as session:
        assert run_leases.give_back(session, lease, 60.0, doing={"phase": "hosts", "done": 1, "total": 2})
    with database.read() as session:
        run = session.get_one(TrainingRun, lease.run_id)
        assert (run.state, run.worker, run.failures, run.interruptions) == ("queued", None, 0, 0)
        assert run.doing == {"phase": "hosts", "done": 1, "total": 2}
    assert claim(database).run_id == alone
    with database.begin() as session:
        assert run_leases.claim(session, "c:1:1", 60) is None, "not yet"


@pytest.mark.parametrize("ask", ["pause", "cancel"])
def test_a_run_that_is_no_longer_wanted_is_not_given_back(
    ask: str, database: Database, make_run: Callable[..., str]
) -> None:
    run_id = make_run()
    lease = claim(database)
    with database.begin() as session:
        assert getattr(run_leases, f"request_{ask}")(session, run_id)
        assert not run_leases.give_back(session, lease, 60.0)


def test_hosts_that_are_lost_count_as_interruptions(database: Database, make_run: Callable[..., str]) -> None:
    make_run()
    states = []
    for _ in range(MAX_INTERRUPTIONS):
        lease = claim(database)
        with database.begin() as session:
            states.append(run_leases.interrupt(session, lease))
            assert run_leases.interrupt(session, lease) is None, "the lease went with it"
    assert states == ["queued"] * (MAX_INTERRUPTIONS - 1) + ["failed"]


def test_a_run_being_cancelled_is_not_interrupted(database: Database, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    lease = claim(database)
    with database.begin() as session:
        assert run_leases.request_cancel(session, run_id)
        assert run_leases.interrupt(session, lease) == "cancelling"
