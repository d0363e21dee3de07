"""A worker killed at each point of making, waiting for and reading a batch: no request is lost and none sent twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models import batches, leases
from models.base import db_now
from models.jobs import Shard
from models.session import Database
from models.states import JobState
from tests.batch_server import BatchServer
from tests.workers.batches.conftest import entry, left, run, step
from tests.workers.engines.jobs import PROBLEMS, Job, posted
from workers.batches.keep import ShardKeep
from workers.engines.openai_batches import BatchClient
from workers.engines.pool import EnginePool
from workers.judge import JudgePool

pytestmark = pytest.mark.timeout(600)
#: What a worker does about a batch, in this order: where its death falls before or behind it.
POINTS: dict[str, tuple[Any, str]] = {
    "begin": (ShardKeep, "begin"),
    "upload": (BatchClient, "upload"),
    "note the file": (ShardKeep, "uploaded"),
    "create": (BatchClient, "create"),
    "note the batch": (ShardKeep, "created"),
    "read the answers": (BatchClient, "content"),
    "settle": (batches, "settle"),
    "clear": (BatchClient, "delete"),
}


def dying(function: Callable[..., Any], when: str) -> Callable[..., Any]:
    """The function, with death by SIGKILL before or behind its call: no ``finally`` runs."""
    if function.__name__ in ("upload", "create", "content", "delete"):

        async def asked(*arguments: Any, **named: Any) -> Any:
            if when == "behind":
                await function(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        return asked

    def called(*arguments: Any, **named: Any) -> Any:
        if when == "behind":
            function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return called


def work_to_death(job: Job, url: str, place: tuple[Any, str], when: str) -> int:
    """Work at the job in a process of its own that dies at this point; the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            job.services.db = job.db = Database(url)
            job.services.engines = EnginePool()
            setattr(*place, dying(getattr(*place), when))
            for _ in range(200):
                step(job)
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_each_point_sends_nothing_twice(
    point: str, when: str, sqlite_database: Database, tmp_path: Path, judge: JudgePool, server: BatchServer
) -> None:
    pool = EnginePool()
    with posted(sqlite_database, tmp_path, (pool, judge), entry(server), shard_size=len(PROBLEMS)) as job:
        sqlite_database.dispose()
        assert work_to_death(job, sqlite_database.url, POINTS[point], when) == signal.SIGKILL
        with sqlite_database.begin() as session:
            held = Shard.state == "running"
            session.execute(update(Shard).where(held).values(lease_expires_at=db_now(-1)))
            leases.expire(session)
        answers = run(job)
        assert job.state() == JobState.SUCCEEDED
        assert job.rows() == len(PROBLEMS)
        opened = [event["batch"] for event in job.events("batch_opened")]
    pool.close()
    assert not {"failed", "released"} & set(answers)
    assert sorted(opened) == sorted(server.batches), "each batch that the provider made is one that is known"
    assert set(server.worked.values()) == {1}
    assert (server.asked_at_once(), left(sqlite_database)) == (0, (0, 0))
