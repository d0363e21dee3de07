"""A job gives the same over every engine, on a server in trouble too; its record says what served it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.migrate import Base
from models.session import Database
from models.states import JobState
from tests.openai_server import OpenAIServer
from tests.processes import until
from tests.vllm_server import VllmServer
from tests.workers.engines.conftest import MODEL, START_SECONDS, Served
from tests.workers.engines.jobs import PROBLEMS, Job, posted
from workers.engines.base import ModelSpec
from workers.engines.pool import EnginePool
from workers.judge import JudgePool

pytestmark = pytest.mark.timeout(START_SECONDS)
Made = dict[str, Any]
COUNTERS = ("prompt_tokens_total", "generation_tokens_total", "prefix_cache_hits_total")


def _database(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    return database


@pytest.fixture(scope="module")
def judge() -> Iterator[JudgePool]:
    with JudgePool(1) as judge:
        yield judge


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, judge: JudgePool) -> Made:
    """What the job makes over the transformers engine."""
    folder = tmp_path_factory.mktemp("plain")
    database, pool = _database(folder), EnginePool(threads=1)
    model = ModelSpec("m", "transformers", {"path": str(MODEL), "device": "cpu"})
    with posted(database, folder, (pool, judge), model) as job:
        job.run()
        made = job.made()
    pool.close()
    database.dispose()
    return made


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    pool = EnginePool(threads=1)
    yield pool
    pool.close()


def test_a_greedy_job_makes_the_same_over_every_engine(
    served: Served, plain: Made, database: Database, tmp_path: Path, judge: JudgePool
) -> None:
    with posted(database, tmp_path, (served.pool, judge), served.model) as job:
        job.run()
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == plain
        [used] = job.events("engine_used")
        assert used["engine"] == served.model.engine
        assert used["fallbacks"] == []
    assert len(plain["solutions"]) == len(PROBLEMS)
    assert len(plain["edits"]) > len(PROBLEMS)


@pytest.mark.parametrize("faults", [("429 0", "500", "cut", "junk"), ("500",) * 6, ("cut",) * 8, ("stall", "429")])
def test_a_server_in_trouble_costs_time_and_nothing_else(
    faults: tuple[str, ...], plain: Made, sqlite_database: Database, tmp_path: Path, pool: EnginePool, judge: JudgePool
) -> None:
    server = OpenAIServer(MODEL)
    model = ModelSpec(
        "m", "openai", server.config(retries=1, timeout_seconds=25 if "stall" in faults else 60, tokenizer=str(MODEL))
    )
    with posted(sqlite_database, tmp_path, (pool, judge), model) as job:
        server.faults.extend(faults)
        answers = job.run()
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == plain
        told = sum(sum(event["counts"].values()) for event in job.events("engine_retried"))
        assert 1 <= told <= len(faults)
        assert bool(job.events("engine_unavailable")) == ("released" in answers)
        assert "failed" not in answers
    server.close()


def test_tokens_and_version_of_a_job_are_the_servers_own(
    sqlite_database: Database, tmp_path: Path, pool: EnginePool, judge: JudgePool
) -> None:
    server = OpenAIServer(MODEL, version="9.8.7")
    model = ModelSpec("m", "openai", server.config())
    sampling = {"samples": 3, "temperature": 1.0, "max_tokens": 200}
    with posted(sqlite_database, tmp_path, (pool, judge), model, sampling=sampling) as job:
        job.run()
        assert [used["version"] for used in job.events("engine_used")] == ["vllm 9.8.7"]
        tokens = job.tokens()
        assert (tokens["prompt"], tokens["completion"]) == (server.prompt_tokens, server.completion_tokens)
    server.close()


def test_edits_and_continuations_of_one_solution_are_neighbours_and_their_prompts_begin_alike(
    sqlite_database: Database, tmp_path: Path, pool: EnginePool, judge: JudgePool
) -> None:
    """One request at a time shows the order in which they leave: a solution is left once and never taken up again."""
    server = OpenAIServer(MODEL)
    model = ModelSpec("m", "openai", server.config(tokenizer=str(MODEL), concurrency=1))
    proof = {"continuations": {"when": "always", "temperature": 0.0, "max_tokens": 200}}
    with posted(sqlite_database, tmp_path, (pool, judge), model, shard_size=len(PROBLEMS), proof=proof) as job:
        job.run()
        assert job.state() == JobState.SUCCEEDED
    server.close()
    prompts = [tuple(body["prompt"]) for _, _, body in server.seen]
    texts = [server.engine.tokenizer.decode(prompt) for prompt in prompts]
    edits = [(text, prompt) for text, prompt in zip(texts, prompts, strict=True) if "part of step [" in text]
    rest = [(text, prompt) for text, prompt in zip(texts, prompts, strict=True) if "part of step [" not in text]
    continued = rest[len(PROBLEMS) :]  # behind the samples
    assert len(edits) > len(PROBLEMS)
    assert len(continued) > 2
    for asked in (edits, continued):
        runs = [next(at for at, p in enumerate(PROBLEMS) if p.question in text) for text, _ in asked]
        assert [at for at, _ in itertools.groupby(runs)] == list(dict.fromkeys(runs))
        for (_, before), (_, after) in _neighbours(asked, runs):
            assert _shared(before, after) > len(before) / 2


def _shared(one: tuple[int, ...], two: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _neighbours(asked: list[Any], runs: list[int]) -> list[tuple[Any, Any]]:
    """Requests that follow each other within one solution."""
    return [(asked[at - 1], asked[at]) for at in range(1, len(asked)) if runs[at - 1] == runs[at]]


@pytest.mark.vllm
def test_tokens_and_version_of_a_job_are_a_real_servers_own(
    vllm_server: VllmServer, sqlite_database: Database, tmp_path: Path, pool: EnginePool, judge: JudgePool
) -> None:
    model = ModelSpec("m", "openai", vllm_server.config(tokenizer=str(MODEL)))
    before = vllm_server.metrics()
    with posted(sqlite_database, tmp_path, (pool, judge), model) as job:
        job.run()
        [used] = job.events("engine_used")
        assert used["version"] == f"vllm {vllm_server.version()}"
        tokens = job.tokens()
    after = vllm_server.metrics()
    spent = {name: after[f"vllm:{name}"] - before[f"vllm:{name}"] for name in COUNTERS}
    assert tokens["prompt"] == spent["prompt_tokens_total"]
    assert tokens["completion"] == spent["generation_tokens_total"]
    assert tokens["cached"] == spent["prefix_cache_hits_total"] > 0


@pytest.mark.vllm
def test_a_real_server_killed_and_restarted_in_mid_job(
    vllm_server: VllmServer, plain: Made, sqlite_database: Database, tmp_path: Path, pool: EnginePool, judge: JudgePool
) -> None:
    model = ModelSpec("m", "openai", vllm_server.config(tokenizer=str(MODEL), retries=1, concurrency=2))
    with posted(sqlite_database, tmp_path, (pool, judge), model) as job:
        _kill_once(vllm_server, job, lambda: 0 < job.rows() < len(PROBLEMS))
        assert job.state() == JobState.SUCCEEDED
        assert job.made() == plain
        assert job.events("engine_unavailable")
        assert job.events("engine_retried")


def _kill_once(server: VllmServer, job: Job, when: Callable[[], bool]) -> None:
    """Run the job and kill the server the first time ``when`` holds, start it again, and see the job to its end."""
    runner = threading.Thread(target=job.run, kwargs={"seconds": 600})  # the server takes minutes to start
    runner.start()
    until(when, "the middle of the job")
    server.kill()
    try:
        until(lambda: job.events("engine_unavailable"), "the job to notice")
    finally:  # other tests use it too
        server.start()
        server.wait()
    runner.join(600)
