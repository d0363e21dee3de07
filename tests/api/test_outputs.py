"""Datasets and their downloads, training jobs, evaluations and comparisons, language models."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select, update

from api.auth import create_key, ensure_workspace
from models.base import db_now, new_id
from models.files import FileStore
from models.jobs import InjectionJob, Shard
from models.outputs import Checkpoint, Dataset, Evaluation, EvaluationSample, Event, Metric, TrainingRun
from models.problems import ProblemRow
from models.results import evaluation_result
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient, KeptHints, bring, post_job, post_problems
from tests.api.test_injection_jobs import add_model, add_outputs

DATA = bytes(range(256)) * 5000


def set_state(database: Database, table: type[Any], row_id: str, state: str, **values: Any) -> None:
    with database.begin() as session:
        session.execute(update(table).where(table.id == row_id).values(state=state, **values))


def job_with_pairs(client: CheckedClient, database: Database) -> str:
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id)["id"])
    add_outputs(database, job_id)
    set_state(database, InjectionJob, job_id, JobState.SUCCEEDED)
    return job_id


def dataset_with_files(client: CheckedClient, database: Database, store: StoreSettings) -> str:
    job_id = job_with_pairs(client, database)
    dataset_id = str(client.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).json()["id"])
    files = FileStore(store.files)
    with files.scratch() as folder:
        (folder / "trl").mkdir()
        (folder / "trl/train.jsonl").write_bytes(DATA)
        (folder / "manifest.json").write_bytes(b"{}\n")
        files.publish(folder, f"datasets/{dataset_id}")
    digest = hashlib.sha256(DATA).hexdigest()
    manifest = {"files": [{"path": "trl/train.jsonl", "bytes": len(DATA), "rows": 7, "sha256": digest}]}
    values = {"folder": f"datasets/{dataset_id}", "sha256": hashlib.sha256(b"{}\n").hexdigest(), "manifest": manifest}
    set_state(database, Dataset, dataset_id, JobState.SUCCEEDED, **values)
    return dataset_id


def test_datasets_are_frozen_from_finished_jobs(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    job_id = job_with_pairs(client, database)
    before = len(hints.hints)
    answer = client.post("/v1/datasets", json={"name": "d", "jobs": [job_id], "config": {"split": {"test": 0.5}}})
    assert answer.status_code == 202
    dataset = answer.json()
    assert (dataset["state"], dataset["jobs"], dataset["config"]["split"]["test"]) == ("queued", [job_id], 0.5)
    assert len(hints.hints) == before + 1
    assert client.get(answer.headers["location"]).json()["id"] == dataset["id"]
    assert client.get(f"/v1/datasets/{dataset['id']}/files").status_code == 409
    assert client.get(f"/v1/datasets/{dataset['id']}/files/trl/train.jsonl").status_code == 409
    assert client.get(f"/v1/datasets/{dataset['id']}/events").json()["data"][0]["type"] == "queued"
    assert client.post(f"/v1/datasets/{dataset['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/datasets/{dataset['id']}/cancel").status_code == 409


def test_refused_datasets(client: CheckedClient, database: Database) -> None:
    job_id = job_with_pairs(client, database)
    set_id = post_problems(client)
    bring(client, set_id)
    empty = post_job(client, set_id)["id"]
    good = {"name": "d", "jobs": [job_id]}
    assert client.post("/v1/datasets", json={**good, "jobs": [empty]}).status_code == 409, "still queued"
    set_state(database, InjectionJob, empty, JobState.SUCCEEDED)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"jobs": [empty]}, "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": [set_id]}, "jobs.0"),
        ({"jobs": [job_id, job_id]}, "config.jobs"),
        ({"jobs": "inj_x"}, "jobs"),
        ({"config": {"jobs": [job_id]}}, "config.jobs"),
        ({"config": {"split": {"test": 1.5}}}, "config.split.test"),
        ({"config": {"spilt": {}}}, "config.spilt"),
        ({"name": "  "}, "name"),
    ]
    for change, field in refused:
        answer = client.post("/v1/datasets", json={**good, **change})
        assert answer.status_code == 422, (change, answer.text)
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), change


RANGES: list[tuple[dict[str, str], int, slice | None]] = [
    ({}, 200, slice(None)),
    ({"range": "bytes=0-99"}, 206, slice(0, 100)),
    ({"range": "bytes=100-"}, 206, slice(100, None)),
    ({"range": "bytes=-7"}, 206, slice(-7, None)),
    ({"range": "bytes=0-99999999999"}, 206, slice(None)),
    ({"range": "bytes=-99999999999"}, 206, slice(None)),
    ({"range": f"bytes={len(DATA)}-"}, 416, None),
    ({"range": "bytes=-0"}, 416, None),
    ({"range": "bytes=9-1"}, 200, slice(None)),
    ({"range": "bytes=0-1,5-6"}, 200, slice(None)),
    ({"range": "lines=0-1"}, 200, slice(None)),
    ({"range": "bytes=-"}, 200, slice(None)),
    ({"range": "bytes=" + "9" * 100 + "-"}, 200, slice(None)),
    ({"range": "bytes=0-9", "if-range": "ETAG"}, 206, slice(0, 10)),
    ({"range": "bytes=0-9", "if-range": '"other"'}, 200, slice(None)),
    ({"range": "bytes=0-9", "if-range": "W/ETAG"}, 200, slice(None)),
    ({"if-none-match": "ETAG"}, 304, None),
    ({"if-none-match": '"a", W/ETAG'}, 304, None),
    ({"if-none-match": '"other"'}, 200, slice(None)),
]


def test_downloads(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    dataset_id = dataset_with_files(client, database, store)
    listed = {file["path"]: file for file in client.get(f"/v1/datasets/{dataset_id}/files").json()["data"]}
    assert set(listed) == {"trl/train.jsonl", "manifest.json"}
    file = listed["trl/train.jsonl"]
    assert (file["bytes"], file["rows"]) == (len(DATA), 7)
    etag = f'"{file["sha256"]}"'
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
    for headers, status, part in RANGES:
        sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
        answer = client.get(file["url"], headers=sent)
        assert answer.status_code == status, headers
        if part is not None:
            assert answer.content == DATA[part], headers
            assert answer.headers["etag"] == etag
            assert answer.headers["repr-digest"] == digest
            assert int(answer.headers["content-length"]) == len(DATA[part])
        assert answer.headers.get("content-digest") == (digest if status == 200 else None)
        if status == 206:
            start = bounds(part)
            assert answer.headers["content-range"] == f"bytes {start[0]}-{start[1] - 1}/{len(DATA)}"
        if status == 416:
            assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    head = client.head(file["url"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(DATA)))
    assert client.get(listed["manifest.json"]["url"]).content == b"{}\n"


def bounds(part: slice | None) -> tuple[int, int]:
    assert part is not None
    start, stop, _ = part.indices(len(DATA))
    return start, stop


def test_only_what_the_manifest_lists_can_be_downloaded(
    client: CheckedClient, database: Database, store: StoreSettings
) -> None:
    dataset_id = dataset_with_files(client, database, store)
    (store.home / "files" / "datasets" / dataset_id / "secret.txt").write_text("secret")
    for path in (
        "secret.txt",
        "trl/",
        "trl",
        "../errata.db",
        "%2e%2e/errata.db",
        "trl%2f..%2fsecret.txt",
        "//etc/passwd",
    ):
        assert client.get(f"/v1/datasets/{dataset_id}/files/{path}").status_code == 404, path
    (store.home / "files" / "datasets" / dataset_id / "trl/train.jsonl").unlink()
    assert client.get(f"/v1/datasets/{dataset_id}/files/trl/train.jsonl").status_code == 404


@pytest.fixture
def dataset_id(client: CheckedClient, database: Database, store: StoreSettings) -> str:
    return dataset_with_files(client, database, store)


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
    assert client.post(f"{url}/cancel?keep=false").json()["state"] == "cancelling"
    assert client.post(f"{url}/cancel").status_code == 202
    with database.read() as session:
        assert session.get_one(TrainingRun, run["id"]).keep_on_cancel is False
    set_state(database, TrainingRun, run["id"], "cancelled")
    for action in ("cancel", "pause", "resume"):
        assert client.post(f"{url}/{action}").status_code == 409
    kinds = [event["type"] for event in client.get(f"{url}/events").json()["data"]]
    assert kinds == ["queued", "paused", "queued", "cancelling", "cancelling"]
    assert [row["id"] for row in client.get("/v1/training-jobs?state=cancelled").json()["data"]] == [run["id"]]


def test_refused_training_jobs(client: CheckedClient, database: Database, dataset_id: str) -> None:
    add_model(database)
    add_model(database, "remote", engine="openai")
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


def test_metrics_and_checkpoints(client: CheckedClient, database: Database, dataset_id: str) -> None:
    add_model(database)
    body = {"dataset": dataset_id, "base_model": "tiny", "output_name": "new"}
    run_id = client.post("/v1/training-jobs", json=body).json()["id"]
    with database.begin() as session:
        for step in range(1, 6):
            session.add(Metric(run_id=run_id, step=step, values={"loss": 1 / step}, created_at=db_now(2 * step)))
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
        session.add(Event(workspace_id=workspace, subject_id=run_id, type="training.running", created_at=db_now(300)))
    assert client.get(f"/v1/training-jobs/{run_id}").json()["eta_seconds"] is None, "nothing of this attempt yet"
    with database.begin() as session:
        session.add(Metric(run_id=run_id, step=6, values={}, created_at=db_now(303)))
    set_state(database, TrainingRun, run_id, "running", step=6)
    assert client.get(f"/v1/training-jobs/{run_id}").json()["eta_seconds"] == pytest.approx(3 * 14, abs=3)
    with database.begin() as session:
        session.add(Metric(run_id=run_id, step=7, values={}, created_at=db_now(304)))
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


def evaluation_of(
    client: CheckedClient, database: Database, set_id: str, model: str, verdicts: list[list[str]], **config: Any
) -> str:
    body = {"problem_set": set_id, "language_model": model, "config": config}
    row_id = str(client.post("/v1/evaluations", json=body).json()["id"])
    with database.begin() as session:
        problems = session.scalars(
            select(ProblemRow.id).where(ProblemRow.problem_set_id == set_id).order_by(ProblemRow.position)
        ).all()
        shard_id = session.scalars(select(Shard.id).where(Shard.evaluation_id == row_id)).first()
        for problem, found in zip(problems, verdicts, strict=False):
            for index, verdict in enumerate(found):
                session.add(
                    EvaluationSample(
                        evaluation_id=row_id, problem_id=problem, sample_index=index, shard_id=shard_id, text="t",
                        seed=0, verdict=verdict,
                    )
                )  # fmt: skip
        session.flush()
        session.execute(
            update(Evaluation)
            .where(Evaluation.id == row_id)
            .values(state="succeeded", result=evaluation_result(session, row_id))
        )
    return row_id


def test_comparison_with_flips(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    add_model(database)
    add_model(database, "after")
    right, wrong = ["correct"], ["incorrect"]
    before = evaluation_of(client, database, set_id, "tiny", [right, right, wrong, wrong, wrong])
    after = evaluation_of(client, database, set_id, "after", [right, wrong, right, right, ["unparsable"]])
    found = client.get(f"/v1/evaluations/{before}/comparison?with={after}").json()
    assert (found["problems"], found["gained"], found["lost"]) == (5, 2, 1)
    assert found["delta"] == pytest.approx(0.2)
    assert found["interval"][0] < found["delta"] < found["interval"][1]
    assert (found["before"]["accuracy"], found["after"]["accuracy"]) == (0.4, 0.6)
    assert (found["before"]["language_model"], found["after"]["language_model"]) == ("tiny", "after")
    problems = [row["id"] for row in client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"]]
    assert [flip["problem"] for flip in found["gained_problems"]] == problems[2:4]
    assert found["lost_problems"] == [{"problem": problems[1], "before": 1.0, "after": 0.0}]
    assert len(client.get(f"/v1/evaluations/{after}/samples?verdict=correct").json()["data"]) == 3
    sampled = {"samples": 2, "temperature": 1.0}
    many = evaluation_of(client, database, set_id, "after", [["correct", "incorrect"], wrong * 2], **sampled)
    mixed = client.get(f"/v1/evaluations/{before}/comparison?with={many}").json()
    assert (mixed["problems"], mixed["same_config"]) == (2, False)
    assert [flip["problem"] for flip in mixed["lost_problems"]] == [problems[1]]


def test_comparisons_that_make_no_sense(client: CheckedClient, database: Database) -> None:
    set_id, other_set = post_problems(client), post_problems(client)
    add_model(database)
    one = evaluation_of(client, database, set_id, "tiny", [["correct"]])
    elsewhere = evaluation_of(client, database, other_set, "tiny", [["correct"]])
    empty = evaluation_of(client, database, set_id, "tiny", [])
    running = client.post("/v1/evaluations", json={"problem_set": set_id, "language_model": "tiny"}).json()["id"]
    url = f"/v1/evaluations/{one}/comparison"
    assert client.get(url).json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={elsewhere}").json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={set_id}").json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={empty}").status_code == 409
    assert client.get(f"{url}?with={running}").status_code == 409
    assert client.get(f"{url}?with={one}").json()["delta"] == 0.0


def test_evaluations(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    set_id = post_problems(client)
    add_model(database)
    good: dict[str, Any] = {"problem_set": set_id, "language_model": "tiny"}
    answer = client.post("/v1/evaluations", json={**good, "config": {"limit": 2}, "name": "e"})
    assert (answer.status_code, answer.json()["progress"]["problems_total"]) == (202, 2)
    assert len(hints.hints) == 1
    url = answer.headers["location"]
    assert client.get(f"{url}/events").json()["data"][0]["type"] == "queued"
    assert client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{url}/cancel").status_code == 409
    refused: list[tuple[dict[str, Any], str]] = [
        ({"language_model": "x"}, "language_model"),
        ({"problem_set": "eval_x"}, "problem_set"),
        ({"config": {"samples": 0}}, "config.samples"),
        ({"config": {"temperature": 3}}, "config.temperature"),
        ({"config": {"samples": 4}}, "config"),
        ({"config": {"seeds": 1}}, "config.seeds"),
    ]
    for change, field in refused:
        bad = client.post("/v1/evaluations", json={**good, **change})
        assert (bad.status_code, [e["field"] for e in bad.json()["errors"]]) == (422, [field]), change


@pytest.fixture
def base_url(client: CheckedClient) -> Iterator[str]:
    """A real server on a free port."""
    app: Any = client.app
    assert isinstance(app, FastAPI)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def test_the_openai_client_lists_models(client: CheckedClient, database: Database, base_url: str) -> None:
    assert client.get("/v1/models").json() == {"object": "list", "data": [], "has_more": False}
    base = add_model(database)
    add_model(database, "tiny-rise", base_model_id=base, training_run_id="train_x")
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="sk-of-another-service") as remote:
        models = {model.id: model for model in remote.models.list()}
        assert set(models) == {"tiny", "tiny-rise"}
        assert (models["tiny"].owned_by, models["tiny-rise"].owned_by) == ("operator", "errata")
        assert remote.models.retrieve("tiny").id == "tiny"
        with pytest.raises(openai.NotFoundError):
            remote.models.retrieve("other")
    listed = client.get("/v1/models/tiny-rise").json()
    assert (listed["base_model"], listed["training_job"]) == ("tiny", "train_x")
    assert "/x" not in str(listed)


def test_an_own_model_hides_the_operators_of_the_same_name(client: CheckedClient, database: Database) -> None:
    assert client.get("/v1/models").status_code == 200
    with database.begin() as session:
        _, token = create_key(session, "k", workspace="other")
        other = ensure_workspace(session, "other")
    headers = {"authorization": f"Bearer {token}"}
    add_model(database)
    assert [model["id"] for model in client.get("/v1/models", headers=headers).json()["data"]] == ["tiny"]
    add_model(database, workspace_id=other, training_run_id="train_o")
    listed = client.get("/v1/models", headers=headers).json()["data"]
    assert [(model["id"], model["training_job"]) for model in listed] == [("tiny", "train_o")]
    assert client.get("/v1/models/tiny", headers=headers).json()["training_job"] == "train_o"
