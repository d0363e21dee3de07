"""A connection that stays open while nothing passes: its packets are acknowledged, so no timeout of TCP fires."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, update
from sqlalchemy.exc import OperationalError

from models.base import db_now
from models.jobs import Shard
from models.migrate import Base
from models.session import Database, passing
from models.states import JobState, ShardState, Stage
from tests.proxies import Proxy
from tests.workers.road import PROBLEMS, ROAD, Recorder, job_state, make_job, make_services, outcomes, shards, through
from workers.runner import ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

#: Setting of both tests, in seconds; the default is 60. Nothing is heard for a quarter more, and it is given up.
SHORT = 1.0


@pytest.fixture
def stalling(postgres_url: str) -> Iterator[tuple[Database, Database, Proxy]]:
    """A database, the same through a proxy with a short bound on statements, and the proxy."""
    direct, server = Database(postgres_url), make_url(postgres_url)
    Base.metadata.create_all(direct.engine)
    with Proxy(server.port or 5432) as proxy:
        url = server.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        through_proxy = Database(url, statement_seconds=SHORT)
        yield direct, through_proxy, proxy
        through_proxy.dispose()
    direct.dispose()


def test_a_statement_without_an_answer_ends_by_itself(stalling: tuple[Database, Database, Proxy]) -> None:
    _, database, proxy = stalling
    with database.read() as session:
        session.scalar(select(Shard.id))
        proxy.flowing.clear()
        with pytest.raises(OperationalError, match=r"no answer from the database within 1\.25 s") as caught:
            session.scalar(select(Shard.id))
    assert passing(caught.value), "the same may be tried again"
    proxy.flowing.set()
    database.ping()  # on a new connection: the pool gave the stalled ones up


@pytest.mark.chaos
def test_a_half_open_connection_costs_an_interruption(
    stalling: tuple[Database, Database, Proxy], tmp_path: Path
) -> None:
    """The stage's end cannot be written: its worker gives up in bounded time, and another one takes the shard."""
    direct, database, proxy = stalling
    make_job(direct, shard_size=PROBLEMS)
    began = [0.0]

    def stalls(context: StageContext) -> Finish:
        proxy.flowing.clear()
        began[0] = time.monotonic()
        return through(None)(context)

    services = make_services(database, tmp_path, {**ROAD, Stage.PAIR: stalls}, lease_seconds=2, heartbeat_seconds=0.2)
    [shard] = shards(direct)
    assert [run_shard(services, shard.id) for _ in range(2)] == [ShardOutcome.ADVANCED] * 2
    assert run_shard(services, shard.id) is ShardOutcome.INTERRUPTED
    assert time.monotonic() - began[0] < 40, "with the default setting: 2 minutes"
    with direct.begin() as session:
        session.execute(update(Shard).values(lease_expires_at=db_now(-1)))
    assert Sweeper(direct, Recorder(), services.settings).sweep().expired == 1
    assert run_shard(make_services(direct, tmp_path, ROAD), shard.id) is ShardOutcome.DONE
    proxy.flowing.set()
    [shard] = shards(direct)
    assert (shard.state, shard.failures, shard.interruptions) == (ShardState.DONE, 0, 0), "progress clears the counts"
    assert (outcomes(direct), job_state(direct)) == (PROBLEMS, JobState.SUCCEEDED)
