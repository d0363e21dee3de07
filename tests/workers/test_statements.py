"""What a shard costs the database: how many statements its stages send, which a change must not let grow unseen."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, select

from models.jobs import InjectionJob, Shard
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from tests.workers.injection_jobs import Deaf, post_job, shard_ids, sums
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import queue_of
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES

#: At most, of a shard of one problem whose job this worker knows already, by the stage that a hint finds. A claim sends
#: three, a stage's end five beside its rows; the rest reads what the stage works on. A worker goes on from `prove` to
#: `pair` by itself, and then looks whether the job has ended.
MOST = {Stage.SAMPLE: 12, Stage.GRADE: 13, Stage.EDIT: 12, Stage.PROVE: 26}
_JOBS_END = 12  # statements


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[Services]:
    """A worker's, over either database."""
    store, engines = StoreSettings(ERRATA_HOME=tmp_path), EnginePool()
    with JudgePool(1) as judge:
        yield Services(database, store, WorkerSettings(), Deaf(), engines, judge, dict(STAGES))
    engines.close()


def counted(services: Services, shard_id: str) -> Counter[str]:
    """Run a shard to its end: the statements of this thread by stage, without those that begin a transaction."""
    sent: Counter[str] = Counter()
    mine, stage = threading.current_thread(), Stage.SAMPLE

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if threading.current_thread() is mine and not statement.startswith("BEGIN"):
            sent[stage] += 1

    while True:
        with services.db.read() as session:
            state, stage = session.execute(select(Shard.state, Shard.stage).where(Shard.id == shard_id)).one()
        if state != ShardState.QUEUED:
            return sent
        event.listen(services.db.engine, "before_cursor_execute", note)
        try:
            assert run_shard(services, shard_id, queue_of(stage)) in ("advanced", "done")
        finally:
            event.remove(services.db.engine, "before_cursor_execute", note)


def test_a_shard_sends_few_statements(services: Services) -> None:
    post_job(services, "rules", sums()[:4], shard_size=1)
    first, second, third, last = shard_ids(services)
    counted(services, first)  # the worker gets to know the job
    for shard in (second, third):
        sent = counted(services, shard)
        assert sent.keys() == MOST.keys()
        assert {stage: sent[stage] for stage in MOST if sent[stage] > MOST[stage]} == {}
    assert counted(services, last).total() <= sum(MOST.values()) + _JOBS_END
    with services.db.read() as session:
        assert session.get_one(InjectionJob, "inj").state == JobState.SUCCEEDED
