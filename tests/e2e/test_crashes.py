"""Whatever is killed in the middle of a job, the job ends as if nothing had been: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from errata_client import Errata
from errata_client.records import InjectionJob
from tests.e2e.conftest import Prepare, train_problems
from tests.processes import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROBLEMS = 24
CONFIG: dict[str, Any] = {"sampling": {"samples": 2, "max_tokens": 160}, "shard_size": 4, "seed": 3}


@dataclass
class Watched:
    """A job where nothing was killed: its pairs, and which processes had mapped torch while it ran."""

    pairs: list[tuple[object, ...]]
    api_with_torch: bool = False
    children_with_torch: set[int] = field(default_factory=set)


@pytest.fixture(scope="module")
def watched(prepared: Prepare) -> Watched:
    with Running("serve", "--port", "0", env=prepared()) as serve, Errata(serve.url()) as c:
        job, found = start(c), Watched([])
        for now in polls(c, job):
            found.api_with_torch |= maps_torch(serve.child.pid)
            found.children_with_torch |= {process.pid for process in serve.tree() if maps_torch(process.pid)}
            if now.ended:
                break
        found.api_with_torch |= maps_torch(serve.child.pid)
        found.pairs = contents(c, job)
        return found


@pytest.fixture(scope="module")
def unbroken(watched: Watched) -> list[tuple[object, ...]]:
    """The pairs of the same job where nothing was killed."""
    return watched.pairs


def start(errata: Errata) -> InjectionJob:
    """Post the problems and the job."""
    posted = errata.problem_sets.create("crashes", train_problems(PROBLEMS))
    return errata.injection_jobs.create(posted.id, language_model="miniature", config=CONFIG)


def contents(errata: Errata, job: InjectionJob) -> list[tuple[object, ...]]:
    """The pairs of a job by what they say."""
    pairs = errata.pairs.list(job=job.id)
    return sorted((p.type, p.question, p.prefix, p.chosen, p.rejected, p.error_kind or "") for p in pairs)


def in_the_middle(errata: Errata, job: InjectionJob) -> None:
    """Wait until some of the job has been done and some has not."""

    def begun() -> bool:
        now = errata.injection_jobs.get(job.id)
        assert not now.ended, "the job ended before anything could be killed"
        return now.fraction > 0.05

    until(begun, "the job to be in its middle", 300)


def check(errata: Errata, job: InjectionJob, expected: list[tuple[object, ...]]) -> None:
    """The job ends well, with the very pairs of the unbroken run and every problem accounted for."""
    ended = errata.injection_jobs.wait(job.id, timeout_seconds=300)
    assert not ended.partial
    assert contents(errata, ended) == expected
    assert expected, "a job without pairs shows nothing"
    funnel = ended.funnel or {}
    assert funnel["problems"]["total"] == PROBLEMS
    assert funnel["samples"]["total"] == PROBLEMS * 2
    solutions = list(errata.injection_jobs.solutions(job.id))
    assert len({(s.problem, s.sample_index) for s in solutions}) == len(solutions) == PROBLEMS * 2


def test_the_whole_embedded_tree_killed_and_started_again(
    prepared: Prepare, unbroken: list[tuple[object, ...]]
) -> None:
    env = prepared()
    with Running("serve", "--port", "0", env=env) as serve, Errata(serve.url()) as before:
        job = start(before)
        in_the_middle(before, job)
        serve.kill_tree()
    with Running("serve", "--port", "0", env=env) as again, Errata(again.url()) as after:
        check(after, job, unbroken)


def test_the_api_process_maps_no_torch_while_a_job_runs(watched: Watched) -> None:
    assert not watched.api_with_torch, "torch is in the API process"
    assert watched.children_with_torch, "no child had torch either: nothing was shown"


def polls(errata: Errata, job: InjectionJob) -> Iterator[InjectionJob]:
    """The job again and again."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        yield errata.injection_jobs.get(job.id)
        time.sleep(0.2)
    raise AssertionError("the job did not end")


def maps_torch(pid: int) -> bool:
    """Whether a process has mapped libtorch."""
    try:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    except (OSError, psutil.NoSuchProcess):
        return False


@pytest.mark.services
def test_a_worker_killed_among_separate_processes(
    prepared: Prepare, postgres_url: str, broker_url: str, unbroken: list[tuple[object, ...]]
) -> None:
    env = prepared(DATABASE_URL=postgres_url, BROKER_URL=broker_url)
    with (
        Running("api", "--port", "0", env=env) as api,
        Running("sweeper", env=env),
        Running("worker", env=env) as worker,
        Errata(api.url()) as errata,
    ):
        job = start(errata)
        in_the_middle(errata, job)
        worker.kill_tree()
        with Running("worker", env=env):
            check(errata, job, unbroken)


@pytest.mark.long
@pytest.mark.services
def test_the_demo_on_separate_processes_with_a_worker_killed(
    prepared: Prepare, postgres_url: str, broker_url: str
) -> None:
    env = prepared(DATABASE_URL=postgres_url, BROKER_URL=broker_url)
    with (
        Running("api", "--port", "0", env=env) as api,
        Running("sweeper", env=env),
        Running("trainer", env=env),
        Running("worker", env=env) as worker,
        Errata(api.url()) as errata,
        Running("demo", "--plan", "small", "--server", api.url(), "--json", env=env) as demo,
    ):
        until(lambda: demo.ended or list(errata.injection_jobs.list()), "the demo's job")
        in_the_middle(errata, next(iter(errata.injection_jobs.list())))
        worker.kill_tree()
        with Running("worker", env=env):
            assert demo.child.wait(450) == 0, demo.text
        assert '"against_control"' in demo.text
