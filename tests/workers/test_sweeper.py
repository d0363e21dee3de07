"""What the sweeper forgets, how much it sends, and what cannot stop it."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
from celery import Celery
from sqlalchemy import select, update

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState, ShardState
from models.workspaces import DEFAULT_WORKSPACE, IdempotencyKey, Workspace
from tests.ops.services import own_broker
from tests.processes import until
from tests.workers.injection_jobs import Deaf
from tests.workers.road import job_state, make_job, shards
from workers.app import GENERATION, create_celery
from workers.dispatch import Dispatcher
from workers.lifecycle import Hint
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper, Swept

LIMITED = WorkerSettings(resend_limit=4, resend_after_seconds=30)


class Noting(Dispatcher):
    """Sends by a broker and remembers which shards the hints named."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self.named: list[str] = []

    def send(self, hints) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
        hints = list(hints)
        self.named += [hint.shard_id for hint in hints]
        return super().send(hints)

    def empty(self) -> None:
        """Take every hint out of the queue, as workers would."""
        if self.waiting(GENERATION):
            with self._app.connection_or_acquire() as connection, connection.channel() as channel:
                channel.queue_purge(GENERATION)


@pytest.fixture
def noting() -> Noting:
    dispatcher = Noting(create_celery("memory://"))
    dispatcher.empty()
    return dispatcher


@pytest.mark.parametrize("url", ["memory://", pytest.param("redis", marks=pytest.mark.services)])
def test_the_length_of_a_queue_is_known_though_another_is_not_there(url: str) -> None:
    with own_broker() if url == "redis" else nullcontext(url) as broker:
        dispatcher = Noting(create_celery(broker))
        dispatcher.empty()
        dispatcher.send([Hint("shard", GENERATION)] * 3)
        for _ in range(3):
            assert (dispatcher.waiting("never-used"), dispatcher.waiting(GENERATION)) == (0, 3)
        dispatcher.empty()


def hinted(database: Database, seconds: float | None, *positions: int) -> None:
    """Let the hints of these shards, or of all, be so many seconds old (None: none on its way)."""
    where = Shard.position.in_(positions) if positions else Shard.position >= 0
    with database.begin() as session:
        session.execute(update(Shard).where(where).values(hinted_at=None if seconds is None else db_now(-seconds)))


def test_keys_of_repeated_requests_are_kept_a_week(database: Database) -> None:
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        for key, days in (("new", 0), ("old", 6.9), ("older", 7.1)):
            ids = {"workspace_id": DEFAULT_WORKSPACE, "route": "/v1/datasets", "key": key, "request_sha256": ""}
            session.add(IdempotencyKey(**ids, created_at=db_now(-86400 * days)))
    Sweeper(database, Deaf(), WorkerSettings()).delete_old()
    with database.read() as session:
        assert set(session.scalars(select(IdempotencyKey.key))) == {"new", "old"}


def test_shards_that_wait_their_turn_do_not_fill_the_queue(database: Database, noting: Noting) -> None:
    make_job(database, shard_size=1)
    sweeper = Sweeper(database, noting, LIMITED)
    for _ in range(5):
        hinted(database, 31)
        sweeper.sweep()
    assert noting.waiting(GENERATION) == 4


def test_the_hint_that_is_oldest_is_sent_first(database: Database, noting: Noting) -> None:
    make_job(database, shard_size=1)
    hinted(database, 60)
    hinted(database, 90, 9, 10, 11)
    ids = [shard.id for shard in shards(database)]
    sweeper = Sweeper(database, noting, LIMITED)
    sweeper.sweep()
    assert set(ids[9:]) < set(noting.named)
    for _ in range(3):
        noting.empty()
        sweeper.sweep()
    assert sorted(noting.named) == sorted(ids)


def test_a_shard_without_a_hint_gets_one_however_long_the_queue(database: Database, noting: Noting) -> None:
    make_job(database, shard_size=1)
    hinted(database, 31)
    sweeper = Sweeper(database, noting, LIMITED)
    sweeper.sweep()
    hinted(database, None, 11)
    assert sweeper.sweep().sent == 1
    assert noting.named[-1] == shards(database)[11].id


def test_a_row_that_cannot_be_ended_keeps_nobody_else_waiting(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Its configuration was written by a version that knew another setting."""
    make_job(database)
    with database.begin() as session:
        job = session.get_one(InjectionJob, "inj")
        same = {"workspace_id": job.workspace_id, "problem_set_id": job.problem_set_id, "state": JobState.RUNNING}
        job.state = JobState.RUNNING
        session.add(InjectionJob(id="aaa", config={**job.config, "was_known": 1}, **same))
        session.flush()
        session.add(Shard(id="shard_a", injection_job_id="aaa", position=0, start=0, stop=1, stage="sample"))
        session.flush()
        session.execute(update(Shard).values(state=ShardState.DONE))
    assert Sweeper(database, Deaf(), WorkerSettings()).sweep().completed == 1
    assert job_state(database) == JobState.SUCCEEDED
    assert "aaa cannot be ended" in caplog.text


def test_a_sweep_that_fails_is_not_the_last(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeper, sweeps, stop = Sweeper(database, Deaf(), WorkerSettings(sweep_seconds=0.01)), [], threading.Event()

    def fails() -> Swept:
        sweeps.append(1)
        raise KeyError("a fault of ours")

    monkeypatch.setattr(sweeper, "sweep", fails)
    thread = threading.Thread(target=sweeper.run, args=[stop], daemon=True)
    thread.start()
    until(lambda: len(sweeps) >= 2, "another sweep")
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
