"""Renaming, tagging and deleting: what depends on a row is told first, space comes back, and a kill loses nothing."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from models import deletion
from models.base import Base, new_id
from models.curation import Review
from models.deletion import purge
from models.files import FileStore
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from tests.api.conftest import RULES, CheckedClient, bring, post_problems
from tests.api.outputs import dataset_with_files, set_state
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper

KEPT = {"workspaces", "language_models"}  # what is there without any problem set


@pytest.fixture
def rows(client: CheckedClient, database: Database, store: StoreSettings) -> dict[str, str]:
    """A problem set with a job, its dataset, a training run with its model, and an evaluation of that model."""
    dataset_id = dataset_with_files(client, database, store)
    job = client.get(f"/v1/datasets/{dataset_id}").json()["jobs"][0]
    set_id = client.get(f"/v1/injection-jobs/{job}").json()["problem_set"]
    ids = {"set": set_id, "job": job, "dataset": dataset_id, "run": new_id("train"), "eval": new_id("eval")}
    common: dict[str, Any] = {"workspace_id": DEFAULT_WORKSPACE, "config": {}}
    with database.begin() as session:
        session.add(LanguageModel(**common, id="model_base", name="base", engine="transformers"))
        session.flush()
        trained = LanguageModel(
            **common, id="model_rise", name="rise", engine="transformers", training_run_id=ids["run"]
        )
        session.add(trained)
        session.flush()
        run = TrainingRun(
            **common,
            id=ids["run"],
            dataset_id=dataset_id,
            base_model_id="model_base",
            output_name="rise",
            state="succeeded",
        )
        run.output_model_id, run.state = "model_rise", "succeeded"
        of_set = {"problem_set_id": set_id, "language_model_id": "model_rise", "state": "succeeded"}
        session.add_all([run, Evaluation(**common, id=ids["eval"], **of_set)])
    files = FileStore(store.files)
    for folder in (f"models/{ids['run']}", f"training/{ids['run']}"):
        with files.scratch() as built:
            (built / "manifest.json").write_text('{"files": []}')
            files.publish(built, folder)
    client.put(f"/v1/pairs/{pairs(client)[0]}/review", json={"verdict": "rejected"})
    return ids


def pairs(client: CheckedClient) -> list[str]:
    return [pair["id"] for pair in client.get("/v1/pairs").json()["data"]]


def counts(database: Database) -> dict[str, int]:
    """Rows of every table that has some, but for the audit log, which every request that changes something adds to."""
    with database.read() as session:
        found = {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in Base.metadata.sorted_tables}
    return {name: count for name, count in found.items() if count and name != "audit_entries"}


def stored(store: StoreSettings) -> set[str]:
    root = Path(store.files)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_rows_are_renamed(client: CheckedClient, rows: dict[str, str]) -> None:
    for kind, row_id in (
        ("problem-sets", "set"),
        ("injection-jobs", "job"),
        ("datasets", "dataset"),
        ("evaluations", "eval"),
    ):
        url = f"/v1/{kind}/{rows[row_id]}"
        assert client.patch(url, json={"name": " new name "}).json()["name"] == "new name"
        assert client.get(url).json()["name"] == "new name"
        assert client.patch(url, json={}).status_code == 422
        assert client.patch(url, json={"name": ""}).status_code == 422
        assert client.patch(url, json={"state": "succeeded"}).status_code == 422
    assert client.patch("/v1/models/rise", json={"name": "riser"}).json()["id"] == "riser"
    assert client.get("/v1/models/rise").status_code == 404
    assert client.patch("/v1/models/riser", json={"name": "base"}).json()["errors"][0]["field"] == "name"
    assert client.patch("/v1/models/base", json={"name": "mine"}).status_code == 409, "the operator's"
    assert client.patch(f"/v1/training-jobs/{rows['run']}", json={"name": "x"}).status_code == 422


def test_lists_are_filtered_by_tag(client: CheckedClient, rows: dict[str, str]) -> None:
    for kind, name in (
        ("problem-sets", rows["set"]), ("injection-jobs", rows["job"]), ("datasets", rows["dataset"]),
        ("training-jobs", rows["run"]), ("evaluations", rows["eval"]), ("models", "rise"), ("models", "base"),
    ):  # fmt: skip
        url = f"/v1/{kind}"
        assert client.patch(f"{url}/{name}", json={"tags": ["b", "a", "b"]}).json()["tags"] == ["a", "b"]
        assert name in [row["id"] for row in client.get(f"{url}?tag=a").json()["data"]]
        assert next(r["tags"] for r in client.get(url).json()["data"] if r["id"] == name) == ["a", "b"]
        assert client.get(f"{url}?tag=c").json()["data"] == []
        client.patch(f"{url}/{name}", json={"tags": []})
        assert client.get(f"{url}/{name}").json()["tags"] == []
        assert client.patch(f"{url}/{name}", json={"tags": [""]}).status_code == 422


def test_what_depends_on_a_row_is_told_and_keeps_it(
    client: CheckedClient, rows: dict[str, str], database: Database, store: StoreSettings
) -> None:
    before, files = counts(database), stored(store)
    url = f"/v1/problem-sets/{rows['set']}"
    told = client.get(f"{url}/dependents").json()["data"]
    assert {row["id"] for row in told} == {*rows.values(), "model_rise"} - {rows["set"]}
    refused = client.delete(url)
    assert refused.status_code == 409
    assert {error["field"] for error in refused.json()["errors"]} == {row["url"] for row in told}
    assert client.get(f"/v1/evaluations/{rows['eval']}/dependents").json()["data"] == []
    assert [row["id"] for row in client.get("/v1/models/rise/dependents").json()["data"]] == [rows["eval"]]
    kept = client.delete("/v1/models/rise")
    assert kept.json()["detail"].startswith("1 other depends on it: evaluation "), kept.text
    assert (counts(database), stored(store)) == (before, files)


def test_with_cascade_everything_goes_rows_and_files(
    client: CheckedClient, rows: dict[str, str], database: Database, store: StoreSettings
) -> None:
    client.patch(f"/v1/datasets/{rows['dataset']}", json={"tags": ["a"]})
    answer = client.delete(f"/v1/problem-sets/{rows['set']}?cascade=true").json()
    assert {row["id"] for row in answer["deleted"]} == {*rows.values(), "model_rise"}
    assert answer["deleted"][0]["id"] == rows["set"]
    assert answer["purged"]
    assert set(counts(database)) == KEPT
    assert stored(store) == set()
    for kind in ("problem-sets", "injection-jobs", "pairs", "datasets", "training-jobs", "evaluations"):
        assert client.get(f"/v1/{kind}").json()["data"] == []
    assert [row["id"] for row in client.get("/v1/models").json()["data"]] == ["base"]
    assert client.delete(f"/v1/problem-sets/{rows['set']}").status_code == 404


def test_a_model_goes_without_its_run_and_frees_its_name(
    client: CheckedClient, rows: dict[str, str], store: StoreSettings
) -> None:
    assert client.delete("/v1/models/base").status_code == 409
    assert client.delete("/v1/models/rise?cascade=true").json()["purged"]
    run = client.get(f"/v1/training-jobs/{rows['run']}").json()
    assert (run["state"], run["language_model"]) == ("succeeded", None)
    assert not any(path.startswith("models/") for path in stored(store))
    assert client.patch(f"/v1/training-jobs/{rows['run']}", json={"tags": ["still there"]}).status_code == 200


def test_nothing_goes_while_something_of_it_runs(
    client: CheckedClient, rows: dict[str, str], database: Database
) -> None:
    set_state(database, Evaluation, rows["eval"], "running")
    refused = client.delete(f"/v1/problem-sets/{rows['set']}?cascade=true")
    assert (refused.status_code, rows["eval"] in refused.json()["detail"]) == (409, True)
    assert client.get(f"/v1/problem-sets/{rows['set']}").status_code == 200
    set_state(database, Evaluation, rows["eval"], "succeeded")
    assert client.delete(f"/v1/evaluations/{rows['eval']}").json()["purged"]


@pytest.mark.parametrize("killed_at", [0, 1, 4, 8, 15])
def test_a_deletion_that_is_killed_is_finished_by_the_sweeper(
    killed_at: int,
    local: CheckedClient,
    sqlite_database: Database,
    store: StoreSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed in any of its transactions: nobody sees half of it, and the next sweep ends it."""
    database = sqlite_database
    dataset_id = dataset_with_files(local, database, store)
    job_id = local.get(f"/v1/datasets/{dataset_id}").json()["jobs"][0]
    left = killed_at
    begin = Database.begin

    def dies(self: Database) -> Any:
        nonlocal left
        if left <= 0:
            raise KeyboardInterrupt
        left -= 1
        return begin(self)

    monkeypatch.setattr(deletion, "_ROWS", 2)
    with database.begin() as session:
        row = session.get_one(InjectionJob, job_id)
        rows = [row, *deletion.dependents(session, row)]
        assert deletion.still_running(session, rows) == []
        deletion.hide(session, rows)
    monkeypatch.setattr(Database, "begin", dies)
    with suppress(KeyboardInterrupt):
        purge(database, store, 60)
    monkeypatch.setattr(Database, "begin", begin)
    assert local.get(f"/v1/injection-jobs/{job_id}").status_code == 404
    assert local.get(f"/v1/datasets/{dataset_id}/files").status_code == 404
    Sweeper(database, None, WorkerSettings(), store).purge()  # type: ignore[arg-type]
    with database.read() as session:
        for table in (InjectionJob, Dataset, PairRow, Review):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    assert stored(store) == set()


