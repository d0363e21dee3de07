"""Argilla's own SDK reads the records and settings that we give, and what it writes becomes reviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import argilla as rg
import pytest
from argilla.records._io import JsonIO

from api.argilla import settings
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from tests.workers.freezing.conftest import Freeze, both
from tests.workers.freezing.test_lineage import api

__all__ = ["api"]
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ANN, BOB = uuid4(), uuid4()


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's objects want a client, and a client looks for its server when it is made: here nothing is sent."""
    monkeypatch.setattr(rg.Argilla, "_validate_connection", lambda _: None)
    rg.Argilla(api_url="http://127.0.0.1:9", api_key="none")


def records(client: CheckedClient, dataset_id: str) -> list[rg.Record]:
    found: list[rg.Record] = []
    after = ""
    while True:
        page = client.get(f"/v1/datasets/{dataset_id}/argilla?limit=70{after}").json()
        found += [rg.Record.from_dict(record) for record in page["records"]]
        if not page["has_more"]:
            return found
        after = f"&after={page['next']}"


def answer(record: rg.Record, user: UUID, verdict: str, reason: str | None = None) -> rg.Record:
    record.responses.add(rg.Response("verdict", verdict, user_id=user, status="submitted"))
    if reason:
        record.responses.add(rg.Response("reason", reason, user_id=user, status="submitted"))
    return record


def send(client: CheckedClient, given: list[rg.Record], path: Path) -> dict[str, Any]:
    """As a user would: the SDK writes a file, and its content is posted."""
    JsonIO.to_json(given, path)
    body = {"records": json.loads(path.read_text())}
    taken: dict[str, Any] = client.post("/v1/pairs/reviews/argilla", json=body).json()
    return taken


def test_the_sdk_reads_the_settings(tmp_path: Path, database_url: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings()))
    read = rg.Settings.from_json(path)
    assert [field.name for field in read.fields] == ["question", "prefix", "chosen", "rejected"]
    assert [question.name for question in read.questions] == ["verdict", "reason"]
    assert read.questions["verdict"].labels == ["accepted", "rejected"]
    read.validate()


def test_records_hold_every_pair_and_fit_the_settings(
    api: CheckedClient, store: StoreSettings, frozen: Freeze, tmp_path: Path
) -> None:
    dataset = frozen(split={"test": 0.3})
    found = {str(record.id): record for record in records(api, dataset.id)}
    rows = {row["pair_id"]: row for row in both(store, dataset, "steps_and_full")}
    assert found.keys() == rows.keys()
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings()))
    names = {field.name for field in rg.Settings.from_json(path).fields}
    for pair_id, record in found.items():
        assert record.fields.to_dict() == {name: rows[pair_id][name] for name in names}
        assert record.metadata.to_dict()["type"] == rows[pair_id]["type"]
        assert None not in record.metadata.to_dict().values()


def test_answers_become_reviews(
    api: CheckedClient, database: Database, store: StoreSettings, frozen: Freeze, tmp_path: Path
) -> None:
    dataset = frozen()
    given = records(api, dataset.id)[:6]
    answer(given[0], ANN, "rejected", "the edit is right as well")
    answer(given[1], ANN, "accepted")
    answer(given[1], BOB, "accepted")
    answer(answer(given[2], ANN, "accepted"), BOB, "rejected")
    given[3].responses.add(rg.Response("reason", "only a reason", user_id=ANN))
    stranger = answer(rg.Record(id="pair_none", fields={"question": "q"}), ANN, "accepted")
    told = send(api, [*given, stranger], tmp_path / "first.json")
    assert told["received"] == 7
    assert (told["reviewed"], told["without_answer"]) == (2, 3)
    assert (told["disagreed"], told["unknown"]) == ([str(given[2].id)], ["pair_none"])
    history = api.get(f"/v1/pairs/{given[0].id}/reviews").json()["data"]
    assert [(r["verdict"], r["reason"], r["reviewer"], r["source"]) for r in history] == [
        ("rejected", "the edit is right as well", f"argilla:{ANN}", "argilla")
    ]
    assert {r["reviewer"] for r in api.get(f"/v1/pairs/{given[1].id}/reviews").json()["data"]} == {
        f"argilla:{ANN}",
        f"argilla:{BOB}",
    }
    assert [pair["id"] for pair in api.get("/v1/pairs?review=rejected").json()["data"]] == [given[0].id]
    again = send(api, given, tmp_path / "again.json")
    assert again["reviewed"] == 2
    assert len(api.get(f"/v1/pairs/{given[1].id}/reviews").json()["data"]) == 2, "the same answers add nothing"
    suggested = {str(record.id): record.suggestions.to_dict() for record in records(api, dataset.id)}
    assert suggested[str(given[0].id)]["verdict"]["value"] == "rejected"
    assert suggested[str(given[5].id)] == {}


def test_what_was_not_submitted_is_no_review(api: CheckedClient, frozen: Freeze) -> None:
    pair = str(records(api, frozen().id)[0].id)
    said = {"value": "accepted", "user_id": str(ANN)}
    for record in (
        {"id": pair, "responses": {"verdict": [{**said, "status": "draft"}]}},
        {"id": pair, "responses": {"verdict": [{**said, "status": "discarded"}]}},
        {"id": pair, "responses": {"verdict": [said]}, "status": "pending", "_server_id": str(uuid4())},
    ):
        told = api.post("/v1/pairs/reviews/argilla", json={"records": [record]}).json()
        assert (told["reviewed"], told["without_answer"]) == (0, 1)
    complete = {"id": pair, "responses": {"verdict": [said]}, "status": "completed", "_server_id": str(uuid4())}
    assert api.post("/v1/pairs/reviews/argilla", json={"records": [complete]}).json()["reviewed"] == 1


@pytest.mark.parametrize(
    ("responses", "field"),
    [
        ({"verdict": [{"value": "maybe"}]}, "records.0.responses.verdict"),
        ({"verdict": [{"value": "accepted"}], "reason": [{"value": 3}]}, "records.0.responses.reason"),
        ({"verdict": "accepted"}, "records.0.responses.verdict"),
    ],
)
def test_answers_that_are_none_are_refused(api: CheckedClient, responses: Any, field: str) -> None:
    refused = api.post("/v1/pairs/reviews/argilla", json={"records": [{"id": "pair_x", "responses": responses}]})
    assert (refused.status_code, [error["field"] for error in refused.json()["errors"]]) == (422, [field])
