"""Training jobs, their metrics and checkpoints."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models.base import db_now, new_id
from models.outputs import Checkpoint, Event, Metric, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from tests.api.outputs import dataset_with_files, job_with_pairs, set_state
from tests.api.test_injection_jobs import add_model


@pytest.fixture
def dataset_id(client: CheckedClient, database: Database, store: StoreSettings) -> str:
    return dataset_with_files(client, database, store)


def test_a_job_over_several_hosts_says_what_it_waits_for(
    client: CheckedClient, database: Database, dataset_id: str
) -> None:
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "wide"}
    for hosts in (0, -1, 1025, "two", 1.5):
        refused = client.post("/v1/training-jobs", json={**body, "hosts": hosts})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "hosts")
    run = client.post("/v1/training-jobs", json={**body, "hosts": 3}).json()
    assert (run["hosts"], run["doing"]) == (3, None)
    waits = {"phase": "hosts", "done": 1, "total": 3}
    with database.begin() as session:
        session.get_one(TrainingRun, run["id"]).doing = waits
    assert client.get(f"/v1/training-jobs/{run['id']}").json()["doing"] == waits
    page = client.get(f"/training/{run['id']}", headers={"accept": "text/html"})
    assert "It waits until all its hosts are there: 1 of 3." in page.text
    alone = client.post("/v1/training-jobs", json={**body, "output_name": "narrow"}).json()
    assert alone["hosts"] == 1


def test_training_jobs(client: CheckedClient, database: Database, dataset_id: str) -> None:
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "tiny-rise", "config": {"epochs": 2}}
    answer = client.post("/v1/training-jobs", json=body)
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert (run["state"], run["base_model"], run["language_model"], run["queue_position"]) == (
        "queued",
        "tiny",
        None,
        1,
    )
    assert (run["config"]["epochs"], run["config"]["preset"]) == (2, "errata")
    url = answer.headers["location"]
    assert client.post("/v1/training-jobs", json=body).json()["errors"][0]["field"] == "output_name"
    assert client.post(f"{url}/resume").status_code == 409
    assert client.post(f"{url}/pause").json()["state"] == "paused"
    assert client.post(f"{url}/pause").status_code == 409
    assert client.post(f"{url}/resume").json()["state"] == "queued"
    with database.begin() as session:
        session.get_one(TrainingRun, run["id"]).worker = "a trainer"
    assert client.post(f"{url}/cancel?keep=false").json()["state"] == "cancelling"
    assert client.post(f"{url}/cancel").status_code == 202
    with database.read() as session:
        assert session.get_one(TrainingRun, run["id"]).keep_on_cancel is False
    assert client.post(f"{url}/cancel?keep=true").status_code == 202
    with database.read() as session:
        assert session.get_one(TrainingRun, run["id"]).keep_on_cancel is True, "said otherwise in time"
    set_state(database, TrainingRun, run["id"], "cancelled")
    for action in ("cancel", "pause", "resume"):
        assert client.post(f"{url}/{action}").status_code == 409
    kinds = [event["type"] for event in client.get(f"{url}/events").json()["data"]]
    assert kinds == ["queued", "paused", "queued", "cancelling", "cancelling", "cancelling"]
    assert [row["id"] for row in client.get("/v1/training-jobs?state=cancelled").json()["data"]] == [run["id"]]


def test_refused_training_jobs(client: CheckedClient, database: Database, dataset_id: str) -> None:
    add_model(database)
    add_model(database, "remote", engine="openai", config={"base_url": "http://127.0.0.1:1/v1", "model": "m"})
    good = {"dataset": dataset_id, "base_model": "tiny", "output_name": "new"}
    job_id = job_with_pairs(client, database)
    unfrozen = client.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).json()["id"]
    assert client.post("/v1/training-jobs", json={**good, "dataset": unfrozen}).status_code == 409
    refused: list[tuple[dict[str, Any], str]] = [
        ({"dataset": job_id}, "dataset"),
        ({"base_model": "nope"}, "base_model"),
        ({"base_model": "remote"}, "base_model"),
        ({"base_model": "/etc/passwd"}, "base_model"),
        ({"output_name": "tiny"}, "output_name"),
        ({"output_name": "a/b"}, "output_name"),
        ({"preset": "x"}, "preset"),
        ({"config": {"preset": "paper"}}, "config.preset"),
        ({"config": {"learning_rate": "fast"}}, "config.learning_rate"),
        ({"config": {"learning_rate": -1}}, "config.learning_rate"),
        ({"config": {"lerning_rate": 1}}, "config.lerning_rate"),
        ({"config": {"micro_batch": 64, "batch_size": 8}}, "config"),
        ({"extra": 1}, "extra"),
    ]
    for change, field in refused:
        answer = client.post("/v1/training-jobs", json={**good, **change})
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), change


@pytest.mark.parametrize("engine", ["vllm", "openai"])
def test_a_base_that_is_served_elsewhere_is_trained_by_its_weights(
    client: CheckedClient, database: Database, dataset_id: str, engine: str
) -> None:
    """Its result is then served there (workers.training.supervise.registry)."""
    address = {"base_url": "http://127.0.0.1:1/v1", "model": "m"} if engine == "openai" else {}
    add_model(database, "served", engine=engine, config={"path": "/weights", **address})
    add_model(database, "adapter", engine=engine, config={"path": "/weights", "adapter": "/adapter", **address})
    body = {"dataset": dataset_id, "base_model": "served", "output_name": "new"}
    assert client.post("/v1/training-jobs", json=body).status_code == 202
    refused = client.post("/v1/training-jobs", json={**body, "base_model": "adapter", "output_name": "other"})
    assert refused.status_code == 422
    assert "start from its base" in refused.text


def test_a_run_that_no_trainer_has_is_cancelled_at_once(
    client: CheckedClient, database: Database, dataset_id: str
) -> None:
    """Unless files are to be deleted, which is the trainer's work."""
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "new"}
    waiting = client.post("/v1/training-jobs", json=body).headers["location"]
    assert client.post(f"{waiting}/cancel?keep=false").json()["state"] == "cancelled"
    assert client.get(f"{waiting}/events").json()["data"][-1]["type"] == "training.cancelled"
    paused = client.post("/v1/training-jobs", json=body).headers["location"]  # the name is free again
    run_id = paused.rpartition("/")[2]
    assert client.post(f"{paused}/pause").status_code == 202
    with database.begin() as session:
        session.add(Checkpoint(id=new_id("ckpt"), run_id=run_id, step=4, path="/x/y", size_bytes=9, manifest={}))
    assert client.post(f"{paused}/cancel?keep=false").json()["state"] == "cancelling"
    assert client.post(f"{paused}/cancel?keep=true").json()["state"] == "cancelled"


