"""An imported OpenAI file from its upload to a model trained on it: embedded, and as separate processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demo import problems
from errata_client import Errata
from tests.e2e.conftest import Prepare
from tests.e2e.openai_road import follow_openai_page
from tests.processes import Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAINING = {"max_steps": 2, "batch_size": 4, "micro_batch": 4, "learning_rate": 1e-4}


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


@pytest.fixture(
    params=[pytest.param("embedded", marks=pytest.mark.long), pytest.param("production", marks=pytest.mark.services)]
)
def url(request: pytest.FixtureRequest, prepared: Prepare) -> Iterator[str]:
    """A service with a worker and a trainer."""
    with ExitStack() as stack:
        if request.param == "embedded":
            yield stack.enter_context(Running("serve", "--port", "0", env=prepared())).url()
            return
        postgres, redis = (request.getfixturevalue(name) for name in ("postgres_url", "broker_url"))
        env = prepared(DATABASE_URL=postgres, BROKER_URL=redis, ERRATA_PORT="0")
        api = stack.enter_context(Running("api", env=env))
        for role in ("worker", "sweeper", "trainer"):
            stack.enter_context(Running(role, env=env))
        yield api.url()


def test_a_file_is_imported_and_trained_on(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our client, then by the `openai` package alone: one service for both, as starting it is what costs."""
    with Errata(url) as errata:
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
    _check_openai(follow_openai_page(url, "miniature"))


def _check_openai(left: dict[str, Any]) -> None:
    """What the page's commands left behind."""
    client, job, done, other = (left[name] for name in ("client", "job", "done", "other"))
    assert (job.status, done.status, done.error) == ("validating_files", "succeeded", None)
    assert done.fine_tuned_model.startswith("ft:miniature:errata:polite:")
    assert done.trained_tokens > 0
    assert [row.step_number for row in left["checkpoints"]] == [4, 2], "one for each epoch"
    assert len(left["metrics"].splitlines()) == 1 + 4
    kinds = [event.data["type"] for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "message"]
    assert {"paused", "training.running", "training.checkpoint", "training.succeeded"} <= set(kinds)
    assert [each.id for each in client.fine_tuning.jobs.list()] == [other.id, job.id]
    assert client.fine_tuning.jobs.retrieve(other.id).status == "cancelled"
    assert client.files.list().data == []
    assert done.fine_tuned_model not in {model.id for model in client.models.list()}
