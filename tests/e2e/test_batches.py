"""`errata serve`, killed with its whole tree while a provider works on its batches, and started again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.admin import add_model
from demo.problems import generate
from errata_client import Errata
from models.settings import StoreSettings
from tests.batch_server import BatchServer
from tests.e2e.conftest import Prepare, train_problems
from tests.processes import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROBLEMS = 12
CONFIG = {"sampling": {"samples": 2, "max_tokens": 160}, "shard_size": 4, "seed": 3}


@pytest.fixture
def server() -> Iterator[BatchServer]:
    server = BatchServer(generate(PROBLEMS, seed=5))
    yield server
    server.close()


def test_a_service_killed_while_its_batches_are_open_sends_nothing_twice(
    prepared: Prepare, server: BatchServer
) -> None:
    env = prepared(ERRATA_BATCH_POLL_SECONDS="0.1")
    config = server.config(batch={"poll_seconds": 0.1})
    add_model(StoreSettings(ERRATA_HOME=env["ERRATA_HOME"]), "cheap", "openai", config)
    server.going.clear()
    with Running("serve", "--port", "0", env=env) as serve, Errata(serve.url()) as before:
        problems = before.problem_sets.create("batches", train_problems(PROBLEMS))
        job = before.injection_jobs.create(problems.id, language_model="cheap", config=CONFIG)
        until(lambda: len(server.batches) == 3, "a batch for each shard", 300)
        serve.kill_tree()
    server.going.set()
    with Running("serve", "--port", "0", env=env) as again, Errata(again.url()) as after:
        ended = after.injection_jobs.wait(job.id, timeout_seconds=300)
        assert (ended.state, ended.partial) == ("succeeded", False)
        solutions = list(after.injection_jobs.solutions(job.id))
        assert len({(s.problem, s.sample_index) for s in solutions}) == len(solutions)
        assert solutions
        assert list(after.pairs.list(job=job.id))
    assert server.asked_at_once() == 0
    assert set(server.worked.values()) == {1}
    assert all(batch["status"] == "completed" for batch in server.batches.values())
    assert server.files == {}
