"""What the pages do with rows: rename, tag, delete with what depends on them, import, webhooks, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from api.app import create_app
from api.http.auth import create_key
from api.pages.rendering import COOKIE
from api.settings import ApiSettings
from models.access import Quota
from models.outputs import Checkpoint, Dataset, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.webhooks import WebhookDelivery, WebhookEndpoint
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from tests.api.conftest import KeptHints
from tests.api.plain_clients import URL
from tests.api.test_pages import Page, get
from tests.dashboard_rows import Filled, fill


@pytest.fixture
def rows(sqlite_database: Database) -> Filled:
    return fill(sqlite_database)


@pytest.fixture
def client(sqlite_database: Database, rows: Filled, tmp_path: Path) -> Iterator[TestClient]:
    """On SQLite alone: nothing here is asked of a database in another way than ``/v1`` asks it."""
    store = StoreSettings(ERRATA_HOME=tmp_path)
    app = create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings())
    with TestClient(app, base_url=URL, follow_redirects=False) as client:
        yield client


def stored(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_rows_are_renamed_tagged_and_found_by_their_tag(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    for page in (f"/problem-sets/{rows.problem_set}", f"/datasets/{rows.dataset}", f"/jobs/{rows.finished}"):
        assert f"{page}/edit" in get(client, page).links()
        answer = client.post(f"{page}/edit", data={"name": "new name", "tags": " b,a, a,,"})
        assert (answer.status_code, answer.headers["location"]) == (303, page)
        shown = get(client, page)
        assert "new name" in shown.by_tag["h1"][0]
        section = page.split("/")[1]
        assert {f"/{section}?tag=a", f"/{section}?tag=b"} <= set(shown.links())
        assert page in get(client, f"/{section}?tag=a").links()
        assert page not in get(client, f"/{section}?tag=c").links()
    run = f"/training/{rows.training}"
    assert client.post(f"{run}/edit", data={"name": "ignored", "tags": "mine"}).headers["location"] == run
    assert "tiny-tuned" in get(client, run).by_tag["h1"][0]
    with sqlite_database.begin() as session:
        session.get_one(LanguageModel, "lm_tuned").training_run_id = rows.training
    assert client.post("/models/tiny-tuned/edit", data={"name": "better"}).headers["location"] == "/models/better"
    refused = client.post("/models/better/edit", data={"name": "tiny", "tags": "kept"})
    assert refused.status_code == 422
    assert "taken by another" in refused.text
    assert 'value="kept"' in refused.text, "nothing that was typed is lost"
    get(client, "/models/tiny/edit", 409)  # the operator's
    assert "/models/tiny/edit" not in get(client, "/models/tiny").links()


def hidden(page: Page, name: str) -> list[str]:
    return [a["value"] for tag, a in page.elements if tag == "input" and a.get("name") == name]


def test_a_deletion_says_what_goes_and_takes_no_more_than_was_shown(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    url = f"/datasets/{rows.dataset}/delete"
    page = get(client, url)
    assert "training run tiny-tuned still running" in " ".join(page.text.split())
    assert not [a for tag, a in page.elements if tag == "button"], "nothing to click while a run goes on"
    assert client.post(url, data={"sure": "1", "listed": hidden(page, "listed")}).status_code == 409
    with sqlite_database.begin() as session:
        for run in session.scalars(select(TrainingRun)):
            run.state = "cancelled"
    page = get(client, url)
    assert "2 others depend on it and go too" in page.text
    assert client.post(url).headers["location"] == url, "asked first"
    shown = hidden(page, "listed")
    some = client.post(url, data={"sure": "1", "listed": shown[:1]})
    assert some.status_code == 409
    assert "something else has come to depend on it" in some.text
    assert stored(sqlite_database, Dataset) == 1
    assert client.post(url, data={"sure": "1", "listed": shown}).headers["location"] == "/datasets"
    get(client, f"/datasets/{rows.dataset}", 404)
    for gone in shown:
        get(client, f"/training/{gone}", 404)
    assert "Nothing depends on it" in get(client, f"/evaluations/{rows.evaluations[0]}/delete").text


def test_only_who_may_change_rows_sees_and_uses_the_buttons(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    with sqlite_database.begin() as session:
        _, reader = create_key(session, "reader", scopes=["read"])
        _, writer = create_key(session, "writer", scopes=["read", "write"])
    job, run = f"/jobs/{rows.finished}", f"/training/{rows.training}"
    changing: tuple[tuple[str, dict[str, Any]], ...] = (
        (f"{job}/edit", {"tags": "x"}),
        (f"{job}/delete", {"sure": "1"}),
        ("/webhooks", {"url": "https://example.com/h", "events": "dataset.failed"}),
        ("/import", {}),
    )
    client.cookies.set(COOKIE, reader)
    assert not {f"{job}/edit", f"{job}/delete"} & set(get(client, job).links())
    for url, data in changing:
        sent = {"files": {"file": ("p.jsonl", b"{}")}} if url == "/import" else {"data": data}
        assert client.post(url, **sent).status_code == 403, url
    client.cookies.set(COOKIE, writer)
    assert f"{job}/edit" in get(client, job).links()
    assert f"{run}/edit" not in get(client, run).links(), "runs and models take the scope train"
    assert client.post(f"{run}/edit", data={"tags": "x"}).status_code == 403
    assert client.post(f"{run}/checkpoints/40/resume").status_code == 403
    for url, data in changing[:3]:
        answer = client.post(url, data=data, headers={"Origin": "https://elsewhere.example"})
        assert answer.status_code == 403, url
    get(client, f"/jobs/{rows.foreign}/delete", 404)
    get(client, f"/jobs/{rows.foreign}/edit", 404)


def test_a_preference_file_is_imported_with_a_report_of_its_rows(client: TestClient) -> None:
    assert "/import" in get(client, "/datasets").links()
    assert "/v1/datasets/import" in get(client, "/import").text, "the same request for a shell"
    lines = b'{"prompt": "q", "chosen": "a", "rejected": "b"}\n{"prompt": "r", "chosen": "a", "rejected": "a"}\n'
    answer = client.post(
        "/import",
        files={"file": ("theirs.jsonl", lines)},
        data={"name": "", "license": "mit", "config": '{"split": {"test": 0}}'},
    )
    assert answer.status_code == 303, answer.text
    page = get(client, answer.headers["location"])
    assert page.by_tag["h1"] == ["theirs"]
    assert "Rows not taken" in page.text
    assert "line 2" in " ".join(page.text.split())
    refused = client.post("/import", files={"file": ("x.jsonl", b'{"x": 1}\n')}, data={"license": "mit"})
    assert refused.status_code == 422
    assert "no format known here" in refused.text
    assert 'value="mit"' in refused.text
    assert client.post("/import", files={"file": ("x.jsonl", b"{")}, data={"config": "{"}).status_code in (400, 422)


def test_a_webhook_is_added_tested_turned_off_and_removed(client: TestClient, sqlite_database: Database) -> None:
    assert "/webhooks" in get(client, "/workspace").links()
    form = {"url": "https://example.com/hooks", "events": ["dataset.failed"], "token": "t", "description": "ours"}
    made = client.post("/webhooks", data=form)
    with sqlite_database.read() as session:
        hook = session.scalars(select(WebhookEndpoint)).one()
    assert hook.secret in made.text, "shown once"
    url = f"/webhooks/{hook.id}"
    assert client.post("/webhooks", data=form).headers["location"] == "/webhooks", "loaded again: no second one"
    for page in ("/webhooks", url):
        assert hook.secret not in get(client, page).text
        assert "ours" in get(client, page).text
    for bad in ({**form, "url": "http://127.0.0.1/"}, {**form, "events": ["nothing"]}, {**form, "events": []}):
        refused = client.post("/webhooks", data={**bad, "token": "other"})
        assert refused.status_code == 422, bad
        assert "ours" in refused.text
    assert client.post(f"{url}/test").headers["location"] == url
    with sqlite_database.begin() as session:
        sent = session.scalars(select(WebhookDelivery)).one()
        assert (sent.type, sent.state) == ("webhook.test", "pending")
        sent.state, sent.status_code, sent.error = "failed", 500, "<script>no</script>"
    assert "<script>no</script>" in get(client, url).text
    assert client.post(f"{url}/deliveries/{sent.id}/again").headers["location"] == url
    client.post(f"{url}/turn", data={"to": "off"})
    assert "its owner turned it off" in get(client, url).text
    assert client.post(f"{url}/test").status_code == 409
    client.post(f"{url}/turn", data={"to": "on"})
    assert client.post(f"{url}/remove").headers["location"] == f"{url}/remove", "asked first"
    assert "1 message not sent yet never is" in " ".join(get(client, f"{url}/remove").text.split())
    assert client.post(f"{url}/remove", data={"sure": "1"}).headers["location"] == "/webhooks"
    get(client, url, 404)
    assert stored(sqlite_database, WebhookDelivery) == 0


def test_a_run_goes_on_from_a_checkpoint_or_makes_a_model_within_the_quota(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    run, step = f"/training/{rows.training}", f"/training/{rows.training}/checkpoints/40"
    assert step in get(client, run).links()
    assert "When the run has ended" in get(client, step).text
    with sqlite_database.begin() as session:
        ended = session.get_one(TrainingRun, rows.training)
        ended.state, ended.output_model_id, ended.output_name = "cancelled", None, "left"
        session.scalars(select(Checkpoint)).one().state = "ready"
        session.add(Quota(workspace_id=DEFAULT_WORKSPACE, jobs=0))
    page = get(client, step)
    assert f"{step}/archive.zip" in page.links()
    assert f"/v1/training-jobs/{rows.training}/checkpoints/40/resume" in page.text
    before = stored(sqlite_database, TrainingRun)
    assert client.post(f"{step}/resume", data={"name": ""}).status_code == 429
    assert client.post(f"{run}/do/go-on", data={"sure": "1"}).status_code == 429, "no button gets around the quota"
    assert stored(sqlite_database, TrainingRun) == before
    with sqlite_database.begin() as session:
        session.get_one(Quota, DEFAULT_WORKSPACE).jobs = None
    made = client.post(f"{step}/model", data={"name": "from-40"})
    assert made.headers["location"].startswith("/training/train_")
    assert "step 40" in get(client, made.headers["location"]).text
    assert client.post(f"{step}/model", data={"name": "no spaces"}).status_code == 422
    get(client, f"{run}/checkpoints/41", 404)
    assert client.post(f"{step}/explode").status_code == 422
