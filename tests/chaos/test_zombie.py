"""A worker stopped past its lease and continued: what it then writes is refused, and one result is stored."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import update

from models.base import db_now
from models.jobs import Shard
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.road import PROBLEMS, ROAD, Recorder, job_state, make_job, make_services, outcomes, shards
from workers.runner import ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper

_REFUSED = 7  # exit status of the worker that was refused


def work_until_told(url: str, folder: Path, tells: int, waits: int) -> None:
    """Run the shard in this process; in its last stage tell that it computes, and go on when told to. Never returns."""
    status = 1
    try:

        def last(context: StageContext) -> Finish:
            os.write(tells, b"c")
            os.read(waits, 1)
            return ROAD[Stage.PAIR](context)

        database = Database(url)
        services = make_services(database, folder, {**ROAD, Stage.PAIR: last})
        shard = shards(database)[0].id
        found = [run_shard(services, shard) for _ in range(3)]
        status = _REFUSED if found[-1] is ShardOutcome.DISCARDED else 2
    finally:
        os._exit(status)


@pytest.mark.chaos
def test_zombie(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=PROBLEMS)
    database.dispose()  # a forked process must not share its connections
    (told, tells), (waits, release) = os.pipe(), os.pipe()
    zombie = os.fork()
    if zombie == 0:
        work_until_told(database.url, tmp_path, tells, waits)
    assert os.read(told, 1) == b"c"
    os.kill(zombie, signal.SIGSTOP)
    with database.begin() as session:
        session.execute(update(Shard).values(lease_expires_at=db_now(-1)))
    services = make_services(database, tmp_path, ROAD)
    assert Sweeper(database, Recorder(), services.settings).sweep().expired == 1
    assert run_shard(services, shards(database)[0].id) is ShardOutcome.DONE
    before = shards(database)[0].fence
    os.kill(zombie, signal.SIGCONT)
    os.write(release, b"g")
    assert os.waitstatus_to_exitcode(os.waitpid(zombie, 0)[1]) == _REFUSED
    [shard] = shards(database)
    assert (shard.state, shard.fence, shard.failures) == (ShardState.DONE, before, 0)
    assert (outcomes(database), job_state(database)) == (PROBLEMS, JobState.SUCCEEDED)
