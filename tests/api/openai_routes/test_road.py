"""From a preference file to a named model, by the `openai` package, on both databases."""

from __future__ import annotations

import csv
import io
from typing import Any

import openai
import pytest

from models.session import Database
from models.settings import StoreSettings
from tests.api.openai_routes.conftest import Service, lines, preference, service_of

ROWS = 24
TUNED = {"n_epochs": 2, "batch_size": 12, "learning_rate_multiplier": 2, "beta": 0.1}


@pytest.fixture
def own(database: Database, store: StoreSettings) -> Service:
    """A service of the test's own, once on SQLite and once on PostgreSQL."""
    return service_of(database, store)


def test_a_preference_file_becomes_a_model(own: Service) -> None:
    client = own.sdk()
    sent = lines([preference(at) for at in range(ROWS)])
    file = client.files.create(file=("theirs.jsonl", sent), purpose="fine-tune")
    method: Any = {"type": "dpo", "dpo": {"hyperparameters": TUNED}}
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, method=method, suffix="mine", seed=7, metadata={"team": "a"}
    )
    assert (job.status, job.model, job.fine_tuned_model, job.trained_tokens) == ("validating_files", "tiny", None, None)
    assert (job.training_file, job.seed, job.metadata, job.organization_id) == (file.id, 7, {"team": "a"}, "ws_default")
    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    assert job.method.dpo.hyperparameters.model_dump() == TUNED
    assert own.claim() is None, "the run waits for its dataset"
    own.freeze(own.dataset_of(job.id))
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
    model = _train(own, job.id)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model, done.trained_tokens, done.error) == ("succeeded", model, 600, None)
    assert model.startswith("ft:tiny:errata:mine:")
    _check_events(client, job.id)
    newest, first = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert (newest.step_number, first.step_number) == (4, 2)
    assert newest.fine_tuned_model_checkpoint == f"{model}:ckpt-step-4"
    assert (newest.metrics.train_loss, newest.metrics.full_valid_loss) == (0.25, 0.5)
    [one], page = (list(p.data) for p in _pages(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)))
    assert (one.id, [row.id for row in page]) == (newest.id, [first.id])
    rows = list(csv.DictReader(io.StringIO(client.files.content(done.result_files[0]).text)))
    assert [(row["step"], row["train_loss"], row["valid_loss"]) for row in rows][-1] == ("4", "0.25", "0.5")
    result = client.files.retrieve(done.result_files[0])
    assert (result.purpose, result.bytes) == ("fine-tune-results", len(client.files.content(result.id).content))
    assert client.models.retrieve(model).owned_by == "errata"
    assert [row.id for row in client.fine_tuning.jobs.list()] == [job.id]
    gone = client.models.delete(model)
    assert (gone.id, gone.deleted, gone.object) == (model, True, "model")
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve(model)
    assert refused.value.code == "model_not_found"


def _train(own: Service, job_id: str) -> str:
    """What a trainer writes of a run of four steps; the name of the result."""
    lease = own.claim()
    assert lease is not None
    own.told(lease, 0, [], {"type": "ready", "total_steps": 4})
    for step in range(1, 5):
        told = [{"step": step, "values": {"loss": 1 / step, "tokens": 150}}]
        kept = [{"type": "checkpoint", "step": step, "path": "/c", "size_bytes": 1, "manifest": {}, "deleted": []}]
        if step == 4:
            told.append({"step": 4, "phase": "eval", "values": {"loss": 0.5}})
        own.told(lease, step, told, *(kept if step % 2 == 0 else []))
    finished = {"type": "finished", "step": 4, "path": "/out", "manifest": {"files": []}, "summary": {"steps": 4}}
    own.told(lease, 4, [], finished)
    return own.run(job_id).output_name


def _check_events(client: openai.OpenAI, job_id: str) -> None:
    whole = client.fine_tuning.jobs.list_events(job_id, limit=100).data
    assert whole[0].message.startswith("It succeeded")
    assert whole[-1].message == "It waits for a trainer."
    steps = [event.data for event in whole if event.type == "metrics"]
    assert [data["step"] for data in steps if isinstance(data, dict)] == [4, 3, 2, 1]
    assert any(event.message == "Step 2 of 4: training loss 0.5." for event in whole)
    # Page by page, across both kinds: the same list, nothing twice.
    assert [event.id for event in client.fine_tuning.jobs.list_events(job_id, limit=2)] == [event.id for event in whole]


def _pages(first: Any) -> list[Any]:
    return [first, *([first.get_next_page()] if first.has_next_page() else [])]
