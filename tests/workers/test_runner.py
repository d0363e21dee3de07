"""Running shards: stages advance, failures quarantine, zombies write nothing, jobs end, sweeps mend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import func, select, update

from errata.presets import resolve
from models.accounts import DEFAULT_WORKSPACE, Workspace
from models.base import db_now
from models.jobs import InjectionJob, ProblemOutcome, Shard
from models.outputs import Event
from models.problems import ProblemRow, ProblemSet
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from models.upserts import insert_ignore
from workers.app import create_celery
from workers.dispatch import Dispatcher
from workers.embedded import EmbeddedWorker
from workers.engines.base import Cancelled, EngineError
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.planning import Hint, cancel, plan_injection
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.settle import settle
from workers.stages.base import Finish, StageContext, StageFunction
from workers.sweeper import Sweeper
from workers.tasks import register

PROBLEMS = 12


class Recorder(Dispatcher):
    """A dispatcher that keeps its hints: for tests that deliver them by hand."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []

    def send(self, hints) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
        before = len(self.hints)
        self.hints += hints
        return len(self.hints) - before


def through(next_stage: Stage | None) -> StageFunction:
    """A stage that writes one outcome per problem when it is the last, and moves on."""

    def stage(context: StageContext) -> Finish:
        rows = [
            {
                "job_id": context.lease.owner_id,
                "problem_id": f"prob_{at}",
                "shard_id": context.lease.shard_id,
                "outcome": "kept",
                "reason": None,
            }
            for at in range(context.lease.start, context.lease.stop)
        ]
        return Finish(next_stage, lambda session: None if next_stage else _write(session, rows))

    return stage


def _write(session, rows) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    insert_ignore(session, ProblemOutcome, rows)


ROAD = {Stage.SAMPLE: through(Stage.GRADE), Stage.GRADE: through(Stage.PAIR), Stage.PAIR: through(None)}


def make_services(database: Database, folder: Path, stages: dict[str, StageFunction], **values: float) -> Services:
    settings = WorkerSettings(**{"failure_backoff_seconds": 0, "cancel_poll_seconds": 0.05, **values})
    store = StoreSettings(ERRATA_HOME=folder)
    return Services(database, store, settings, Recorder(), EnginePool(), JudgePool(1), dict(stages))


def make_job(database: Database, shard_size: int = 4) -> str:
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256=""))
        session.flush()
        for at in range(PROBLEMS):
            session.add(
                ProblemRow(id=f"prob_{at}", problem_set_id="pset", position=at, question=f"q{at}", gold_answer="1")
            )
        config = resolve("rules", {"shard_size": shard_size, "sampling": {"source": "brought"}})
        job = InjectionJob(
            id="inj", workspace_id=DEFAULT_WORKSPACE, problem_set_id="pset", config=config.model_dump(mode="json")
        )
        session.add(job)
        plan_injection(session, job, PROBLEMS)
    return "inj"


def shards(database: Database) -> list[Shard]:
    with database.read() as session:
        return list(session.scalars(select(Shard).order_by(Shard.position)))


def job_state(database: Database) -> str:
    with database.read() as session:
        return session.get_one(InjectionJob, "inj").state


def outcomes(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(ProblemOutcome)) or 0


def events(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Event.type).order_by(Event.id)))


def test_shards_walk_the_road_and_the_last_one_ends_the_job(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD)
    for shard in shards(database):
        assert [run_shard(services, shard.id) for _ in range(4)] == ["advanced", "advanced", "done", "not claimed"]
    assert job_state(database) == JobState.SUCCEEDED
    assert outcomes(database) == PROBLEMS
    assert [hint.shard_id for hint in services.dispatcher.hints] == [s.id for s in shards(database) for _ in range(2)]  # type: ignore[attr-defined]
    assert events(database)[-1] == "succeeded"


def test_a_stage_that_raises_is_quarantined_at_the_third_failure_and_the_others_finish(
    database: Database, tmp_path: Path
) -> None:
    make_job(database)
    poison = shards(database)[1].id

    def grade(context: StageContext) -> Finish:
        if context.lease.shard_id == poison:
            raise ValueError("cannot grade this")
        return Finish(Stage.PAIR)

    services = make_services(database, tmp_path, ROAD | {Stage.GRADE: grade})
    for shard in shards(database):
        results = [run_shard(services, shard.id) for _ in range(4)]
        assert results[-1] == ("quarantined" if shard.id == poison else "not claimed")
    with database.read() as session:
        job = session.get_one(InjectionJob, "inj")
        assert (job.state, job.partial) == (JobState.SUCCEEDED, True)
        assert "cannot grade this" in str(job.error)
    assert outcomes(database) == PROBLEMS - 4


def test_a_zombies_result_is_discarded(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=PROBLEMS)
    [shard] = shards(database)
    services = make_services(database, tmp_path, ROAD)
    inner: list[str] = []

    def pair(context: StageContext) -> Finish:
        finish = ROAD[Stage.PAIR](context)
        if not inner:  # the first runner is overtaken while it computes
            inner.append("overtaken")
            with database.begin() as session:
                session.execute(update(Shard).values(lease_expires_at=db_now(-1)))
            Sweeper(database, services.dispatcher, services.settings).sweep()
            inner.append(run_shard(services, shard.id))
        return finish

    services.stages[Stage.PAIR] = pair
    assert [run_shard(services, shard.id) for _ in range(3)] == ["advanced", "advanced", "discarded"]
    assert inner == ["overtaken", "done"]
    assert outcomes(database) == PROBLEMS
    assert "shard_interrupted" in events(database)


