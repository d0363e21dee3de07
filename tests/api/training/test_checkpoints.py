"""Checkpoints of ended runs: downloaded, made a model, resumed; and why not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from models.base import new_id
from models.folders import write_folder
from models.outputs import Checkpoint, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from tests.api.outputs import dataset_with_files, set_state
from tests.api.test_injection_jobs import add_model
from workers.dispatch import checkpoint_folder
from workers.training.protocol import CannotTrain
from workers.training.supervise.registry import make_spec, mark_checkpoints_deleted


def cancelled_run(client: CheckedClient, database: Database, store: StoreSettings) -> str:
    """A run of 10 steps, cancelled behind a checkpoint of step 4."""
    dataset = dataset_with_files(client, database, store)
    add_model(database)
    body = {"dataset": dataset, "base_model": "tiny", "output_name": "tiny-rise"}
    run_id = str(client.post("/v1/training-jobs", json=body).json()["id"])
    root, folder = checkpoint_folder(store, run_id, 4)
    target = Path(root) / folder
    target.parent.mkdir(parents=True)

    def fill(into: Path) -> None:
        (into / "model.safetensors").write_bytes(b"weights")

    manifest = write_folder(target, fill, {"step": 4, "run_id": run_id})
    with database.begin() as session:
        row = {"run_id": run_id, "step": 4, "path": str(target), "size_bytes": 7, "manifest": manifest}
        session.add(Checkpoint(id=new_id("ckpt"), **row))
    set_state(database, TrainingRun, run_id, "cancelled", total_steps=10, step=4)
    return run_id


def test_a_cancelled_runs_checkpoint_goes_on_in_a_new_run(
    client: CheckedClient, database: Database, store: StoreSettings
) -> None:
    run_id = cancelled_run(client, database, store)
    url = f"/v1/training-jobs/{run_id}/checkpoints/4"
    before = client.get(f"/v1/training-jobs/{run_id}").json()
    answer = client.post(f"{url}/resume", json={})
    run = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/training-jobs/{run['id']}"
    assert (run["state"], run["from_run"], run["from_step"], run["last_step"]) == ("queued", run_id, 4, None)
    assert (run["output_name"], run["config"], run["step"], run["total_steps"]) == (
        "tiny-rise",
        before["config"],
        4,
        10,
    )
    assert client.get(f"/v1/training-jobs/{run_id}").json() == before, "a terminal state never changes"
    with database.read() as session:
        spec = make_spec(session, store, run["id"], 60)
    root, folder = checkpoint_folder(store, run_id, 4)
    assert (spec.begins_with, spec.begins_with_run, spec.ends_at) == (Path(root) / folder, run_id, None)
    assert spec.lineage["checkpoint"] == f"step 4 of {run_id}"
    taken = client.post(f"{url}/resume", json={})
    assert taken.json()["errors"][0]["field"] == "output_name", "two runs cannot make one model"
    model = client.post(f"{url}/model", json={"name": "tiny-4"}).json()
    assert (model["last_step"], model["total_steps"], model["output_name"]) == (4, 4, "tiny-4")
    with database.begin() as session:
        assert make_spec(session, store, model["id"], 60).ends_at == 4
        mark_checkpoints_deleted(session, run_id)
        with pytest.raises(CannotTrain, match="was deleted"):
            make_spec(session, store, model["id"], 60)


def test_a_checkpoint_is_downloaded_whole(
    local: CheckedClient, sqlite_database: Database, store: StoreSettings
) -> None:
    run_id = cancelled_run(local, sqlite_database, store)
    url = f"/v1/training-jobs/{run_id}/checkpoints/4/archive.zip"
    answer = local.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read(f"{run_id}-step-4/model.safetensors") == b"weights"
        assert f"{run_id}-step-4/manifest.json" in archive.namelist()
    part = local.get(url, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PK\x03\x04")
    root, folder = checkpoint_folder(store, run_id, 4)
    (Path(root) / folder / "manifest.json").unlink()
    gone = local.get(url)
    assert (gone.status_code, "where the run was trained" in gone.json()["detail"]) == (404, True)


def test_what_cannot_be_done_with_a_checkpoint_is_refused(
    local: CheckedClient, sqlite_database: Database, store: StoreSettings
) -> None:
    run_id = cancelled_run(local, sqlite_database, store)

    def refused(step: int, what: str, **body: Any) -> tuple[int, str]:
        answer = local.post(f"/v1/training-jobs/{run_id}/checkpoints/{step}/{what}", json=body)
        return answer.status_code, str(answer.json()["detail"])

    assert refused(5, "resume")[0] == 404
    assert refused(4, "model")[0] == 422
    set_state(sqlite_database, TrainingRun, run_id, "running")
    status, why = refused(4, "resume", output_name="x")
    assert (status, "pause and resume it" in why) == (409, True)
    set_state(sqlite_database, TrainingRun, run_id, "succeeded", total_steps=4)
    status, why = refused(4, "resume", output_name="x")
    assert (status, "make a model" in why) == (409, True)
    with sqlite_database.begin() as session:
        mark_checkpoints_deleted(session, run_id)
    status, why = refused(4, "model", name="x")
    assert (status, "none is kept" in why) == (409, True)
    missing = local.get(f"/v1/training-jobs/{run_id}/checkpoints/4/archive.zip")
    assert missing.status_code == 409
