"""A cancellation that comes while a stage finishes: the shard must not wait again for a worker that never comes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text

from models.jobs import InjectionJob
from models.leases import claim, finish
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.processes import until
from tests.workers.test_runner import ROAD, job_state, make_job, make_services, shards
from workers.engines.base import EngineError
from workers.lifecycle import cancel, complete_owner
from workers.runner import run_shard
from workers.stages.base import Finish, StageContext


def cancel_job(database: Database) -> None:
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        complete_owner(session, InjectionJob, "inj")


@pytest.mark.parametrize("end", ["advances", "fails", "has no engine"])
def test_a_stage_that_ends_after_the_cancellation_ends_the_job(database: Database, tmp_path: Path, end: str) -> None:
    make_job(database)

    def stage(context: StageContext) -> Finish:
        cancel_job(database)  # and the stage does not notice: it was as good as done
        if end == "fails":
            raise ValueError("failed")
        if end == "has no engine":
            raise EngineError("away", retryable=True)
        return Finish(Stage.GRADE)

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage}, cancel_poll_seconds=30)
    run_shard(services, shards(database)[0].id)
    assert {shard.state for shard in shards(database)} == {ShardState.CANCELLED}
    assert job_state(database) == JobState.CANCELLED


def test_a_cancellation_at_the_very_moment_of_finishing_leaves_no_shard_waiting(
    database: Database, tmp_path: Path
) -> None:
    make_job(database)
    with database.begin() as session:
        lease = claim(session, shards_id := shards(database)[0].id, "worker", 60)
    assert lease is not None
    canceller = threading.Thread(target=cancel_job, args=(database,))
    with database.begin() as session:
        assert finish(session, lease, Stage.GRADE)
        canceller.start()  # waits for this transaction's lock, and then sees the shard waiting
        canceller.join(0.5)
        assert canceller.is_alive()
    canceller.join(60)
    assert next(shard.state for shard in shards(database) if shard.id == shards_id) == ShardState.CANCELLED
    assert job_state(database) == JobState.CANCELLED


def waiting(database: Database) -> int:
    """Connections of this database that wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.read() as session:
        return session.scalar(text(query)) or 0


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
def test_a_cancellation_as_the_first_shard_is_claimed_is_no_deadlock(database: Database) -> None:
    """Both change the job and its shards; who holds the job's row goes first."""
    make_job(database)
    claimed: list[object] = []

    def take() -> None:
        with database.begin() as session:
            claimed.append(claim(session, first, "worker", 60))

    first = shards(database)[0].id
    claiming = threading.Thread(target=take)
    with database.begin() as session:
        session.scalar(select(InjectionJob.id).with_for_update())
        claiming.start()
        until(lambda: waiting(database), "the claim to wait")
        assert cancel(session, InjectionJob, "inj")
    claiming.join(60)
    assert claimed == [None]
    assert {shard.state for shard in shards(database)} == {ShardState.CANCELLED}
