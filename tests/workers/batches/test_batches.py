"""A job in batches makes what the same job makes at once, however its batches end, and asks for nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from models.base import db_now
from models.batches import ProviderBatch
from models.jobs import InjectionJob, Shard
from models.migrate import Base
from models.session import Database
from models.states import JobState
from tests.batch_server import BatchServer
from tests.workers.batches.conftest import entry, left, run, step, work_until
from tests.workers.engines.jobs import PROBLEMS, posted
from workers import lifecycle
from workers.batches.poller import BatchPoller
from workers.engines.base import ModelSpec
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import run_shard

pytestmark = pytest.mark.timeout(600)
#: Waves, and continuations of every edit: several calls of a stage, of which the later follow from the earlier.
SAMPLED: dict[str, Any] = {
    "sampling": {"samples": 3, "temperature": 1.0, "max_tokens": 120},
    "proof": {"continuations": {"when": "always", "k": 1, "temperature": 0.0, "max_tokens": 120}},
}
Engines = tuple[EnginePool, JudgePool]


@pytest.fixture
def engines(pool: EnginePool, judge: JudgePool) -> Engines:
    return pool, judge


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory, judge: JudgePool) -> dict[str, Any]:
    """What the job makes where each request is asked by itself, its tokens, and how many requests those were."""
    folder = tmp_path_factory.mktemp("at_once")
    database, pool, server = Database(f"sqlite:///{folder / 'errata.db'}"), EnginePool(), BatchServer(PROBLEMS)
    Base.metadata.create_all(database.engine)
    with posted(database, folder, (pool, judge), ModelSpec("m", "openai", server.config()), **SAMPLED) as job:
        job.run()
        found = {"made": job.made(), "tokens": dict(job.tokens()), "requests": server.asked_at_once()}
    server.close()
    pool.close()
    database.dispose()
    return found


def is_whole(server: BatchServer, database: Database) -> None:
    """Everything went in batches, each request was answered once, and nothing is left over."""
    assert server.asked_at_once() == 0
    assert set(server.worked.values()) == {1}
    assert left(database) == (0, 0)
    assert server.files == {}


def test_a_job_in_batches_makes_what_it_makes_at_once(
    database: Database, tmp_path: Path, engines: Engines, server: BatchServer, at_once: dict[str, Any]
) -> None:
    with posted(database, tmp_path, engines, entry(server, batch={"max_requests": 4}), **SAMPLED) as job:
        answers = run(job)
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == at_once["made"]
        assert dict(job.tokens()) == at_once["tokens"]
        opened, ended = job.events("batch_opened"), job.events("batch_ended")
    is_whole(server, database)
    assert len(server.worked) == at_once["requests"]
    assert {"parked", "done"} <= set(answers)
    assert not {"failed", "released", "quarantined"} & set(answers)
    assert max(event["requests"] for event in opened) == 4
    assert sorted(event["batch"] for event in ended) == sorted(server.batches)
    assert sum(event["answered"] for event in ended) == at_once["requests"]
    assert {body["completion_window"] for path, _, body in server.seen if path == "/v1/batches"} == {"24h"}


ENDS = [("expired 3", "500 2", "missing 2", "429 1"), ("cancelled",), ("failed token_limit_exceeded",) * 4]


@pytest.mark.parametrize("ends", ENDS)
def test_what_a_batch_does_not_answer_is_asked_again(
    ends: tuple[str, ...],
    sqlite_database: Database,
    tmp_path: Path,
    engines: Engines,
    server: BatchServer,
    at_once: dict[str, Any],
) -> None:
    server.ends.extend(ends)
    with posted(sqlite_database, tmp_path, engines, entry(server), **SAMPLED) as job:
        answers = run(job)
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == at_once["made"]
        ended = job.events("batch_ended")
    assert sum(event["answered"] < event["requests"] for event in ended) == len(ends)
    assert not {"failed", "released"} & set(answers)
    is_whole(server, sqlite_database)


def test_a_provider_that_forgets_a_batch_is_asked_again(
    sqlite_database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    server.going.clear()
    with posted(sqlite_database, tmp_path, engines, entry(server), shard_size=len(PROBLEMS)) as job:
        work_until(job, lambda: server.batches, "a batch")
        server.batches.clear()
        server.going.set()
        run(job)
        assert job.state() == JobState.SUCCEEDED
        assert job.events("batch_ended")[0]["status"] == "forgotten by the provider"


@pytest.mark.parametrize("end", ["failed bad_line", "404 9"])
def test_what_is_refused_for_good_fails_the_shard_with_the_providers_words(
    end: str, sqlite_database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    server.ends.extend([end] * 99)
    with posted(sqlite_database, tmp_path, engines, entry(server, retries=0), shard_size=len(PROBLEMS)) as job:
        answers = run(job)
        assert job.state() == JobState.FAILED
        assert [answer for answer in answers if answer != "parked"] == ["failed", "failed", "quarantined"]
        with job.db.read() as session:
            told = str(session.get_one(InjectionJob, "inj").error)
    assert "told to" in told
    assert len(server.batches) == 3  # one for each of the shard's attempts
    assert (server.asked_at_once(), left(sqlite_database)) == (0, (0, 0))


def test_a_refusal_that_teaches_something_is_learnt_from(
    sqlite_database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    """A line that is refused with the name of another field is an answer: the next batch asks by that name."""
    answer = server.answer

    def newer(path: str, body: dict[str, Any], gone: Any) -> Any:
        if "max_tokens" in body:
            return 400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}
        return answer(path, {**body, "max_tokens": body["max_completion_tokens"]}, gone)

    server.answer = newer  # type: ignore[method-assign]
    with posted(sqlite_database, tmp_path, engines, entry(server), shard_size=len(PROBLEMS)) as job:
        run(job)
        assert job.state() == JobState.SUCCEEDED
        refused = next(event["answered"] for event in job.events("batch_ended"))
    assert refused == len(PROBLEMS)
    is_whole(server, sqlite_database)


FAULTS = [("429 0", "500", "cut"), ("", "500"), ("", "cut"), ("lost", "", "lost"), ("", "lost")]


@pytest.mark.parametrize("faults", FAULTS)
def test_a_provider_in_trouble_costs_time_and_no_request(
    faults: tuple[str, ...],
    sqlite_database: Database,
    tmp_path: Path,
    engines: Engines,
    server: BatchServer,
    at_once: dict[str, Any],
) -> None:
    """Uploads and creations are refused, cut off, or done without an answer that arrives."""
    server.faults.extend(faults)
    with posted(sqlite_database, tmp_path, engines, entry(server, retries=1), **SAMPLED) as job:
        answers = run(job)
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == at_once["made"]
    assert "failed" not in answers
    server.files.clear()  # an upload whose answer was lost is a file without a batch
    is_whole(server, sqlite_database)


def test_cancelling_a_job_cancels_its_batches(
    database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    server.going.clear()
    with posted(database, tmp_path, engines, entry(server)) as job:
        work_until(job, lambda: len(server.batches) == 3, "a batch for each shard")
        with database.begin() as session:
            assert lifecycle.cancel(session, InjectionJob, "inj")
            lifecycle.complete_owner(session, InjectionJob, "inj")
        assert job.state() == JobState.CANCELLED
        BatchPoller(job.services).look()
    assert {batch["status"] for batch in server.batches.values()} == {"cancelled"}
    assert server.files == {}
    with database.read() as session:
        assert session.scalars(select(ProviderBatch)).all() == []


def test_a_paused_job_keeps_what_its_batches_answer(
    database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    server.going.clear()
    with posted(database, tmp_path, engines, entry(server)) as job:
        work_until(job, lambda: len(server.batches) == 3, "a batch for each shard")
        with database.begin() as session:
            assert lifecycle.pause(session, session.get_one(InjectionJob, "inj"))
        server.going.set()
        work_until(job, lambda: len(job.events("batch_ended")) == 3, "the batches to end")
        assert set(step(job)) <= {"not claimed"}
        with database.begin() as session:
            assert lifecycle.resume(session, session.get_one(InjectionJob, "inj"))
        run(job)
        assert job.state() == JobState.SUCCEEDED
    is_whole(server, database)


def test_no_more_batches_are_open_than_may_be(
    sqlite_database: Database, tmp_path: Path, engines: Engines, server: BatchServer
) -> None:
    server.going.clear()
    with posted(sqlite_database, tmp_path, engines, entry(server, batch={"max_open": 2})) as job:
        work_until(job, lambda: len(server.batches) == 2, "two batches")
        for _ in range(5):
            step(job)
        assert len(server.batches) == 2
        server.going.set()
        run(job)
        assert job.state() == JobState.SUCCEEDED
    is_whole(server, sqlite_database)


def test_a_holder_that_lost_its_lease_makes_no_second_batch(
    database: Database, tmp_path: Path, engines: Engines, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had asked for the batch and stood still; another one took the shard meanwhile and gave that batch up."""
    server.lists = False  # the worst case: nobody can find out
    with posted(database, tmp_path, engines, entry(server), shard_size=len(PROBLEMS)) as job:
        page = server.page

        def late(method: str, path: str, headers: dict[str, str], content: bytes) -> Any:
            answer = page(method, path, headers, content)
            if (method, path) == ("POST", "/v1/batches"):
                monkeypatch.setattr(server, "page", page)
                with database.begin() as session:
                    values = {"state": "queued", "fence": Shard.fence + 1, "next_run_at": db_now()}
                    session.execute(update(Shard).values(**values))
                with database.read() as session:
                    [shard] = session.scalars(select(Shard.id))
                assert run_shard(job.services, shard) == "parked"
            return answer

        monkeypatch.setattr(server, "page", late)
        run(job)
        assert job.state() == JobState.SUCCEEDED
    assert [batch["status"] for batch in server.batches.values()].count("cancelled") == 1
    assert set(server.worked.values()) == {1}
    assert left(database) == (0, 0)
