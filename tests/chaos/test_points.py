"""A worker killed before and after each thing it does to a shard: claiming, inserting, committing, sending hints."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models import leases
from models.base import db_now
from models.jobs import Shard
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.road import PROBLEMS, ROAD, Recorder, events, job_state, make_job, make_services, outcomes, shards
from workers.runner import Services, ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper

pytestmark = pytest.mark.chaos

#: The commits of a shard's road: at each of three stages the claim and its end, and then the job's.
CLAIM, FIRST_STAGE, LAST_STAGE, JOB = 1, 2, 6, 7


def die() -> None:
    """As SIGKILL from outside: no handler and no ``finally`` runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Any], when: str, number: int = 1) -> Callable[..., Any]:
    """The function, with death before or after its n-th call."""
    calls = [0]

    def watched(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and when == "before":
            die()
        answer = function(*arguments, **named)
        if calls[0] == number:
            die()
        return answer

    return watched


def claim(services: Services, when: str) -> None:
    """In the transaction of the claim."""
    leases.claim = dying(leases.claim, when)


def insert(services: Services, when: str) -> None:
    """In the transaction that writes what the last stage made."""

    def last(context: StageContext) -> Finish:
        return Finish(None, dying(ROAD[Stage.PAIR](context).write, when))

    services.stages[Stage.PAIR] = last


def commit(number: int) -> Callable[[Services, str], None]:
    """Around the n-th commit."""

    def place(services: Services, when: str) -> None:
        dialect = services.db.engine.dialect
        dialect.do_commit = dying(dialect.do_commit, when, number)  # type: ignore[method-assign]

    return place


def publish(services: Services, when: str) -> None:
    """Around the hint for the next stage."""
    services.dispatcher.send = dying(services.dispatcher.send, when)  # type: ignore[method-assign]


POINTS = {
    "claim": claim,
    "insert": insert,
    "commit of a claim": commit(CLAIM),
    "commit of a stage": commit(FIRST_STAGE),
    "commit of the last stage": commit(LAST_STAGE),
    "commit of the job's end": commit(JOB),
    "publish": publish,
}


def run_to_death(url: str, folder: Path, place: Callable[[Services, str], None], when: str) -> int:
    """Run the shard in a process of its own that dies at this point; the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            database = Database(url)
            services = make_services(database, folder, ROAD)
            place(services, when)
            shard = shards(database)[0].id
            while run_shard(services, shard) is ShardOutcome.ADVANCED:
                pass
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_kill_at_each_point(database: Database, tmp_path: Path, point: str, when: str) -> None:
    """What was committed is there, what was not is done again, and at most one interruption is counted."""
    make_job(database, shard_size=PROBLEMS)
    database.dispose()  # a forked process must not share its connections
    assert run_to_death(database.url, tmp_path, POINTS[point], when) == signal.SIGKILL
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.state == ShardState.RUNNING).values(lease_expires_at=db_now(-1)))
    services = make_services(database, tmp_path, ROAD)
    expired = Sweeper(database, Recorder(), services.settings).sweep().expired
    shard = shards(database)[0].id
    while run_shard(services, shard) is ShardOutcome.ADVANCED:
        pass
    Sweeper(database, Recorder(), services.settings).sweep()
    assert (job_state(database), outcomes(database)) == (JobState.SUCCEEDED, PROBLEMS)
    assert [(each.state, each.failures) for each in shards(database)] == [(ShardState.DONE, 0)]
    assert events(database).count("shard_interrupted") == expired <= 1
    assert events(database).count(JobState.SUCCEEDED) == 1
