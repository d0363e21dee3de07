"""Running shards: stages advance, failures quarantine, zombies write nothing, jobs end."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import select, update

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.road import (
    PROBLEMS,
    ROAD,
    Recorder,
    events,
    job_state,
    make_job,
    make_services,
    outcomes,
    shards,
)
from workers.engines.base import Cancelled, EngineError
from workers.lifecycle import cancel, complete_owner
from workers.runner import run_shard
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper


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

    told = iter(["connection refused"] * 3 + ["HTTP 503"] * 2)

    def sample(_context: StageContext) -> Finish:
        raise EngineError(next(told), retryable=True)

    services = make_services(database, tmp_path, ROAD | {Stage.SAMPLE: sample}, engine_retry_seconds=0)
    [shard] = shards(database)
    assert [run_shard(services, shard.id) for _ in range(5)] == ["released"] * 5
    assert (shards(database)[0].failures, shards(database)[0].state) == (0, ShardState.QUEUED)
    assert events(database).count("engine_unavailable") == 2, "not for every try"


def test_an_engine_that_wants_to_be_left_alone_is(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=PROBLEMS)

    def sample(_context: StageContext) -> Finish:
        raise EngineError("HTTP 429", retryable=True, wait_seconds=3600)

    services = make_services(database, tmp_path, ROAD | {Stage.SAMPLE: sample}, engine_retry_seconds=0)
    [shard] = shards(database)
    assert run_shard(services, shard.id) == "released"
    assert run_shard(services, shard.id) == "not claimed"
    with database.read() as session:
        assert session.scalar(select(Shard.next_run_at > db_now(3500)))


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
    assert [run_shard(services, shard.id) for _ in range(3)] == ["engine lost"] * 3
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
    assert running.wait(60)
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        assert complete_owner(session, InjectionJob, "inj") is None
    thread.join(60)
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