def test_an_engine_that_is_away_costs_a_delay_not_a_failure(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=PROBLEMS)

    def sample(_context: StageContext) -> Finish:
        raise EngineError("connection refused", retryable=True)

    services = make_services(database, tmp_path, ROAD | {Stage.SAMPLE: sample}, engine_retry_seconds=0)
    [shard] = shards(database)
    assert [run_shard(services, shard.id) for _ in range(5)] == ["released"] * 5
    assert (shards(database)[0].failures, shards(database)[0].state) == (0, ShardState.QUEUED)
    assert events(database).count("engine_unavailable") == 5


def test_an_engine_that_died_under_several_shards_interrupts_them_until_one_runs_alone(
    database: Database, tmp_path: Path
) -> None:
    """The third time the shard runs alone; an engine that dies then died of it, and that is a failure."""
    make_job(database, shard_size=PROBLEMS)

    def sample(context: StageContext) -> Finish:
        [shard] = shards(database)
        raise EngineError("the engine's process ended with code -9", shared=not shard.alone)

    services = make_services(database, tmp_path, ROAD | {Stage.SAMPLE: sample})
    [shard] = shards(database)
    assert [run_shard(services, shard.id) for _ in range(3)] == ["bereft"] * 3
    [shard] = shards(database)
    assert (shard.state, shard.interruptions, shard.failures, shard.alone) == (ShardState.QUEUED, 3, 0, True)
    assert events(database).count("shard_interrupted") == 3
    assert isinstance(services.dispatcher, Recorder)
    assert [hint.shard_id for hint in services.dispatcher.hints[-3:]] == [shard.id] * 3
    assert [run_shard(services, shard.id) for _ in range(3)] == ["failed", "failed", "quarantined"]


def test_cancelling_stops_a_running_stage_and_keeps_the_rest(database: Database, tmp_path: Path) -> None:
    make_job(database)
    first, second, _third = (shard.id for shard in shards(database))
    running = threading.Event()

    def pair(context: StageContext) -> Finish:
        if context.lease.shard_id == first:
            return ROAD[Stage.PAIR](context)
        running.set()
        while not context.cancelled():
            pass
        raise Cancelled

    services = make_services(database, tmp_path, ROAD | {Stage.PAIR: pair})
    assert [run_shard(services, first) for _ in range(3)][-1] == "done"
    for _ in range(2):
        run_shard(services, second)
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(run_shard(services, second)))
    thread.start()
    assert running.wait(10)
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        assert settle(session, InjectionJob, "inj") is None
    thread.join(20)
    assert results == ["cancelled"]
    assert job_state(database) == JobState.CANCELLED
    assert outcomes(database) == 4
    assert [shard.state for shard in shards(database)] == ["done", "cancelled", "cancelled"]


def test_a_stopping_worker_gives_its_shard_back(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=PROBLEMS)
    services = make_services(database, tmp_path, ROAD)

    def sample(context: StageContext) -> Finish:
        services.stopping.set()
        assert context.cancelled()
        raise Cancelled

    services.stages[Stage.SAMPLE] = sample
    [shard] = shards(database)
    assert run_shard(services, shard.id) == "released"
    assert run_shard(services, shard.id) == "stopping"
    assert (shards(database)[0].state, shards(database)[0].interruptions) == (ShardState.QUEUED, 0)


def test_the_sweeper_resends_what_nobody_took_up(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD, resend_after_seconds=30)
    sweeper = Sweeper(database, services.dispatcher, services.settings)
    assert sweeper.sweep().sent == 3
    assert sweeper.sweep().sent == 0
    with database.begin() as session:
        session.execute(update(Shard).values(hinted_at=db_now(-31)))
    assert sweeper.sweep().sent == 3


def test_the_sweeper_ends_a_job_whose_last_worker_died_before_settling(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD)
    with database.begin() as session:
        session.execute(update(Shard).values(state=ShardState.DONE))
        session.execute(update(InjectionJob).values(state=JobState.RUNNING))
    assert Sweeper(database, services.dispatcher, services.settings).sweep().settled == 1
    assert job_state(database) == JobState.SUCCEEDED


@pytest.fixture
def celery() -> Iterator[Celery]:
    app = create_celery("memory://")
    yield app
    app.close()


def _wait(done: Callable[[], bool], seconds: float = 30) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        pause.wait(0.05)
    raise AssertionError("not in time")


def test_hints_alone_finish_a_job(sqlite_database: Database, tmp_path: Path, celery: Celery) -> None:
    """The sweeper is off: every step travels through Celery."""
    make_job(sqlite_database)
    services = make_services(sqlite_database, tmp_path, ROAD, sweep_seconds=3600, resend_after_seconds=3600)
    services.dispatcher = Dispatcher(celery)
    register(celery, services)
    with sqlite_database.begin() as session:
        session.execute(update(Shard).values(hinted_at=db_now()))
    with EmbeddedWorker(celery, services).running():
        services.dispatcher.send(Hint(shard.id, "generation") for shard in shards(sqlite_database))
        _wait(lambda: job_state(sqlite_database) == JobState.SUCCEEDED)
    assert outcomes(sqlite_database) == PROBLEMS


def test_the_sweeper_alone_finishes_a_job_whose_every_hint_was_lost(
    sqlite_database: Database, tmp_path: Path, celery: Celery
) -> None:
    """The broker was down when the job was posted: no hint was ever sent."""
    make_job(sqlite_database)
    services = make_services(sqlite_database, tmp_path, ROAD, sweep_seconds=0.1)
    services.dispatcher = Dispatcher(celery)
    register(celery, services)
    assert (
        Dispatcher(create_celery("redis://127.0.0.1:1/0")).send([Hint(shards(sqlite_database)[0].id, "grading")]) == 0
    )
    with EmbeddedWorker(celery, services).running():
        _wait(lambda: job_state(sqlite_database) == JobState.SUCCEEDED)
    assert outcomes(sqlite_database) == PROBLEMS
