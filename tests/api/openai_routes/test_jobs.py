"""Fine-tuning jobs over `openai`: what they are asked for, how they move, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from api.http.auth import create_key
from api.quotas import QuotaIn, set_quota
from models.files import FileStore
from models.outputs import Dataset, TrainingRun
from models.states import JobState
from models.uploads import FineTuningJob
from models.workspaces import DEFAULT_WORKSPACE
from tests.api.openai_routes.conftest import Service, chat, preference

Uploaded = Callable[..., str]
DPO: Any = {"type": "dpo"}


@pytest.fixture
def file_id(uploaded: Uploaded) -> str:
    return uploaded([preference(at) for at in range(8)])


def test_a_job_is_paused_resumed_and_cancelled(service: Service, sdk: openai.OpenAI, file_id: str) -> None:
    jobs = sdk.fine_tuning.jobs
    job = jobs.create(model="tiny", training_file=file_id, method=DPO)
    assert str(jobs.pause(job.id).status) == "paused"
    assert jobs.resume(job.id).status == "validating_files"
    with pytest.raises(openai.BadRequestError, match="cannot resume"):
        jobs.resume(job.id)
    assert jobs.cancel(job.id).status == "cancelled"
    assert jobs.retrieve(job.id).finished_at is not None
    for act in (jobs.cancel, jobs.pause):
        with pytest.raises(openai.BadRequestError) as refused:
            act(job.id)
        assert refused.value.code == "conflict"
    assert service.run(job.id).state == "cancelled"
    assert {event.message for event in jobs.list_events(job.id)} >= {"It ended, cancelled. Its checkpoints are kept."}
    with pytest.raises(openai.NotFoundError):
        jobs.cancel("ftjob-0000")


def test_what_a_job_is_asked_for_is_its_runs_configuration(service: Service, sdk: openai.OpenAI, file_id: str) -> None:
    def config(**body: Any) -> tuple[Any, dict[str, Any]]:
        job = sdk.fine_tuning.jobs.create(model="tiny", training_file=file_id, **body)
        sdk.fine_tuning.jobs.cancel(job.id)
        return job, service.run(job.id).config

    job, found = config(method=DPO)
    assert (found["objective"], found["beta"], found["learning_rate"], found["epochs"]) == ("dpo", 0.4, 5e-7, 1)
    assert (found["checkpoint_every"], found["keep"], found["ineffective"], found["best"]) == (
        1,
        3,
        "drop",
        "train_loss",
    )
    assert job.hyperparameters.model_dump() == {
        "n_epochs": 1, "batch_size": 32, "learning_rate_multiplier": 1.0, "beta": 0.4,
    }  # fmt: skip
    tuned = {"n_epochs": 3, "batch_size": 2, "beta": 0.1, "learning_rate_multiplier": 10}
    _, found = config(method={"type": "dpo", "dpo": {"hyperparameters": tuned}}, seed=5)
    assert (found["epochs"], found["batch_size"], found["beta"], found["seed"]) == (3, 2, 0.1, 5)
    assert (found["learning_rate"], found["micro_batch"], found["checkpoint_every"]) == (pytest.approx(5e-6), 2, 4)
    job, found = config(hyperparameters={"n_epochs": 2, "batch_size": "auto"})
    assert (job.method.type, found["objective"], found["epochs"], found["batch_size"]) == ("supervised", "sft", 2, 32)
    job, found = config(method=DPO, extra_body={"config": {"max_length": 64, "keep": 1, "lora": {"r": 4}}})
    assert (found["max_length"], found["keep"], found["lora"]["r"]) == (64, 1, 4)


def test_bad_bodies_are_refused_naming_the_field(
    service: Service, sdk: openai.OpenAI, file_id: str, uploaded: Uploaded
) -> None:
    def param(**body: Any) -> str:
        given = {"model": "tiny", "training_file": file_id, "method": DPO, **body}
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.fine_tuning.jobs.create(**given)
        return str(refused.value.param)

    before = [job.id for job in sdk.fine_tuning.jobs.list(limit=1)]
    staged = FileStore(service.store.files).children("imports")
    assert param(model="gpt-4o-mini") == "model"
    assert param(training_file="file-0000") == "training_file"
    assert param(training_file=uploaded([chat(1)])) == "training_file", "no preferences"
    assert param(validation_file="nothing") == "validation_file"
    assert param(validation_file=file_id) == "validation_file", "its rows are all trained on"
    assert param(method={"type": "reinforcement"}) == "method.type"
    assert param(method={"type": "dpo", "supervised": {}}) == "method"
    assert param(method={"type": "dpo", "dpo": {"hyperparameters": {"beta": -1}}}) == "method.dpo.hyperparameters.beta"
    assert param(method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": "many"}}}).endswith("n_epochs")
    assert param(suffix="has spaces") == "suffix"
    assert param(metadata={"k" * 65: "v"}).startswith("metadata")
    assert param(integrations=[{"type": "wandb", "wandb": {"project": "p"}}]) == "integrations"
    assert param(extra_body={"config": {"epochs": 2}}) == "config.epochs"
    assert param(extra_body={"config": {"nonsense": 2}}) == "config.nonsense"
    assert [job.id for job in sdk.fine_tuning.jobs.list(limit=1)] == before, "no run was made"
    assert FileStore(service.store.files).children("imports") == staged


def test_a_validation_file_is_held_out(service: Service, sdk: openai.OpenAI, file_id: str, uploaded: Uploaded) -> None:
    held = uploaded([preference(at) for at in (0, 100, 101)], "held.jsonl")  # the first is in the training file
    job = sdk.fine_tuning.jobs.create(model="tiny", training_file=file_id, validation_file=held, method=DPO)
    assert (job.validation_file, service.run(job.id).config["best"]) == (held, "eval_loss")
    dataset_id = service.dataset_of(job.id)
    service.freeze(dataset_id)
    dataset = service.http.get(f"/v1/datasets/{dataset_id}").json()
    assert dataset["manifest"]["rows"]["steps_and_full"] == {"train": 8, "test": 2}
    assert (dataset["imported"]["validation_file"], dataset["imported"]["duplicates"]) == ("held.jsonl", 1)
    files = FileStore(service.store.files)
    with service.db.read() as session:
        folder = session.get_one(Dataset, dataset_id).folder
    test = files.read_bytes(f"{folder}/steps_and_full/test.jsonl").decode().splitlines()
    assert {json.loads(line)["question"] for line in test} == {"Question 100?", "Question 101?"}
    assert "The validation file's rows are held out" in files.read_bytes(f"{folder}/README.md").decode()
    sdk.fine_tuning.jobs.cancel(job.id)


def test_chat_messages_are_imitated(service: Service, sdk: openai.OpenAI, uploaded: Uploaded) -> None:
    job = sdk.fine_tuning.jobs.create(model="tiny", training_file=uploaded([chat(at) for at in range(4)]))
    assert job.method is not None
    assert (job.method.type, service.run(job.id).config["objective"]) == ("supervised", "sft")
    service.freeze(service.dataset_of(job.id))
    assert sdk.fine_tuning.jobs.retrieve(job.id).status == "queued"
    sdk.fine_tuning.jobs.cancel(job.id)


def test_a_job_whose_dataset_comes_to_nothing_fails(service: Service, sdk: openai.OpenAI, uploaded: Uploaded) -> None:
    job = sdk.fine_tuning.jobs.create(model="tiny", training_file=uploaded([chat(50)]))
    with service.db.begin() as session:
        dataset = session.get_one(Dataset, service.dataset_of(job.id))
        dataset.state, dataset.error = JobState.FAILED, "gates refused it"
    lease = service.claim()
    assert lease is not None, "taken all the same, so that it ends"
    with service.db.begin() as session:
        session.get_one(TrainingRun, lease.run_id).state = "failed"
    failed = sdk.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.param, failed.error.message) == (
        "failed", "invalid_training_file", "training_file", "gates refused it",
    )  # fmt: skip


def test_jobs_share_a_file_a_key_makes_one_and_a_deleted_file_none_less(
    service: Service, sdk: openai.OpenAI, uploaded: Uploaded
) -> None:
    jobs, file_id = sdk.fine_tuning.jobs, uploaded([preference(at) for at in range(200, 204)])
    body: Any = {"model": "tiny", "training_file": file_id, "method": DPO, "extra_headers": {"Idempotency-Key": "j"}}
    first = jobs.create(**body)
    assert jobs.create(**body).id == first.id
    with pytest.raises(openai.BadRequestError, match="another body"):
        jobs.create(**{**body, "seed": 1})
    other = jobs.create(**{**body, "extra_headers": {}})
    assert service.dataset_of(other.id) == service.dataset_of(first.id)
    assert other.id != first.id
    listed = [job.id for job in jobs.list(limit=1)]
    assert listed[:2] == [other.id, first.id]
    sdk.files.delete(file_id)
    assert jobs.retrieve(first.id).training_file == file_id
    for job in (first, other):
        jobs.cancel(job.id)


def test_a_deleted_training_job_is_no_job_any_more(service: Service, sdk: openai.OpenAI, file_id: str) -> None:
    job = sdk.fine_tuning.jobs.create(model="tiny", training_file=file_id, method=DPO)
    sdk.fine_tuning.jobs.cancel(job.id)
    run_id = service.run(job.id).id
    answer = service.http.delete(f"/v1/training-jobs/{run_id}")
    assert (answer.status_code, answer.json()["purged"]) == (200, True)
    with service.db.read() as session:
        assert session.get(FineTuningJob, run_id) is None
    with pytest.raises(openai.NotFoundError):
        sdk.fine_tuning.jobs.retrieve(job.id)


def test_quotas_keys_and_scopes_are_told_in_openais_shape(service: Service, sdk: openai.OpenAI, file_id: str) -> None:
    with service.db.begin() as session:
        set_quota(session, DEFAULT_WORKSPACE, QuotaIn(jobs=0))
    with pytest.raises(openai.RateLimitError) as refused:
        sdk.fine_tuning.jobs.create(model="tiny", training_file=file_id, method=DPO)
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert "quota 'jobs'" in refused.value.message
    with service.db.begin() as session:
        set_quota(session, DEFAULT_WORKSPACE, QuotaIn())
    with pytest.raises(openai.AuthenticationError) as unknown:
        service.sdk(api_key="errata_a_b").files.list()
    assert unknown.value.code == "invalid_api_key"


def test_a_key_needs_its_scope(service: Service, file_id: str) -> None:
    with service.db.begin() as session:
        key, token = create_key(session, "k", scopes=["write"])
    writer = service.sdk(api_key=token)
    try:
        assert writer.files.retrieve(file_id).id == file_id
        with pytest.raises(openai.PermissionDeniedError, match="'train'"):
            writer.fine_tuning.jobs.create(model="tiny", training_file=file_id, method=DPO)
    finally:
        with service.db.begin() as session:
            session.delete(session.merge(key))  # keyless requests belong to the other tests
