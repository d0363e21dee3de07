"""Leases: claim, heartbeat, finish, fail, expire; the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from models import leases
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState, ShardState, Stage, move
from models.workspaces import DEFAULT_WORKSPACE, ProblemSet, Workspace

TTL = 60.0


@pytest.fixture
def job(database: Database) -> str:
    """A queued job with three shards s0, s1, s2."""
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        problems = ProblemSet(id="pset_1", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256="")
        session.add(problems)
        session.flush()
        session.add(InjectionJob(id="inj_1", workspace_id=DEFAULT_WORKSPACE, problem_set_id="pset_1", config={}))
        session.flush()
        for at in range(3):
            session.add(
                Shard(id=f"s{at}", injection_job_id="inj_1", position=at, start=at, stop=at + 1, stage="sample")
            )
    return "inj_1"


def _shard(db: Database, shard_id: str = "s0") -> Shard:
    with db.read() as session:
        return session.get_one(Shard, shard_id)


def _claim(db: Database, shard_id: str = "s0", worker: str = "w") -> leases.Lease | None:
    with db.begin() as session:
        return leases.claim(session, shard_id, worker, TTL)


def _run_out(db: Database, shard_id: str = "s0") -> list[Shard]:
    with db.begin() as session:
        session.execute(update(Shard).where(Shard.id == shard_id).values(lease_expires_at=db_now(-1)))
        return leases.expire(session)


@pytest.mark.usefixtures("job")
def test_claim_takes_the_lease_once_and_starts_the_job(database: Database) -> None:
    first, second = _claim(database), _claim(database)
    assert first is not None
    assert (first.fence, first.stage, first.owner_id) == (1, Stage.SAMPLE, "inj_1")
    assert second is None
    with database.read() as session:
        job = session.get_one(InjectionJob, "inj_1")
        assert job.state == JobState.RUNNING
        assert job.started_at is not None


@pytest.mark.usefixtures("job")
def test_eight_claimers_at_once_get_one_lease_per_shard(database: Database) -> None:
    taken: list[leases.Lease] = []
    errors: list[Exception] = []

    def claimer(name: str) -> None:
        try:
            for shard in ("s0", "s1", "s2") * 5:
                if lease := _claim(database, shard, name):
                    taken.append(lease)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=claimer, args=(f"w{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(lease.shard_id for lease in taken) == ["s0", "s1", "s2"]


@pytest.mark.usefixtures("job")
def test_a_zombie_can_write_nothing(database: Database) -> None:
    old = _claim(database)
    assert old is not None
    assert [shard.id for shard in _run_out(database)] == ["s0"]
    new = _claim(database, worker="other")
    assert new is not None
    assert new.fence > old.fence
    with database.begin() as session:
        assert not leases.heartbeat(session, old, TTL)
        assert not leases.finish(session, old, Stage.GRADE)
        assert not leases.release(session, old)
        assert leases.fail(session, old, "late") is None
        assert leases.heartbeat(session, new, TTL)
        assert leases.finish(session, new, Stage.GRADE)
    assert _shard(database).stage == Stage.GRADE


@pytest.mark.usefixtures("job")
def test_progress_is_the_holders_and_goes_with_the_lease(database: Database) -> None:
    told = {"made": 3, "total": 8, "share": 0.4}
    ends: list[Callable[[Session, leases.Lease], object]] = [
        leases.release,
        leases.interrupt,
        lambda session, lease: leases.fail(session, lease, "error", backoff_seconds=0),
        lambda session, lease: leases.finish(session, lease, Stage.GRADE),
    ]
    old = None
    for end in ends:
        lease = _claim(database)
        assert lease is not None
        with database.begin() as session:
            assert leases.heartbeat(session, lease, TTL, told)
            assert leases.heartbeat(session, lease, TTL), "without news what was told stays"
        assert _shard(database).progress == told
        if old is not None:
            with database.begin() as session:
                assert not leases.heartbeat(session, old, TTL, {**told, "made": 9})
            assert _shard(database).progress == told, "a zombie overwrites nothing"
        with database.begin() as session:
            end(session, lease)
        assert _shard(database).progress is None
        old = lease
    lease = _claim(database)
    assert lease is not None
    with database.begin() as session:
        leases.heartbeat(session, lease, TTL, told)
    _run_out(database)
    assert _shard(database).progress is None


@pytest.mark.usefixtures("job")
def test_three_failures_quarantine_with_the_error(database: Database) -> None:
    states = []
    for number in range(3):
        lease = _claim(database)
        assert lease is not None
        with database.begin() as session:
            states.append(leases.fail(session, lease, f"error {number}", backoff_seconds=0))
    assert states == [ShardState.QUEUED, ShardState.QUEUED, ShardState.QUARANTINED]
    assert _shard(database).error == "error 2"
    assert _claim(database) is None


@pytest.mark.usefixtures("job")
def test_a_failure_backs_off(database: Database) -> None:
    lease = _claim(database)
    assert lease is not None
    with database.begin() as session:
        leases.fail(session, lease, "error", backoff_seconds=1000)
    assert _claim(database) is None


@pytest.mark.usefixtures("job")
def test_interruptions_never_quarantine_unless_alone(database: Database) -> None:
    for number in range(1, 4):
        assert _claim(database) is not None
        _run_out(database)
        shard = _shard(database)
        assert (shard.interruptions, shard.failures, shard.alone) == (number, 0, number == 3)
    for failures in (1, 2):
        assert _claim(database) is not None
        _run_out(database)
        assert (_shard(database).state, _shard(database).failures) == (ShardState.QUEUED, failures)
    assert _claim(database) is not None
    _run_out(database)
    assert (_shard(database).state, _shard(database).failures) == (ShardState.QUARANTINED, 3)


@pytest.mark.usefixtures("job")
def test_a_shard_that_runs_alone_waits_for_its_worker_to_be_idle(database: Database) -> None:
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.id == "s0").values(alone=True))
    other = _claim(database, "s1")
    assert other is not None
    assert _claim(database, "s0") is None
    assert _claim(database, "s0", worker="idle") is not None
    assert _claim(database, "s2", worker="idle") is None
    assert _claim(database, "s2") is not None


@pytest.mark.usefixtures("job")
def test_progress_clears_what_the_stage_suffered(database: Database) -> None:
    _claim(database)
    _run_out(database)
    lease = _claim(database)
    assert lease is not None
    with database.begin() as session:
        leases.finish(session, lease, Stage.GRADE)
    assert _shard(database).interruptions == 0


@pytest.mark.usefixtures("job")
def test_a_cancelled_owner_is_noticed_and_claims_end(database: Database) -> None:
    lease = _claim(database)
    assert lease is not None
    with database.begin() as session:
        assert leases.is_wanted(session, lease)
        assert move(session, InjectionJob, "inj_1", JobState.CANCELLING)
        assert not leases.is_wanted(session, lease)
        assert not leases.heartbeat(session, lease, TTL)
    assert _claim(database, "s1") is None


@pytest.mark.usefixtures("job")
def test_a_terminal_state_never_changes(database: Database) -> None:
    with database.begin() as session:
        assert move(session, InjectionJob, "inj_1", JobState.RUNNING)
        assert not move(session, InjectionJob, "inj_1", JobState.QUEUED)
        assert move(session, InjectionJob, "inj_1", JobState.SUCCEEDED)
        for state in JobState:
            assert not move(session, InjectionJob, "inj_1", state)
