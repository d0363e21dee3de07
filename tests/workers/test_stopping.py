"""Jobs that stop at so many pairs or tokens: nothing new starts, what runs ends, the rest is skipped and told."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from api.progress import progress_of
from errata.funnel import Funnel
from errata.stopping import StopConfig, may_start
from models.jobs import InjectionJob, PairRow, Shard
from models.outputs import Event
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.injection_jobs import PROBLEMS, Deaf, post_job, run_shards, shard_ids
from tests.workers.road import Recorder
from workers.app import GENERATION, GRADING
from workers.lifecycle import missing_positions
from workers.runner import Services, ShardOutcome, run_shard
from workers.settings import WorkerSettings
from workers.stopping import find_stopping, may_begin
from workers.sweeper import Sweeper


@pytest.fixture
def both(database: Database, services: Services) -> Services:
    """The services over either database."""
    services.db = database
    return services


def the_job(services: Services) -> InjectionJob:
    with services.db.read() as session:
        return session.get_one(InjectionJob, "inj")


def count(services: Services, table: Any) -> int:
    with services.db.read() as session:
        return len(session.scalars(select(table.id)).all())


def told(services: Services, kind: str) -> list[dict[str, Any]]:
    with services.db.read() as session:
        return list(session.scalars(select(Event.data).where(Event.type == kind).order_by(Event.id)))


def test_a_job_ends_at_its_number_of_pairs(both: Services) -> None:
    post_job(both, "rules", shard_size=2, stop={"accepted_pairs": 7})
    run_shards(both)
    job, pairs = the_job(both), count(both, PairRow)
    assert (job.state, job.stopped, job.partial, job.error) == (JobState.SUCCEEDED, "accepted_pairs", False, None)
    with both.db.read() as session:
        shards = list(session.scalars(select(Shard).order_by(Shard.position)))
        progress = progress_of(session, InjectionJob, [session.get_one(InjectionJob, "inj")])["inj"]
        assert missing_positions(session, job) == [], "a retry has nothing to do with what was skipped"
    done = [shard for shard in shards if shard.state == ShardState.DONE]
    each = pairs / len(done)
    assert 7 <= pairs < 7 + each, "one shard at a time: at most one shard's pairs too many"
    assert 0 < len(done) < len(shards)
    skipped = PROBLEMS - 2 * len(done)
    assert {shard.skipped for shard in shards[len(done) :]} == {"accepted_pairs"}
    assert (progress.fraction, progress.shards.skipped, progress.shards.cancelled) == (1.0, skipped // 2, 0)
    funnel = Funnel.from_dict(job.funnel or {})
    funnel.check()
    assert funnel.counts["problems"]["total"] + skipped == PROBLEMS
    assert funnel.counts["problems"]["skipped"] == {"accepted_pairs": skipped}
    assert told(both, "stopped") == [{"limit": "accepted_pairs", "at": 7, "reached": pairs}]
    assert told(both, "skipped") == [{"shards": skipped // 2, "problems": skipped, "limit": "accepted_pairs"}]


def test_shards_in_flight_hold_back_those_behind_them(services: Services) -> None:
    post_job(services, "rules", shard_size=2, stop={"accepted_pairs": 14})
    first, second, third, *_ = shard_ids(services)
    assert run_shard(services, first, GENERATION) is ShardOutcome.ADVANCED
    assert run_shard(services, second, GENERATION) is ShardOutcome.ADVANCED, "two problems may bring 12 pairs"
    assert run_shard(services, third, GENERATION) is ShardOutcome.NOT_CLAIMED, "four may bring 24"
    recorder = Recorder()
    services.dispatcher = recorder
    while run_shard(services, first, GRADING) is ShardOutcome.ADVANCED:
        run_shard(services, first, GENERATION)
    job = the_job(services)
    assert job.stopped == "accepted_pairs" or [hint.shard_id for hint in recorder.hints], "or the next one may begin"


def test_what_is_in_flight_edits_no_further_step_and_the_job_ends(services: Services) -> None:
    post_job(services, "rules", shard_size=2)
    first, second, *_ = shard_ids(services)
    for shard in (first, second):
        assert run_shard(services, shard) is ShardOutcome.ADVANCED  # sampled
    with services.db.begin() as session:  # a limit that is given late counts as well
        job = session.get_one(InjectionJob, "inj")
        job.config = {**job.config, "stop": {"accepted_pairs": 1}}
    for stage in ("grade", "edit", "prove", "pair"):
        outcome = run_shard(services, first)
        assert outcome in (ShardOutcome.ADVANCED, ShardOutcome.DONE), stage
    assert the_job(services).state == JobState.RUNNING
    while run_shard(services, second) is ShardOutcome.ADVANCED:
        pass
    job = the_job(services)
    assert (job.state, job.stopped) == (JobState.SUCCEEDED, "accepted_pairs")
    funnel = Funnel.from_dict(job.funnel or {})
    funnel.check()
    assert funnel.counts["steps"]["skipped"]["job_stopped"] > 0
    with services.db.read() as session:
        late = session.scalars(select(PairRow.type).where(PairRow.shard_id == second)).all()
    assert set(late) <= {"full"}, "whole solutions cost nothing more; steps were not edited"


def test_a_sweeper_stops_a_job_whose_worker_died_at_its_limit(both: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    post_job(both, "rules", shard_size=2, stop={"accepted_pairs": 1})
    monkeypatch.setattr("workers.runner._follow_stop", lambda *_: None)  # it died between two transactions
    first, second, *_ = shard_ids(both)
    while run_shard(both, first) is ShardOutcome.ADVANCED:
        pass
    assert run_shard(both, second) is ShardOutcome.NOT_CLAIMED, "the limit holds before anybody says so"
    assert (the_job(both).state, the_job(both).stopped) == (JobState.RUNNING, None)
    Sweeper(both.db, Deaf(), WorkerSettings()).sweep()
    assert (the_job(both).state, the_job(both).stopped) == (JobState.SUCCEEDED, "accepted_pairs")


def test_jobs_without_limits_are_looked_at_by_nobody(services: Services) -> None:
    post_job(services, "rules", shard_size=6)
    with services.db.read() as session:
        assert find_stopping(session) == []
        assert may_begin(session, "inj", Stage.SAMPLE, "none")
    run_shards(services)
    job = the_job(services)
    assert (job.state, job.stopped, told(services, "stopped")) == (JobState.SUCCEEDED, None, [])
    assert "skipped" not in Funnel.from_dict(job.funnel or {}).counts["problems"]


@pytest.mark.parametrize(
    ("done", "in_flight", "pairs", "may"),
    [(0, 0, 0, True), (0, 9, 0, True), (0, 10, 0, False), (10, 4, 5, True), (10, 10, 5, False), (10, 0, 10, False)],
)
def test_what_is_in_flight_counts_as_what_was_before_it(done: int, in_flight: int, pairs: int, may: bool) -> None:
    counts = Funnel().add("pairs", "total", count=pairs).add("problems", "total", count=done + in_flight).counts
    guess = {"accepted_pairs": 1.0, "generated_tokens": 100.0, "prompt_tokens": 100.0}
    stop = StopConfig(accepted_pairs=10)
    assert may_start(stop, counts, done=done, in_flight=in_flight, guess=guess) is may  # type: ignore[arg-type]


def test_tokens_of_all_stages_count(services: Services) -> None:
    counts = Funnel().add_tokens("sample", 60, 40, 10).add_tokens("edit", 50, 20).counts
    assert StopConfig(generated_tokens=60).reached(counts) == "generated_tokens"
    assert StopConfig(generated_tokens=61, prompt_tokens=110).reached(counts) == "prompt_tokens"
    assert StopConfig(generated_tokens=61, prompt_tokens=111, accepted_pairs=1).reached(counts) is None
    assert StopConfig().limits == {}
