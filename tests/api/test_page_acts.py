"""Acting from the pages: forms make what requests make, under the same checks, from this site, with the scope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from api.app import create_app
from api.http.auth import Scope, create_key
from api.injection_jobs.prompting import prompt_versions
from api.pages.rendering import COOKIE
from api.settings import ApiSettings
from errata.config import InjectionConfig
from errata.types import Domain
from models.base import new_id
from models.jobs import InjectionJob, Shard
from models.outputs import Checkpoint, Dataset, Evaluation, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.api.test_pages import Page, get
from tests.dashboard_rows import Filled, fill
from workers.app import create_celery
from workers.dispatch import Dispatcher


@pytest.fixture
def rows(database: Database) -> Filled:
    return fill(database)


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[TestClient]:
    store = StoreSettings(ERRATA_HOME=tmp_path)
    app = create_app(database, store, Dispatcher(create_celery("memory://")), ApiSettings())
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client


def values(page: Page) -> dict[str, str]:
    """What a form holds: hidden and text inputs."""
    inputs = [attrs for tag, attrs in page.elements if tag == "input"]
    return {each["name"]: each.get("value", "") for each in inputs if each.get("type") in ("hidden", "text")}


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def a_set(client: TestClient) -> str:
    return str(client.get("/v1/problem-sets").json()["data"][0]["id"])


def job_form(client: TestClient, **more: str) -> dict[str, str]:
    page = get(client, f"/new/jobs?problem_set={a_set(client)}")
    model = client.get("/v1/models").json()["data"][0]["id"]
    return {**values(page), "problem_set": a_set(client), "language_model": model, "preset": "errata", **more}


def test_a_job_is_started_once_however_often_its_form_is_sent(
    client: TestClient, rows: Filled, database: Database
) -> None:
    form = job_form(client, name="mine", **{"config.sampling.samples": "3", "config": '{"seed": 7}'})
    before = count(database, InjectionJob)
    first, again = (client.post("/new/jobs", data=form) for _ in range(2))
    assert (first.status_code, first.headers["location"]) == (303, again.headers["location"])
    assert count(database, InjectionJob) == before + 1
    job = client.get("/v1" + first.headers["location"].replace("/jobs", "/injection-jobs")).json()
    assert (job["name"], job["config"]["sampling"]["samples"], job["config"]["seed"]) == ("mine", 3, 7)
    assert get(client, first.headers["location"]).links()


def test_what_is_refused_comes_back_with_its_field_and_nothing_lost(
    client: TestClient, rows: Filled, database: Database
) -> None:
    before = count(database, InjectionJob)
    form = job_form(client, name="keep me", **{"config.sampling.samples": "-1"})
    answer = client.post("/new/jobs", data=form)
    page = Page(answer.text)
    assert answer.status_code == 422
    assert "greater than or equal to 1" in page.text
    assert values(page)["name"] == "keep me"
    for bad in ('{"sampling": ', "[1]", '{"sampling": 3}', "[" * 50_000, r'{"sampling": {"system": "\u0000"}}'):
        assert client.post("/new/jobs", data=job_form(client, config=bad)).status_code == 422
    assert count(database, InjectionJob) == before


def test_settings_and_request_are_shown_without_starting(client: TestClient, rows: Filled, database: Database) -> None:
    before = count(database, InjectionJob)
    answer = client.post("/new/jobs", data=job_form(client, check="1", name="it's"))
    assert answer.status_code == 200
    page = Page(answer.text)
    assert "curl http://127.0.0.1:8000/v1/injection-jobs" in page.text
    assert "$ERRATA_API_KEY" in page.text
    assert "max_kind_share" in page.text
    shown = [a for tag, a in page.elements if a.get("formaction") == "/new/jobs#request"]
    assert shown, "they stand below the form, so the browser is sent there"
    assert [tag for tag, a in page.elements if a.get("id") == "request"] == ["section"]
    assert count(database, InjectionJob) == before


def test_an_estimate_is_run_from_the_same_form(client: TestClient, rows: Filled) -> None:
    answer = client.post("/new/jobs", data=job_form(client, act="estimates"))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/estimates/est_")
    assert "The forecast is stated when the pilot has ended" in get(client, answer.headers["location"]).text


def test_datasets_runs_and_evaluations_are_started(client: TestClient, rows: Filled, database: Database) -> None:
    model = client.get("/v1/models").json()["data"][0]["id"]
    made = client.post("/new/datasets", data={"name": "d", "jobs": rows.finished, "config.split.test": "0"})
    assert made.headers["location"].startswith("/datasets/ds_")
    with database.read() as session:
        assert session.get_one(Dataset, made.headers["location"].rpartition("/")[2]).config["split"]["test"] == 0
    with database.begin() as session:
        session.execute(update(LanguageModel).values(config={"path": "/weights"}))
    body = {"dataset": rows.dataset, "base_model": model, "output_name": "new-one", "preset": "errata"}
    before = count(database, TrainingRun)
    assert client.post("/new/training", data={**body, "config.lora": "1"}).status_code == 303
    assert count(database, TrainingRun) == before + 1
    asked = {"problem_set": a_set(client), "language_model": model, "config.limit": "2"}
    before = count(database, Evaluation)
    assert client.post("/new/evaluations", data=asked).status_code == 303
    assert count(database, Evaluation) == before + 1


def test_a_job_is_cancelled_in_two_steps(client: TestClient, rows: Filled, database: Database) -> None:
    url = f"/jobs/{rows.running}/do/cancel"
    assert url in get(client, f"/jobs/{rows.running}").links()
    assert client.post(url).headers["location"] == url, "asked first"
    assert "It cannot be started again." in get(client, url).text
    assert client.post(url, data={"sure": "1"}).headers["location"] == f"/jobs/{rows.running}"
    with database.read() as session:
        assert session.get_one(InjectionJob, rows.running).state in ("cancelling", "cancelled")
    assert client.post(f"/jobs/{rows.finished}/do/cancel", data={"sure": "1"}).status_code == 409
    assert url not in get(client, f"/jobs/{rows.finished}").links()


@pytest.mark.parametrize("url", ["/new/jobs", "/jobs/inj_1/do/cancel", "/sign-in"])
def test_another_sites_form_is_refused(client: TestClient, rows: Filled, url: str) -> None:
    answer = client.post(url, data={"sure": "1"}, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("scopes", "jobs", "training"),
    [(["read"], 403, 403), (["write"], 200, 403), (["train"], 403, 200), (["admin"], 200, 200)],
)
def test_forms_and_buttons_respect_scopes(
    client: TestClient, rows: Filled, database: Database, scopes: list[Scope], jobs: int, training: int
) -> None:
    with database.begin() as session:
        _, secret = create_key(session, "k", scopes=scopes)
    client.cookies.set(COOKIE, secret)
    assert client.get("/new/jobs").status_code == jobs
    assert client.get("/new/training").status_code == training
    cancel = f"/jobs/{rows.running}/do/cancel"
    assert (cancel in get(client, f"/jobs/{rows.running}").links()) is (jobs == 200)
    sent = client.post(cancel, data={"sure": "1"})
    assert sent.status_code == (303 if jobs == 200 else 403)


def test_every_count_of_the_funnel_links_to_what_it_counts(client: TestClient, rows: Filled) -> None:
    page = get(client, f"/jobs/{rows.finished}")
    levels = [f"/jobs/{rows.finished}/{level}" for level in ("problems", "solutions", "steps", "edits")]
    links = [link for link in page.links() if link.partition("?")[0] in levels]
    assert set(levels) <= set(links)
    assert any("?reason=" in link for link in links)
    for link in links:
        get(client, link)
    assert client.get(f"/jobs/{rows.foreign}/edits").status_code == 404
    assert client.get(f"/jobs/{rows.finished}/nothing").status_code == 404
    assert client.get(f"/jobs/{rows.finished}/edits?reason=%3Cscript%3E").status_code == 404


def test_two_evaluations_stand_beside_each_other(client: TestClient, rows: Filled) -> None:
    before, after, open_ = rows.evaluations
    url = f"/evaluations/{before}/compare/{after}"
    assert url in get(client, f"/evaluations/{after}").links()
    page = get(client, url)
    assert "+100.0" in page.text
    assert "Gained: 1 problem" in page.text
    assert {"answered 9", "answered 8"} <= {" ".join(text.split())[-10:] for text in page.by_tag["p"]}
    assert client.get(f"/evaluations/{before}/compare/{open_}").status_code == 409
    assert client.get(f"/evaluations/{before}/compare/eval_none").status_code == 404


def test_the_pages_of_inputs(client: TestClient, rows: Filled) -> None:
    listed = get(client, "/problem-sets")
    [shown, *_] = [link for link in listed.links() if link.startswith("/problem-sets/")]
    assert f"/new/jobs?problem_set={shown.rpartition('/')[2]}" in " ".join(get(client, shown).links())
    models = [link for link in get(client, "/models").links() if link.startswith("/models/")]
    assert models
    for link in models:
        assert "Lineage" in get(client, link).text
    for missing in ("/problem-sets/pset_1", "/models/nope", "/estimates/est_1", "/new/nope", "/jobs/x/do/explode"):
        get(client, missing, 404)


def test_what_a_stopped_job_and_a_cancelled_run_left_is_taken_up(
    client: TestClient, rows: Filled, database: Database
) -> None:
    job, run = f"/jobs/{rows.finished}/do/extend", f"/training/{rows.training}/do/go-on"
    assert job not in get(client, f"/jobs/{rows.finished}").links()
    assert run not in get(client, f"/training/{rows.training}").links()
    with database.begin() as session:
        shard = session.scalars(select(Shard).where(Shard.injection_job_id == rows.finished)).first()
        assert shard is not None
        shard.state, shard.skipped = "cancelled", "accepted_pairs"
        row = session.get_one(InjectionJob, rows.finished)
        limited = {**row.config, "stop": {"accepted_pairs": 50}, "sampling": {"source": "model"}}
        row.stopped, row.config = "accepted_pairs", limited
        row.prompt_versions = prompt_versions(InjectionConfig.model_validate(limited), Domain.MATH)
        trained = session.get_one(TrainingRun, rows.training)
        trained.state, trained.output_model_id, trained.output_name, trained.total_steps = "cancelled", None, "left", 99
        about = {"run_id": trained.id, "path": "/x", "size_bytes": 1, "manifest": {}, "state": "ready"}
        session.merge(Checkpoint(id=new_id("ckpt"), step=77, **about))
    assert "It stopped at its limit: 50 accepted pairs." in " ".join(get(client, f"/jobs/{rows.finished}").text.split())
    for url, kept in ((job, "jobs"), (run, "training")):
        assert url in get(client, url.rpartition("/do/")[0]).links()
        assert client.post(url).headers["location"] == url, "asked first"
        made = client.post(url, data={"sure": "1"})
        assert made.status_code == 303, made.text
        assert made.headers["location"].startswith(f"/{kept}/")
        assert url.rpartition("/do/")[0] in get(client, made.headers["location"]).links()
