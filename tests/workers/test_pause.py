"""A paused job: nothing of it is claimed, running stages give their shard back, and it goes on where it stopped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.jobs import InjectionJob
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.road import PROBLEMS, ROAD, Recorder, events, job_state, make_job, make_services, outcomes, shards
from tests.workers.test_hearing import unhint
from workers.app import GENERATION
from workers.engines.base import Cancelled
from workers.hearing import HintWatch
from workers.lifecycle import cancel, complete_owner, pause, resume
from workers.runner import ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper


def set_paused(database: Database, paused: bool) -> int:
    """Pause or resume the job; how many hints that gives."""
    with database.begin() as session:
        job = session.get_one(InjectionJob, "inj")
        if paused:
            assert pause(session, job)
            return 0
        hints = resume(session, job)
        assert hints is not None
        return len(hints)


def test_nothing_of_a_paused_job_runs_until_it_is_resumed(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD)
    first, *_ = [shard.id for shard in shards(database)]
    assert run_shard(services, first) is ShardOutcome.ADVANCED
    set_paused(database, True)
    assert run_shard(services, first) is ShardOutcome.NOT_CLAIMED
    unhint(database)
    assert HintWatch(services, GENERATION).ask() is None
    assert Sweeper(database, Recorder(), services.settings).sweep().sent == 0
    assert job_state(database) == JobState.RUNNING
    assert set_paused(database, False) == 3
    for shard in shards(database):
        while run_shard(services, shard.id) is ShardOutcome.ADVANCED:
            pass
    assert (job_state(database), outcomes(database)) == (JobState.SUCCEEDED, PROBLEMS)
    assert [kind for kind in events(database) if kind in ("paused", "resumed")] == ["paused", "resumed"]
    with database.begin() as session:
        job = session.get_one(InjectionJob, "inj")
        assert not pause(session, job), "it has ended"
        assert resume(session, job) is None


def test_a_running_stage_gives_its_shard_back(database: Database, tmp_path: Path) -> None:
    make_job(database)
    runs = threading.Event()

    def stage(context: StageContext) -> Finish:
        runs.set()
        for _ in range(600):
            if context.cancelled():
                raise Cancelled
            threading.Event().wait(0.05)
        raise AssertionError("it was not told to stop")

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage})
    first = shards(database)[0].id
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(run_shard, services, first)
        assert runs.wait(30)
        set_paused(database, True)
        assert outcome.result(60) is ShardOutcome.RELEASED
    shard = shards(database)[0]
    assert (shard.state, shard.stage, shard.failures, shard.interruptions) == (ShardState.QUEUED, Stage.SAMPLE, 0, 0)


def test_a_paused_job_can_be_cancelled(database: Database, tmp_path: Path) -> None:
    make_job(database)
    set_paused(database, True)
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        complete_owner(session, InjectionJob, "inj")
    assert job_state(database) == JobState.CANCELLED
