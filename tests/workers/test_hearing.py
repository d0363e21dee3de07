"""A worker that no hint reaches: it asks the database itself, builds its consumer anew, and only then restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from cli import CliError
from cli.health import health
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.migrate import Base
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from tests.processes import until
from tests.workers.road import ROAD, Recorder, job_state, make_job, make_services, shards
from tests.workers.test_broker import redis_server
from workers.app import GENERATION, GRADING, create_celery
from workers.dispatch import Dispatcher
from workers.engines.base import EngineError
from workers.hearing import DEAF_CLAIMS, RESTARTS, HintWatch
from workers.lifecycle import hint_for
from workers.runner import Services, ShardOutcome
from workers.stages.base import Finish, StageContext


class Reachable(Recorder):
    """A broker that answers, with so many messages in each queue."""

    messages, up = 0, True

    def answers(self) -> bool:
        """Whether it does."""
        return self.up

    def waiting(self, queue: str) -> int:
        """What nobody fetched."""
        return self.messages


class Watched:
    """A watch of queue ``generation`` over twelve shards of one problem without hints, and what it did."""

    def __init__(
        self, database: Database, folder: Path, *, first: Callable[[StageContext], Finish] | None = None
    ) -> None:
        make_job(database, shard_size=1)
        unhint(database)
        stages = ROAD if first is None else {**ROAD, Stage.SAMPLE: first}
        self.services: Services = make_services(database, folder, stages)
        self.broker = self.services.dispatcher = Reachable()
        self.done: list[str] = []
        self.status = folder / "status.json"
        self.watch = HintWatch(
            self.services, GENERATION, status=self.status,
            rebuild=lambda: self.done.append("rebuild"), restart=lambda: self.done.append("restart"),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _no_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RESTARTS, raising=False)


def unhint(database: Database, **values: object) -> None:
    with database.begin() as session:
        session.execute(update(Shard).values(hinted_at=None, **values))


def test_an_idle_worker_runs_a_shard_whose_hint_was_lost(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    assert watched.watch.ask() is ShardOutcome.ADVANCED
    assert [shard.stage for shard in shards(database)].count("grade") == 1


def test_it_leaves_hinted_shards_and_other_queues_alone(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    with database.begin() as session:
        session.execute(update(Shard).values(hinted_at=db_now()))
    assert watched.watch.ask() is None, "their hints are on their way"
    unhint(database)
    assert HintWatch(watched.services, GRADING).ask() is None
    with watched.services.hints.busy(GENERATION):
        assert watched.watch.ask() is None, "a busy worker looks for nothing"


def test_after_three_claims_without_a_hint_the_consumer_is_built_anew(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    for _ in range(DEAF_CLAIMS - 1):
        watched.watch.ask()
    assert watched.done == []
    watched.watch.ask()
    assert watched.done == ["rebuild"]
    told = json.loads(watched.status.read_text())
    assert (told["unheard"], told["rebuilds"], told["queue"]) == (3, 1, GENERATION)
    watched.services.hints.hear(GENERATION)
    for _ in range(DEAF_CLAIMS - 1):
        watched.watch.ask()
    assert watched.done == ["rebuild"], "a hint begins the count anew"
    assert json.loads(watched.status.read_text())["unheard"] == 2


def test_a_worker_that_stays_deaf_restarts_and_waits_longer_each_time(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    watched.broker.messages = 5
    for _ in range(2 * DEAF_CLAIMS):
        watched.watch.ask()
    assert watched.done == ["rebuild", "restart"]
    assert os.environ[RESTARTS] == "1"
    watched.watch.unheard, watched.done[:] = 0, []  # the restarted worker begins with this
    for _ in range(2 * DEAF_CLAIMS):
        watched.watch.ask()
    assert watched.done == ["rebuild", "rebuild"]
    watched.services.hints.hear(GENERATION)
    watched.watch.ask()
    assert RESTARTS not in os.environ


def test_lost_hints_alone_restart_nothing(database: Database, tmp_path: Path) -> None:
    """No message waits: what never came was never sent, and a restart would not help."""
    watched = Watched(database, tmp_path)
    for _ in range(12):
        watched.watch.ask()
    assert "restart" not in watched.done


def test_a_broker_that_is_away_is_no_deafness(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    watched.broker.up = False
    for _ in range(12):
        watched.watch.ask()
    assert watched.done == []
    assert all(shard.stage != "sample" for shard in shards(database)), "and the work goes on"


@pytest.mark.parametrize("error", [EngineError("no answer", retryable=True), ValueError("a bug")], ids=["away", "bug"])
def test_an_engine_that_is_away_and_a_back_off_restart_nothing(
    database: Database, tmp_path: Path, error: Exception
) -> None:
    def raises(_: StageContext) -> Finish:
        raise error

    watched = Watched(database, tmp_path, first=raises)
    watched.broker.messages = 5
    for _ in range(7):
        watched.watch.ask()
        unhint(database, next_run_at=None)
    assert watched.done == []
    unhint(database, next_run_at=db_now(60))
    assert watched.watch.ask() is None


def test_a_job_that_is_being_cancelled_is_not_asked_for(database: Database, tmp_path: Path) -> None:
    watched = Watched(database, tmp_path)
    with database.begin() as session:
        session.execute(update(InjectionJob).values(state=JobState.CANCELLING))
    assert watched.watch.ask() is None


def test_health_names_a_deaf_worker(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StoreSettings(ERRATA_HOME=tmp_path, DATABASE_URL=database.url, BROKER_URL="memory://")  # type: ignore[call-arg]
    monkeypatch.setattr("cli.health.socket.gethostname", lambda: "host")
    health(store, None)
    watched = Watched(database, tmp_path)
    watched.watch._status = store.workers_folder / f"host-{os.getpid()}-generation.json"
    for _ in range(DEAF_CLAIMS):
        watched.watch.ask()
    with pytest.raises(CliError, match="claimed 3 shards of generation without a hint"):
        health(store, None)
    watched.services.hints.hear(GENERATION)
    watched.watch.ask()
    health(store, None)


WORKER = """
import signal, sys, threading
from pathlib import Path
from models.session import Database
from tests.workers.road import ROAD, make_services
from workers.app import create_celery, GRADING
from workers.dispatch import Dispatcher
from workers.hearing import HintWatch, rebuild_consumer, start_watch
from workers.worker import register

