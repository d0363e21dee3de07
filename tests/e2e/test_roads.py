"""The whole road by each way in alone, over one live service per column: embedded, and as separate processes.

`errata`, curl, our client (also asynchronously) and the unmodified `openai` package, as the documents have them. The
suite walks them on production, and tests/client on the embedded column; ``make test-long`` walks what is left.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from demo import problems
from errata_client import Errata
from tests.client.test_road import road
from tests.e2e.conftest import Prepare
from tests.e2e.openai_road import follow_openai_page
from tests.e2e.shell_road import PROBLEMS, block, follow
from tests.ops.services import own_broker, own_database
from tests.processes import ROOT, Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TRAINING = {"max_steps": 2, "batch_size": 4, "micro_batch": 4, "learning_rate": 1e-4}
PRODUCTION = pytest.param("production", marks=pytest.mark.services)


@dataclass(frozen=True)
class Live:
    """A service with a worker and a trainer: its address, and the environment of its processes."""

    url: str
    env: dict[str, str]


@pytest.fixture(scope="module", params=[pytest.param("embedded", marks=pytest.mark.long), PRODUCTION])
def live(request: pytest.FixtureRequest, prepared: Prepare) -> Iterator[Live]:
    """One for all roads: starting it is what costs."""
    with ExitStack() as stack:
        if request.param == "embedded":
            env = prepared()
            yield Live(stack.enter_context(Running("serve", "--port", "0", env=env)).url(), env)
            return
        postgres = stack.enter_context(own_database(request.getfixturevalue("postgres_server")))
        redis = stack.enter_context(own_broker())
        env = prepared(DATABASE_URL=postgres, BROKER_URL=redis, ERRATA_PORT="0")
        api = stack.enter_context(Running("api", env=env))
        for role in ("worker", "sweeper", "trainer"):
            stack.enter_context(Running(role, env=env))
        yield Live(api.url(), env)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Made-up problems as OpenAI preference rows: the right answer, and a wrong one."""
    path = tmp_path / "preferences.jsonl"
    rows = (
        {
            "input": {"messages": [{"role": "user", "content": each.question}]},
            "preferred_output": [{"role": "assistant", "content": f"The answer is \\boxed{{{each.gold_answer}}}."}],
            "non_preferred_output": [
                {"role": "assistant", "content": f"The answer is \\boxed{{{each.gold_answer}1}}."}
            ],
        }
        for each in problems.generate(24, seed=5)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_by_the_openai_package_and_an_import(live: Live, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preference file by our client, then by the `openai` package alone."""
    with Errata(live.url) as errata:
        sent = errata.datasets.import_file(file, name="theirs", license="mit")
        dataset = errata.datasets.wait(sent.id, timeout_seconds=300)
        assert dataset.imported is not None
        assert (dataset.imported["format"], dataset.imported["pairs"], dataset.imported["file"]) == (
            "openai",
            24,
            file.name,
        )
        assert errata.datasets.import_file(file, name="theirs", license="mit").id == dataset.id
        preview = errata.training_jobs.preview(dataset.id, base_model="miniature", config=TRAINING)
        assert preview.refused is None
        for example in preview.examples:
            assert example["chosen"]["ends_with_eos"]
            assert example["rejected"]["ends_with_eos"]
        given = {"base_model": "miniature", "output_name": "taught", "preset": "errata", "config": TRAINING}
        run = errata.training_jobs.create(dataset.id, **given)
        done = errata.training_jobs.wait(run.id, timeout_seconds=300)
        assert (done.step, done.language_model) == (2, "taught")
    monkeypatch.chdir(file.parent)
    _check_openai(follow_openai_page(live.url, "miniature"))


def _check_openai(left: dict[str, Any]) -> None:
    """What the page's commands left behind."""
    client, job, done, other = (left[name] for name in ("client", "job", "done", "other"))
    assert (job.status, done.status, done.error) == ("validating_files", "succeeded", None)
    assert done.fine_tuned_model.startswith("ft:miniature:errata:polite:")
    assert done.trained_tokens > 0
    assert [row.step_number for row in left["checkpoints"]] == [4, 2], "one for each epoch"
    assert len(left["metrics"].splitlines()) == 1 + 4
    assert left["answer"].model == done.fine_tuned_model, "the result was asked, by a child of the worker"
    assert 0 < left["answer"].usage.completion_tokens <= 16
    assert left["chunk"].choices[0].finish_reason in ("stop", "length")
    kinds = [event.data["type"] for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "message"]
    assert {"paused", "training.running", "training.checkpoint", "training.succeeded"} <= set(kinds)
    assert [each.id for each in client.fine_tuning.jobs.list()] == [other.id, job.id]
    assert client.fine_tuning.jobs.retrieve(other.id).status == "cancelled"
    assert client.files.list().data == []
    assert done.fine_tuned_model not in {model.id for model in client.models.list()}


@pytest.fixture
def written(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the problems that the page has its reader write, and the model registered by it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    page = (ROOT / "docs" / "whole-road.md").read_text(encoding="utf-8")
    [prepare] = re.findall(r"^```sh\n(errata models add .*?)^```", page, flags=re.M | re.S)
    follow(prepare, tmp_path, live.env, live.url)
    assert len((tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()) == PROBLEMS
    return tmp_path


def test_by_the_command_line(live: Live, written: Path) -> None:
    done = follow(block("By the command line", "sh"), written, live.env, live.url)
    assert (written / "small" / "manifest.json").is_file()
    assert re.search(r"^difference +[+-]\d+\.\d%", done.stdout, flags=re.M)
    assert re.search(rf"^problems +{PROBLEMS}: ", done.stdout, flags=re.M)
    assert "small-model" in done.stdout


def test_by_curl(live: Live, written: Path) -> None:
    done = follow(block("By curl", "bash"), written, live.env, live.url)
    told = [line for line in done.stdout.splitlines() if line]
    estimate = json.loads(told[0])
    assert (estimate["state"], estimate["forecast"]["problems"]) == ("succeeded", PROBLEMS)
    assert sum(line.startswith("It succeeded") for line in told) == 5, "job, dataset, run, two evaluations"
    comparison = json.loads(told[-1])
    assert (comparison["problems"], comparison["after"]["language_model"]) == (PROBLEMS, "curled-model")
    with zipfile.ZipFile(written / "curled.zip") as files:
        assert any(name.endswith("manifest.json") for name in files.namelist())


@pytest.mark.long
@pytest.mark.parametrize("live", [PRODUCTION], indirect=True)
def test_by_the_client(live: Live, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "client" / "README.md").read_text(encoding="utf-8"), re.S)
    exec(compile(code.replace("http://127.0.0.1:8000", live.url), "README.md", "exec"), {})
    assert re.search(r"accuracy changed by [+-]\d+\.\d%", capsys.readouterr().out)


@pytest.mark.long
@pytest.mark.parametrize("live", [PRODUCTION], indirect=True)
def test_by_the_client_asynchronously(live: Live, written: Path) -> None:
    file = written / "problems.jsonl"
    rows = problems.rows(problems.generate(6, seed=5))  # as many as that road brings solutions for
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert asyncio.run(road(live.url, file, written / "files")).problems == 6


def test_a_completion_of_a_child_beside_a_job(live: Live, written: Path) -> None:
    """A worker's child takes one batch at a time: the completion is answered while the job still runs."""
    with Errata(live.url) as errata, openai.OpenAI(base_url=f"{live.url}/v1", api_key="-", timeout=300) as client:
        posted = errata.problem_sets.create("long", problems.rows(problems.generate(60, seed=9)))
        config = {"sampling": {"samples": 8, "adaptive": False}, "shard_size": 4}
        job = errata.injection_jobs.create(posted.id, language_model="miniature", config=config)
        question: Any = [{"role": "user", "content": problems.generate(1, seed=5)[0].question}]
        stream = client.chat.completions.create(model="miniature", messages=question, max_tokens=8, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces)
        assert errata.injection_jobs.get(job.id).state in ("queued", "running"), "it waited for no job to end"
        errata.injection_jobs.cancel(job.id)
