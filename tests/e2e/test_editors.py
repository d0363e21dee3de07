"""Slips and the editors behind words over HTTP: from a pilot that advises them to the dataset that names them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import problems
from errata_client import Errata
from errata_client.records import InjectionJob
from tests.e2e.conftest import Prepare
from tests.processes import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COUNT = 12
BROUGHT = {"sampling": {"source": "brought"}, "shard_size": 3, "seed": 3}
NONSENSE = {"max_tokens": 1, "temperature": 2.0, "attempts": 1}
"""Replies of one token, drawn nearly at random: asked in words, this model gives nothing."""


@pytest.fixture(scope="module")
def server(prepared: Prepare) -> Iterator[Running]:
    with Running("serve", "--port", "0", "--no-trainer", env=prepared()) as serve:
        yield serve


@pytest.fixture(scope="module")
def errata(server: Running) -> Iterator[Errata]:
    with Errata(server.url()) as client:
        yield client


def post(errata: Errata) -> str:
    """Problems with their worked solutions; the id of their set."""
    made = problems.generate(COUNT, seed=5)
    posted = errata.problem_sets.create("stories", problems.rows(made))
    errata.problem_sets.bring_solutions(
        posted.id, [{"problem": at, "source": "gold", "text": p.gold_solution} for at, p in enumerate(made)]
    )
    return posted.id


def start(errata: Errata, preset: str, config: dict[str, Any]) -> InjectionJob:
    return errata.injection_jobs.create(post(errata), language_model="miniature", preset=preset, config=config)


def contents(errata: Errata, job: InjectionJob) -> list[tuple[object, ...]]:
    """The pairs of a job by what they say."""
    return sorted((p.question, p.chosen, p.rejected, p.editor or "") for p in errata.pairs.list(job=job.id))


def test_a_job_of_slips_from_its_problems_to_its_dataset(errata: Errata, tmp_path: Path) -> None:
    job = errata.injection_jobs.wait(start(errata, "slip", BROUGHT).id, timeout_seconds=300)
    assert (job.state, job.partial) == ("succeeded", False)
    pairs = list(errata.pairs.list(job=job.id, editor="slip"))
    assert len({pair.problem for pair in pairs}) == COUNT
    assert not list(errata.pairs.list(job=job.id, editor="words"))
    edits = list(errata.injection_jobs.edits(job.id, editor="slip"))
    slips = errata.injection_jobs.funnel(job.id)["edits"]["by_editor"]["slip"]
    assert (slips["asked"], slips["pairs"]) == (len(edits), len(pairs))
    assert slips["prompt_tokens"] == sum(edit["prompt_tokens"] for edit in edits) > 0
    dataset = errata.datasets.wait(errata.datasets.create("slips", [job.id]).id, timeout_seconds=120)
    folder = errata.datasets.download(dataset.id, tmp_path / "dataset")
    files = sorted((folder / "steps_and_full").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert {row["editor"] for row in rows if row["type"] == "step"} == {"slip"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"]["editor"] == {"slip": len(pairs)}
    assert manifest["lineage"][0]["editors"]["slip"]["pairs"] == len(pairs)
    assert "| slip |" in (folder / "README.md").read_text()


def test_what_a_pilot_suggests_is_posted_as_it_stands_and_gives_pairs(errata: Errata) -> None:
    set_id, config = post(errata), {**BROUGHT, "editing": NONSENSE}
    asked = errata.injection_jobs.estimate(set_id, language_model="miniature", config=config, pilot_problems=8)
    estimate = errata.estimates.wait(asked.id, timeout_seconds=300)
    found = {told["editor"]: told for told in estimate.editors or []}
    assert found["words"]["pays"] is False
    assert found["slip"]["pays"] is True
    assert found["slip"]["tokens_per_pair"] > 0
    assert sum(kind["asked"] for kind in found["words"]["kinds"].values()) == found["words"]["asked"]
    assert "words 0 of" in (estimate.suggestion or "")
    suggested = estimate.suggested_config or {}
    assert suggested["editing"]["editor"] == "slip"
    assert suggested["sampling"] == {"source": "brought"}, "what was asked for is kept"
    started = errata.injection_jobs.create(set_id, language_model="miniature", config=suggested)
    job = errata.injection_jobs.wait(started.id, timeout_seconds=300)
    assert {pair.editor for pair in errata.pairs.list(job=job.id)} <= {"slip", "rule"}
    assert len({pair.problem for pair in errata.pairs.list(job=job.id)}) == COUNT


@pytest.mark.long
def test_a_service_killed_among_its_editors_ends_with_the_same_pairs(prepared: Prepare, errata: Errata) -> None:
    config = {**BROUGHT, "shard_size": 2, "editing": NONSENSE}
    expected = contents(errata, errata.injection_jobs.wait(start(errata, "errata", config).id, timeout_seconds=300))
    assert {editor for *_, editor in expected} >= {"slip"}
    env = prepared()
    with Running("serve", "--port", "0", "--no-trainer", env=env) as serve, Errata(serve.url()) as before:
        job = start(before, "errata", config)
        until(lambda: before.injection_jobs.get(job.id).fraction > 0.1, "the job to be in its middle", 300)
        serve.kill_tree()
    with Running("serve", "--port", "0", "--no-trainer", env=env) as again, Errata(again.url()) as after:
        ended = after.injection_jobs.wait(job.id, timeout_seconds=300)
        assert not ended.partial
        assert contents(after, ended) == expected
