"""A budget of tokens or money on a whole job: it ends within one shard of its limit, and says what is left."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from errata.event_sentences import sentence_of
from errata.funnel import Funnel
from errata.prices import read_prices
from errata.stopping import amounts_of
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.outputs import Event
from models.states import JobState, ShardState
from tests.workers.injection_jobs import PROBLEMS, Deaf, post_job, run_shards, shard_ids
from tests.workers.scripted import MODEL, Scripted
from workers.lifecycle import plan_retry
from workers.runner import Services, ShardOutcome, run_shard
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper

SAMPLES, SHARD = 4, 2
#: By one shard, at 2 for a million prompt tokens and 4 for a million generated ones.
SPENT: dict[str, float] = {"generated_tokens": 5 * SAMPLES * SHARD, "prompt_tokens": 10 * SAMPLES * SHARD}
SPENT["money"] = (2 * SPENT["prompt_tokens"] + 4 * SPENT["generated_tokens"]) / 1e6
PRICES = {"currency": "EUR", "stages": {"sample": {"prompt": 2.0, "completion": 4.0}}}


@pytest.mark.parametrize("limit", SPENT)
def test_a_job_ends_at_its_number_of_tokens(services: Services, limit: str) -> None:
    engine = Scripted(lambda _: "Step 1: So it is \\boxed{1}.")
    services.engines = engine
    sampling = {"source": "model", "samples": SAMPLES, "adaptive": False}
    at = 2.5 * SPENT[limit] if limit == "money" else 2 * SPENT[limit] + 1
    post_job(services, "rules", model=MODEL, shard_size=SHARD, sampling=sampling, stop={limit: at})
    with services.db.begin() as session:
        session.get_one(InjectionJob, "inj").prices = PRICES
    run_shards(services)
    with services.db.read() as session:
        job = session.get_one(InjectionJob, "inj")
        states = list(session.scalars(select(Shard.state).order_by(Shard.position)))
        [stopped] = session.scalars(select(Event.data).where(Event.type == "stopped"))
    begun = 3
    assert states == [ShardState.DONE] * begun + [ShardState.CANCELLED] * (PROBLEMS // SHARD - begun)
    assert (job.state, job.stopped) == (JobState.SUCCEEDED, limit)
    funnel = Funnel.from_dict(job.funnel or {})
    funnel.check()
    spent = amounts_of(funnel.counts, read_prices(job.prices))[limit]  # type: ignore[index]
    assert spent == pytest.approx(begun * SPENT[limit]), "all that was generated is counted, and no more was"
    assert sum(request.n for request in engine.requests) == begun * SAMPLES * SHARD
    currency = {"currency": "EUR"} if limit == "money" else {}
    assert stopped == {"limit": limit, "at": at, "reached": spent, **currency}
    assert "EUR" in sentence_of("stopped", stopped) or limit != "money"
    assert funnel.counts["problems"]["skipped"] == {limit: PROBLEMS - begun * SHARD}


def test_at_its_deadline_a_job_begins_no_shard_and_ends_with_what_it_has(services: Services) -> None:
    post_job(services, "rules", shard_size=SHARD, stop={"deadline": "2999-01-01T00:00:00Z"})
    first, second, third, *_ = shard_ids(services)
    while run_shard(services, first) == ShardOutcome.ADVANCED:
        pass
    assert run_shard(services, second) == ShardOutcome.ADVANCED, "it is sampled"
    assert state_of(services) == (JobState.RUNNING, None)
    with services.db.begin() as session:
        job = session.get_one(InjectionJob, "inj")
        passed = session.scalars(select(db_now(-1))).one().isoformat()
        job.config = {**job.config, "stop": {"deadline": passed}}
    assert run_shard(services, third) == ShardOutcome.NOT_CLAIMED, "the time has come, before anybody says so"
    Sweeper(services.db, Deaf(), WorkerSettings()).sweep()
    assert state_of(services) == (JobState.RUNNING, "deadline"), "the second shard is on its way"
    while run_shard(services, second) == ShardOutcome.ADVANCED:
        pass
    assert state_of(services) == (JobState.SUCCEEDED, "deadline")
    with services.db.read() as session:
        funnel = Funnel.from_dict(session.get_one(InjectionJob, "inj").funnel or {})
        states = list(session.scalars(select(Shard.state).order_by(Shard.position)))
        [stopped] = session.scalars(select(Event.data).where(Event.type == "stopped"))
    funnel.check()
    assert funnel.counts["pairs"]["total"] > 0
    assert states == [ShardState.DONE] * 2 + [ShardState.CANCELLED] * (PROBLEMS // SHARD - 2)
    assert funnel.counts["problems"]["skipped"] == {"deadline": PROBLEMS - 2 * SHARD}
    assert "deadline has come" in sentence_of("stopped", stopped)


def test_a_job_that_nobody_began_ends_at_its_deadline_too_and_its_retry_has_none(services: Services) -> None:
    post_job(services, "rules", shard_size=SHARD, stop={"deadline": "2020-01-01T00:00:00Z"})
    Sweeper(services.db, Deaf(), WorkerSettings()).sweep()
    assert state_of(services) == (JobState.SUCCEEDED, "deadline")
    with services.db.begin() as session:
        job = session.get_one(InjectionJob, "inj")
        retried, _ = plan_retry(session, job, [0])
        assert (retried.config["stop"]["deadline"], retried.priority) == (None, job.priority)


def state_of(services: Services) -> tuple[str, str | None]:
    with services.db.read() as session:
        job = session.get_one(InjectionJob, "inj")
        return job.state, job.stopped