def test_an_estimate_goes_with_its_problem_set(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    estimate = client.post("/v1/injection-jobs:estimate", json={"problem_set": set_id, **RULES}).json()
    url = f"/v1/problem-sets/{set_id}"
    assert [row["id"] for row in client.get(f"{url}/dependents").json()["data"]] == [estimate["id"]]
    assert client.delete(f"{url}?cascade=true").status_code == 409, "its pilot has not ended"
    set_state(
        database, InjectionJob, estimate["pilot"]["job"] if "job" in estimate["pilot"] else pilot(database), "failed"
    )
    assert client.delete(f"{url}?cascade=true").json()["purged"]
    assert client.get(f"/v1/estimates/{estimate['id']}").status_code == 404


def pilot(database: Database) -> str:
    with database.read() as session:
        return str(session.scalar(select(InjectionJob.id)))


def test_the_same_request_again_makes_a_new_row_once_the_first_is_deleted(client: CheckedClient) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    body, key = {"problem_set": set_id, **RULES}, {"Idempotency-Key": "k"}
    first = client.post("/v1/injection-jobs", json=body, headers=key).json()["id"]
    client.post(f"/v1/injection-jobs/{first}/cancel")
    assert client.delete(f"/v1/injection-jobs/{first}").json()["purged"]
    second = client.post("/v1/injection-jobs", json=body, headers=key)
    assert second.status_code == 202
    assert second.json()["id"] != first


@pytest.mark.services
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_job_that_is_made_while_its_set_is_deleted(
    client: CheckedClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion holds the set when the job is about to refer to it: the job is refused, and not left without it."""
    set_id = post_problems(client)
    bring(client, set_id)
    hidden, go_on = threading.Event(), threading.Event()
    hide = deletion.hide

    def slowly(session: Session, rows: Any) -> None:
        hide(session, rows)
        hidden.set()
        go_on.wait(30)

    monkeypatch.setattr("api.life.hide", slowly)
    answers: list[Any] = []
    deleting = threading.Thread(target=lambda: answers.append(client.delete(f"/v1/problem-sets/{set_id}")))
    deleting.start()
    assert hidden.wait(30)
    waiting = threading.Thread(
        target=lambda: answers.append(client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}))
    )
    waiting.start()
    with database.read() as session:
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not session.scalar(text(blocked)):
            session.rollback()
    go_on.set()
    deleting.join()
    waiting.join()
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(InjectionJob)) == 0
