"""Ends that cross: a shard that waits again as its job is cancelled, and a job that is resumed after its end."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.leases import claim
from models.session import Database
from models.states import JobState, ShardState
from tests.workers.road import Recorder, events, job_state, make_job, shards
from tests.workers.test_cancel_race import cancel_job
from workers.lifecycle import cancel, complete_owner, pause, resume
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
def test_a_lease_that_expires_as_its_job_is_cancelled_leaves_no_shard_waiting(database: Database) -> None:
    """The sweeper requeues the shard while the cancellation is not committed; neither sees what the other does."""
    make_job(database, shard_size=12)
    with database.begin() as session:
        assert claim(session, shards(database)[0].id, "worker", 60)
    with database.begin() as session:
        session.execute(update(Shard).values(lease_expires_at=db_now(-1)))
    sweeper = Sweeper(database, Recorder(), WorkerSettings())
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        sweeping = threading.Thread(target=sweeper.sweep)
        sweeping.start()
        sweeping.join(60)
        assert not sweeping.is_alive()
    assert [shard.state for shard in shards(database)] == [ShardState.QUEUED]
    assert sweeper.sweep().completed == 1
    assert [shard.state for shard in shards(database)] == [ShardState.CANCELLED]
    assert job_state(database) == JobState.CANCELLED


def test_what_waits_under_a_cancellation_is_ended_by_the_sweeper(database: Database) -> None:
    make_job(database)
    cancel_job(database)
    with database.begin() as session:
        session.execute(update(InjectionJob).values(state=JobState.CANCELLING))
        session.execute(update(Shard).where(Shard.position == 1).values(state=ShardState.QUEUED))
    assert Sweeper(database, Recorder(), WorkerSettings()).sweep().completed == 1
    assert {shard.state for shard in shards(database)} == {ShardState.CANCELLED}
    assert job_state(database) == JobState.CANCELLED


@pytest.mark.parametrize("ended", [False, True])
def test_a_paused_job_that_was_cancelled_is_not_resumed(sqlite_database: Database, ended: bool) -> None:
    make_job(sqlite_database)
    with sqlite_database.begin() as session:
        assert pause(session, session.get_one(InjectionJob, "inj"))
        assert cancel(session, InjectionJob, "inj")
        if ended:
            complete_owner(session, InjectionJob, "inj")
    with sqlite_database.begin() as session:
        assert resume(session, session.get_one(InjectionJob, "inj")) is None
        assert session.scalar(select(InjectionJob.paused_at)) is not None
    assert "resumed" not in events(sqlite_database)
