"""A budget of tokens on a whole job: it ends within one shard of its limit, and says what is left."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from errata.funnel import Funnel
from errata.stopping import amounts_of
from models.jobs import InjectionJob, Shard
from models.outputs import Event
from models.states import JobState, ShardState
from tests.workers.injection_jobs import PROBLEMS, post_job, run_shards
from tests.workers.scripted import MODEL, Scripted
from workers.runner import Services

SAMPLES, SHARD = 4, 2
SPENT = {"generated_tokens": 5 * SAMPLES * SHARD, "prompt_tokens": 10 * SAMPLES * SHARD}  # by one shard


@pytest.mark.parametrize("limit", SPENT)
def test_a_job_ends_at_its_number_of_tokens(services: Services, limit: str) -> None:
    engine = Scripted(lambda _: "Step 1: So it is \\boxed{1}.")
    services.engines = engine
    sampling = {"source": "model", "samples": SAMPLES, "adaptive": False}
    at = 2 * SPENT[limit] + 1
    post_job(services, "rules", model=MODEL, shard_size=SHARD, sampling=sampling, stop={limit: at})
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
    spent = amounts_of(funnel.counts)[limit]  # type: ignore[index]
    assert spent == begun * SPENT[limit], "all that was generated is counted, and no more was"
    assert sum(request.n for request in engine.requests) == begun * SAMPLES * SHARD
    assert stopped == {"limit": limit, "at": at, "reached": spent}
    assert funnel.counts["problems"]["skipped"] == {limit: PROBLEMS - begun * SHARD}
