"""How far a job is, watched while its stages run: status, event stream and page of the embedded service."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import httpx
import pytest

from errata_client import Errata
from errata_client.records import Event, InjectionJob
from tests.e2e.conftest import Prepare, train_problems
from tests.processes import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
#: One shard, so that nothing but what its stages tell can move the job.
CONFIG = {"shard_size": 512, "sampling": {"samples": 2, "temperature": 1.0, "max_tokens": 160}, "seed": 3}


def counted(told: dict[str, Any]) -> list[float]:
    """All numbers of one answer that may never fall."""
    numbers = (told["fraction"], *told["tokens"].values(), *told["made"].values())
    return [float(number) for number in numbers]


def test_a_job_moves_inside_its_stages_and_never_back(prepared: Prepare) -> None:
    env = prepared(ERRATA_PROGRESS_SECONDS="0.1", ERRATA_CANCEL_POLL_SECONDS="0.1", ERRATA_EVENT_POLL_SECONDS="0.1")
    with Running("serve", "--port", "0", "--no-trainer", env=env) as serve, Errata(serve.url()) as errata:
        posted = errata.problem_sets.create("far", train_problems(96))
        job = errata.injection_jobs.create(posted.id, language_model="miniature", config=CONFIG)
        streamed: list[Event] = []
        reader = threading.Thread(
            target=lambda: streamed.extend(errata.injection_jobs.follow(job.id, progress=True)), daemon=True
        )
        reader.start()
        answers: list[dict[str, Any]] = []
        pages: set[str] = set()

        def ended() -> bool:
            answers.append(httpx.get(f"{serve.url()}/v1/injection-jobs/{job.id}").json())
            pages.add(httpx.get(f"{serve.url()}/jobs/{job.id}").text)
            return bool(answers[-1]["finished_at"])

        until(ended, "the job to end", seconds=300)
        reader.join(60)
        _check(answers, pages, streamed, errata.injection_jobs.get(job.id))


def _check(answers: list[dict[str, Any]], pages: set[str], streamed: list[Event], done: InjectionJob) -> None:
    told = [answer["progress"] for answer in answers]
    for before, after in pairwise(told):
        assert all(a <= b for a, b in zip(counted(before), counted(after), strict=True)), (before, after)
    inside = [progress["inside"] for progress in told if progress["inside"]]
    for stage, unit in (("sample", "samples"), ("edit", "edits")):
        seen = [each[stage] for each in inside if stage in each and each[stage]["total"]]
        assert {each["unit"] for each in seen} == {unit}
        assert max(each["tokens"] for each in seen) > 0
        assert any(f"{unit}, " in page and "tokens</span>" in page for page in pages)
    sampling = {round(progress["fraction"], 4) for progress in told if "sample" in progress["inside"]}
    assert len(sampling) > 2, "one shard in its first stage, and yet it moves"
    assert done.succeeded
    assert done.funnel is not None
    assert done.progress.made == {"samples": done.funnel["samples"]["total"], "edits": done.funnel["edits"]["total"]}
    moved = [event for event in streamed if event.type == "progress"]
    fractions = [event.data["fraction"] for event in moved]
    assert fractions == sorted(fractions)
    assert any("inside" in event.data for event in moved)
    assert [event.id for event in streamed] == sorted(event.id for event in streamed)
