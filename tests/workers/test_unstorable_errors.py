"""Errors whose text no database takes: quoted NUL and halves of surrogate pairs end a shard as any other error does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from models.outputs import Event
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.workers.road import ROAD, job_state, make_job, make_services, shards
from workers.engines.base import EngineError
from workers.runner import ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext

BAD = "a server said \x00 and half of \ud83d"


@pytest.fixture(autouse=True)
def _unlogged() -> Iterator[None]:
    """What is captured of a log goes between pytest's processes, which cannot take such text either."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def told(database: Database, kind: str) -> list[str]:
    with database.read() as session:
        found = session.scalars(select(Event).where(Event.type == kind).order_by(Event.id))
        return [str(event.data.get("error") or event.data.get("reason")) for event in found]


def test_a_stage_that_raises_one_is_quarantined_at_the_third_failure(database: Database, tmp_path: Path) -> None:
    make_job(database, shard_size=12)

    def stage(_context: StageContext) -> Finish:
        raise ValueError(BAD)

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage})
    [shard] = shards(database)
    outcomes = [run_shard(services, shard.id) for _ in range(3)]
    assert outcomes == [ShardOutcome.FAILED, ShardOutcome.FAILED, ShardOutcome.QUARANTINED]
    [shard] = shards(database)
    assert (shard.state, shard.error) == (ShardState.QUARANTINED, "ValueError: a server said \\x00 and half of \\ud83d")
    assert told(database, "shard_quarantined") == [shard.error]
    assert job_state(database) == JobState.FAILED


@pytest.mark.parametrize(("shared", "kind"), [(True, "shard_interrupted"), (False, "engine_unavailable")])
def test_an_engine_that_is_away_with_one_gives_its_shard_back(
    database: Database, tmp_path: Path, shared: bool, kind: str
) -> None:
    make_job(database, shard_size=12)

    def stage(_context: StageContext) -> Finish:
        raise EngineError(BAD, retryable=True, shared=shared)

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage})
    outcome = run_shard(services, shards(database)[0].id)
    assert outcome is (ShardOutcome.ENGINE_LOST if shared else ShardOutcome.RELEASED)
    assert [shard.state for shard in shards(database)] == [ShardState.QUEUED]
    [text] = told(database, kind)
    assert "a server said \\x00 and half of \\ud83d" in text
