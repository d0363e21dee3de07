"""Connections that break at the worst moment, several sweepers, cancellations at every moment, wrong clocks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text, update

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.migrate import Base
from models.session import Database
from models.states import SHARD_TERMINAL, TERMINAL, JobState, ShardState, Stage
from tests.chaos.sizes import size
from tests.processes import ROOT
from tests.proxies import Proxy
from tests.workers.road import PROBLEMS, ROAD, Recorder, job_state, make_job, make_services, outcomes, shards, through
from workers import lifecycle
from workers.runner import ShardOutcome, run_shard
from workers.stages.base import Finish, StageContext, StageFunction
from workers.sweeper import Sweeper


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Database, Database, Proxy]]:
    """A database, the same through a proxy, and the proxy."""
    direct, server = Database(postgres_url), make_url(postgres_url)
    Base.metadata.create_all(direct.engine)
    with Proxy(server.port or 5432) as proxy:
        through_proxy = Database(server.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
        yield direct, through_proxy, proxy
        through_proxy.dispose()
    direct.dispose()


@pytest.mark.services
def test_ambiguous_commit(proxied: tuple[Database, Database, Proxy], tmp_path: Path) -> None:
    """The server commits what a stage made, and its answer is lost: nothing is written twice, and nobody failed."""
    direct, database, proxy = proxied
    make_job(direct, shard_size=PROBLEMS)

    def last(context: StageContext) -> Finish:
        proxy.cut_answers_after = b"COMMIT\x00"  # and not BEGIN ISOLATION LEVEL READ COMMITTED
        return through(None)(context)

    services = make_services(database, tmp_path, {**ROAD, Stage.PAIR: last})
    [shard] = shards(direct)
    assert run_shard(services, shard.id) is ShardOutcome.ADVANCED
    assert run_shard(services, shard.id) is ShardOutcome.ADVANCED
    assert run_shard(services, shard.id) is ShardOutcome.DISCARDED, "the row has moved on"
    assert proxy.cuts == 1
    [shard] = shards(direct)
    assert (shard.state, shard.failures, shard.interruptions) == (ShardState.DONE, 0, 0)
    assert outcomes(direct) == PROBLEMS
    Sweeper(direct, Recorder(), services.settings).sweep()
    assert job_state(direct) == JobState.SUCCEEDED


def test_three_sweepers(database: Database, tmp_path: Path) -> None:
    """Each expired lease is requeued once and each hint sent once, whoever sweeps."""
    make_job(database, shard_size=1)
    with database.begin() as session:
        late = {"state": ShardState.RUNNING, "lease_expires_at": db_now(-5), "worker": "dead", "hinted_at": None}
        session.execute(update(Shard).values(**late))
        session.execute(update(InjectionJob).values(state=JobState.RUNNING))
    services = make_services(database, tmp_path, ROAD)
    recorders = [Recorder() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        swept = list(pool.map(lambda each: Sweeper(database, each, services.settings).sweep(), recorders))
    Sweeper(database, recorders[0], services.settings).sweep()
    assert sum(each.expired for each in swept) == PROBLEMS
    assert {(shard.state, shard.interruptions, shard.fence) for shard in shards(database)} == {("queued", 1, 1)}
    hints = [hint.shard_id for recorder in recorders for hint in recorder.hints]
    assert sorted(hints) == sorted(shard.id for shard in shards(database))


def test_100_duplicates_of_each_hint(database: Database, tmp_path: Path) -> None:
    """Delivered by four threads at once: each stage of each shard runs once, and nothing fails."""
    make_job(database)
    ran: Counter[tuple[str, str]] = Counter()

    def counted(stage: Stage) -> StageFunction:
        def run(context: StageContext) -> Finish:
            ran[context.lease.shard_id, stage] += 1
            return ROAD[stage](context)

        return run

    services = make_services(database, tmp_path, {stage: counted(stage) for stage in ROAD})
    hints = [shard.id for shard in shards(database)] * 100
    with ThreadPoolExecutor(4) as pool:
        # A busy database can see all of them end while one stage still runs: as in life, there are more.
        for _ in range(len(ROAD)):
            list(pool.map(lambda shard: run_shard(services, shard), hints))
    assert ran == Counter((shard.id, stage) for shard in shards(database) for stage in ROAD)
    assert {(shard.state, shard.failures, shard.interruptions) for shard in shards(database)} == {("done", 0, 0)}
    assert (job_state(database), outcomes(database)) == (JobState.SUCCEEDED, PROBLEMS)


SKEWED = """
import sys, time, datetime
shift = float(sys.argv[3])
real, mono = time.time, time.monotonic
time.time = lambda: real() + shift
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=shift)
datetime.datetime = Shifted
from pathlib import Path
from models.session import Database
from tests.workers.road import ROAD, make_services, shards
from workers.runner import run_shard
database = Database(sys.argv[1])
services = make_services(database, Path(sys.argv[2]), ROAD)
first = shards(database)[0]
for _ in range(3):
    print(run_shard(services, first.id), flush=True)
"""


@pytest.mark.parametrize("shift", [3600, -3600])
def test_clock_skew(database: Database, tmp_path: Path, shift: int) -> None:
    """A worker whose clock is an hour off takes no living lease and loses none."""
    make_job(database)
    held = shards(database)[1].id
    with database.begin() as session:
        values = {"state": ShardState.RUNNING, "lease_expires_at": db_now(600), "worker": "alive", "fence": 1}
        session.execute(update(Shard).where(Shard.id == held).values(**values))
    command = [sys.executable, "-c", SKEWED, database.url, str(tmp_path), str(shift)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    assert done.stdout.split() == ["advanced", "advanced", "done"]
    assert Sweeper(database, Recorder(), make_services(database, tmp_path, ROAD).settings).sweep().expired == 0
    kept = next(shard for shard in shards(database) if shard.id == held)
    assert (kept.state, kept.worker, kept.fence) == (ShardState.RUNNING, "alive", 1)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_1000_cancel_interleavings(database: Database, tmp_path: Path) -> None:
    """A cancellation against the end of a stage, begun together each time: one terminal state, which never changes."""
    make_job(database, shard_size=PROBLEMS)
    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: through(None)})
    [shard] = shards(database)
    seen: set[str] = set()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(size(1000, 100)):
            _afresh(database)
            together = threading.Barrier(2)

            def finish(barrier: threading.Barrier = together) -> None:
                barrier.wait()
                run_shard(services, shard.id)

            def cancel(barrier: threading.Barrier = together) -> None:
                barrier.wait()
                with database.begin() as session:
                    lifecycle.cancel(session, InjectionJob, "inj")
                    lifecycle.complete_owner(session, InjectionJob, "inj")

            for future in [pool.submit(finish), pool.submit(cancel)]:
                future.result(60)
            state = job_state(database)
            assert state in TERMINAL
            assert {each.state for each in shards(database)} <= SHARD_TERMINAL
            Sweeper(database, Recorder(), services.settings).sweep()
            assert job_state(database) == state
            seen.add(state)
    assert {JobState.SUCCEEDED, JobState.CANCELLED} >= seen


def _afresh(database: Database) -> None:
    with database.begin() as session:
        session.execute(text("DELETE FROM problem_outcomes"))
        session.execute(text("DELETE FROM events"))
        session.execute(update(InjectionJob).values(state=JobState.QUEUED, funnel=None, finished_at=None))
        waits = {"state": ShardState.QUEUED, "stage": Stage.SAMPLE, "ledger": {}, "next_run_at": None}
        session.execute(update(Shard).values(**waits))
        assert session.scalar(select(InjectionJob.state)) == JobState.QUEUED
