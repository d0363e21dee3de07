"""Jobs over a server with a Batch API, run by hand together with who looks at the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from models.base import db_now
from models.batches import BatchRequest, ProviderBatch
from models.jobs import Shard
from models.session import Database
from models.states import TERMINAL
from tests.batch_server import BatchServer
from tests.processes import until
from tests.workers.engines.jobs import PROBLEMS, Job
from workers.batches.poller import BatchPoller
from workers.engines.base import ModelSpec
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import run_shard


@pytest.fixture(scope="session")
def judge() -> Iterator[JudgePool]:
    with JudgePool(1) as judge:
        yield judge


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    pool = EnginePool(threads=1)
    yield pool
    pool.close()


@pytest.fixture
def server() -> Iterator[BatchServer]:
    server = BatchServer(PROBLEMS)
    yield server
    server.close()


def entry(server: BatchServer, *, batch: dict[str, Any] | None = None, **more: Any) -> ModelSpec:
    """A registry entry that asks this server in batches."""
    return ModelSpec("m", "openai", server.config(batch={"poll_seconds": 0.01, **(batch or {})}, **more))


def step(job: Job) -> list[str]:
    """Look at the batches that are due and run each shard that may run; the runner's answers."""
    BatchPoller(job.services).look()
    with job.db.read() as session:
        due = (Shard.next_run_at.is_(None)) | (Shard.next_run_at <= db_now())
        waiting = list(session.scalars(select(Shard.id).where(due, Shard.state == "queued").order_by(Shard.position)))
    return [run_shard(job.services, shard) for shard in waiting]


def work_until(job: Job, condition: Callable[[], object], what: str) -> None:
    """Step until the condition holds."""
    until(lambda: (step(job), condition())[1], what)


def run(job: Job, seconds: float = 240) -> list[str]:
    """The job to its end; the runner's answers."""
    answers: list[str] = []

    def ended() -> bool:
        answers.extend(step(job))
        return job.state() in TERMINAL

    until(ended, "the job to end", seconds)
    BatchPoller(job.services).look()  # what nobody wants any more is cancelled
    return answers


def left(database: Database) -> tuple[int, int]:
    """How many batches and requests the tables hold."""
    with database.read() as session:
        counted = [session.scalar(select(func.count()).select_from(table)) for table in (ProviderBatch, BatchRequest)]
    return int(counted[0] or 0), int(counted[1] or 0)