def test_pace_of_metrics_that_are_written_in_batches(
    client: CheckedClient, database: Database, dataset_id: str
) -> None:
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "new"}
    run_id = client.post("/v1/training-jobs", json=body).json()["id"]
    with database.read() as session:
        now = session.scalars(select(db_now())).one()
    for batch, seconds in ((range(1, 21), 10.0), (range(21, 41), 11.0)):
        with database.begin() as session:  # 20 steps a second; rows of one batch are some milliseconds apart
            for at, step in enumerate(batch):
                created_at = now + timedelta(seconds=seconds + at / 1000)
                session.add(Metric(run_id=run_id, step=step, values={}, created_at=created_at))
        set_state(database, TrainingRun, run_id, "running", step=max(batch), total_steps=100)
        job = client.get(f"/v1/training-jobs/{run_id}").json()
        if seconds == 10.0:
            assert job["eta_seconds"] is None, "all came at once"
    assert job["seconds_per_step"] == pytest.approx(0.05, abs=0.01)


def test_metrics_and_checkpoints(client: CheckedClient, database: Database, dataset_id: str) -> None:
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "new"}
    run_id = client.post("/v1/training-jobs", json=body).json()["id"]
    with database.read() as session:
        now = session.scalars(select(db_now())).one()

    def at(seconds: float) -> datetime:
        return now + timedelta(seconds=seconds)

    with database.begin() as session:
        for step in range(1, 6):
            session.add(Metric(run_id=run_id, step=step, values={"loss": 1 / step}, created_at=at(2 * step)))
        session.add(Metric(run_id=run_id, step=5, phase="eval", values={"loss": 0.1}))
        session.add(
            Checkpoint(id=new_id("ckpt"), run_id=run_id, step=4, path="/x/y", size_bytes=9, manifest={"score": 0.5})
        )
    set_state(database, TrainingRun, run_id, "running", step=5, total_steps=20)
    run = client.get(f"/v1/training-jobs/{run_id}").json()
    assert run["seconds_per_step"] == pytest.approx(2, abs=0.2)
    assert run["eta_seconds"] == pytest.approx(30, abs=3)
    with database.begin() as session:  # an interruption of some minutes, then another attempt
        workspace = session.get_one(TrainingRun, run_id).workspace_id
        session.add(Event(workspace_id=workspace, subject_id=run_id, type="training.running", created_at=at(300)))
    assert client.get(f"/v1/training-jobs/{run_id}").json()["eta_seconds"] is None, "nothing of this attempt yet"
    with database.begin() as session:
        session.add(Metric(run_id=run_id, step=6, values={}, created_at=at(903)))
    set_state(database, TrainingRun, run_id, "running", step=6)
    job = client.get(f"/v1/training-jobs/{run_id}").json()
    assert (job["seconds_per_step"], job["eta_seconds"]) == (None, None), "ten minutes were the reference pass"
    with database.begin() as session:
        session.add(Metric(run_id=run_id, step=7, values={}, created_at=at(904)))
    set_state(database, TrainingRun, run_id, "running", step=7)
    assert client.get(f"/v1/training-jobs/{run_id}").json()["eta_seconds"] == pytest.approx(13, abs=2)
    first = client.get(f"/v1/training-jobs/{run_id}/metrics?limit=3").json()
    rest = client.get(f"/v1/training-jobs/{run_id}/metrics?limit=9&after={first['next']}").json()
    steps = [(row["step"], row["phase"]) for row in first["data"] + rest["data"]]
    assert steps == [
        *((step, "train") for step in range(1, 5)), (5, "eval"), (5, "train"), (6, "train"), (7, "train")
    ]  # fmt: skip
    assert len(client.get(f"/v1/training-jobs/{run_id}/metrics?phase=eval").json()["data"]) == 1
    checkpoints = client.get(f"/v1/training-jobs/{run_id}/checkpoints").json()["data"]
    assert [(c["step"], c["size_bytes"], c["score"]) for c in checkpoints] == [(4, 9, 0.5)]
    assert "/x/y" not in str(checkpoints), "where it is stored is not told"