url, broker, folder = sys.argv[1:]
app = create_celery(broker)
services = make_services(Database(url), Path(folder), ROAD, ask_seconds=0.3)
services.dispatcher = Dispatcher(app)
register(app, services)
worker = app.Worker(pool="threads", concurrency=1, queues=[GRADING], without_heartbeat=True, without_mingle=True,
                    without_gossip=True, loglevel="WARNING")

def deafen(*_):
    # What the outage did: the loop goes on, and nothing in it reads from the broker any more.
    hub = worker.consumer.hub
    for fd in list(hub.readers):
        if fd != hub._waker.fileno():
            hub.remove(fd)
    hub.on_tick.clear()
    print("deaf", flush=True)

hear = services.hints.hear
def told(queue):
    hear(queue)
    print("heard", flush=True)
services.hints.hear = told
signal.signal(signal.SIGRTMIN, deafen)

def rebuild():
    rebuild_consumer(worker)
    print("rebuilt", flush=True)

start_watch(HintWatch(services, GRADING, rebuild=rebuild))
worker.start()
"""


@pytest.mark.timeout(90)
def test_a_deaf_consumer_hears_again(tmp_path: Path) -> None:
    """The real loop of Celery on a real Redis: its readers are gone, as an outage left them once."""
    url = f"sqlite:///{tmp_path / 'errata.db'}"
    database = Database(url)
    Base.metadata.create_all(database.engine)
    make_job(database, shard_size=1)
    with database.begin() as session:
        session.execute(update(Shard).values(stage=Stage.GRADE, hinted_at=db_now(3600)))
    said = tmp_path / "said"
    with redis_server(tmp_path) as port:
        broker = f"redis://127.0.0.1:{port}/0"
        dispatcher = Dispatcher(create_celery(broker))
        first, *others = [shard.id for shard in shards(database)]
        with said.open("w") as out:
            command = [sys.executable, "-c", WORKER, url, broker, str(tmp_path)]
            worker = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            dispatcher.send([hint_for(first, Stage.GRADE)])
            until(lambda: "heard" in said.read_text(), "the first hint")
            worker.send_signal(signal.SIGRTMIN)
            until(lambda: "deaf" in said.read_text(), "its deafness", 20)
            dispatcher.send(hint_for(shard, Stage.GRADE) for shard in others)
            with database.begin() as session:  # all but a few keep the hints that wait in the queue
                for shard in others[:4]:
                    session.execute(update(Shard).where(Shard.id == shard).values(hinted_at=None))
            until(lambda: "rebuilt" in said.read_text(), "the consumer to be built anew", 20)
            until(lambda: said.read_text().count("heard") > len(others) - 4, "the hints that waited", 20)
            until(lambda: job_state(database) == JobState.SUCCEEDED, "the job's end", 20)
        finally:
            worker.kill()
            worker.wait()
    assert {shard.state for shard in shards(database)} == {ShardState.DONE}
    database.dispose()
