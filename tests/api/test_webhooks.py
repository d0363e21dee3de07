"""``/v1/webhooks`` over HTTP: registered, told of jobs that end, tested, asked for again, deleted."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from api.webhooks import routes
from models.session import Database
from models.webhooks import EVENT_TYPES
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from workers.settings import WorkerSettings
from workers.webhooks.sender import WebhookSender
from workers.webhooks.signing import signed_headers
from workers.webhooks.transport import Answer

URL = "https://example.com/hooks"


def create(client: CheckedClient, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": URL, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_job_that_ends_is_told_and_what_was_sent_can_be_asked_for_again(
    local: CheckedClient, sqlite_database: Database
) -> None:
    client, database = local, sqlite_database
    hook = create(client, events=["injection_job.cancelled", "injection_job.cancelled"])
    other = create(client, events=["dataset.succeeded"])
    assert hook["events"] == ["injection_job.cancelled"]
    set_id = post_problems(client)
    bring(client, set_id)
    job = post_job(client, set_id)
    client.post(f"/v1/injection-jobs/{job['id']}/cancel")
    path = f"/v1/webhooks/{hook['id']}/deliveries"
    listed = client.get(path).json()["data"]
    assert [(row["type"], row["state"], row["attempts"]) for row in listed] == [
        ("injection_job.cancelled", "pending", 0)
    ]
    assert client.get(f"/v1/webhooks/{other['id']}/deliveries").json()["data"] == []
    sent: list[tuple[str, dict[str, str], str]] = []

    def send(*message: Any) -> Answer:
        sent.append(message)
        return Answer(200)

    sender = WebhookSender(database, WorkerSettings(), send)
    sender.send_due()
    delivery = client.get(f"{path}/{listed[0]['id']}").json()
    assert (delivery["state"], delivery["status_code"], delivery["body"]) == ("delivered", 200, sent[0][2])
    again = client.post(f"{path}/{listed[0]['id']}/redeliver")
    assert again.status_code == 202
    assert client.get(again.headers["location"]).json()["state"] == "pending"
    sender.send_due()
    told = [Webhook(hook["secret"]).verify(body, headers) for _, headers, body in sent]
    assert [message["data"]["id"] for message in told] == [job["id"], job["id"]]
    assert sent[0][1]["webhook-id"] == sent[1][1]["webhook-id"] == listed[0]["id"]
    client.delete(f"/v1/webhooks/{hook['id']}")
    assert client.get(path).status_code == 404


def test_registering_changing_and_what_is_refused(local: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(local)
    assert made["events"] == list(EVENT_TYPES)
    assert made["secret"].startswith("whsec_")
    path = f"/v1/webhooks/{made['id']}"
    for answer in (local.get(path), local.get("/v1/webhooks"), local.patch(path, json={"description": "d"})):
        assert made["secret"] not in answer.text
    off = local.patch(path, json={"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "its owner turned it off")
    assert "enable it first" in local.post(f"{path}/test").json()["detail"]
    on = local.patch(path, json={"enabled": True, "events": ["dataset.failed"]}).json()
    assert (on["enabled"], on["disabled_reason"], on["events"]) == (True, None, ["dataset.failed"])
    test = local.post(f"{path}/test").json()
    assert (test["type"], test["state"], test["webhook"]) == ("webhook.test", "pending", made["id"])
    elsewhere = create(local)
    assert local.get(f"/v1/webhooks/{elsewhere['id']}/deliveries/{test['id']}").status_code == 404
    _refused(local, path)
    local.app.state.api.settings.webhook_networks = "10.0.0.0/8"  # type: ignore[attr-defined]
    create(local, url="http://10.1.2.3:9000/hooks")
    _made_once(local, monkeypatch)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://example.com/"}, "url"),
    ({"url": "https://127.0.0.1/"}, "url"),
    ({"url": "https://[::ffff:169.254.169.254]/"}, "url"),
    ({"url": "https://user@example.com/"}, "url"),
    ({}, "url"),
    ({"url": URL, "events": []}, "events"),
    ({"url": URL, "events": ["job.done"]}, "events.0"),
    ({"url": URL, "secret": "mine"}, "secret"),
]


def _refused(client: CheckedClient, path: str) -> None:
    """What cannot be registered is refused by its field, and so is a change to it."""
    for body, field in REFUSED:
        refused = client.post("/v1/webhooks", json=body)
        assert refused.status_code == 422, body
        error = refused.json()["errors"][0]
        assert error["field"] == field
        assert error["remedy"]
        if body:
            assert client.patch(path, json=body).status_code == 422, body


def _made_once(client: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request again makes one webhook, and there are only so many."""
    key = {"Idempotency-Key": "one"}
    made = [client.post("/v1/webhooks", json={"url": URL}, headers=key).json() for _ in range(2)]
    assert made[0] == made[1]
    monkeypatch.setattr(routes, "MOST_WEBHOOKS", len(client.get("/v1/webhooks").json()["data"]))
    refused = client.post("/v1/webhooks", json={"url": URL})
    assert refused.status_code == 409
    assert "delete one first" in refused.json()["detail"]


def test_the_documents_way_to_verify_works() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# Verify.*?)```", text, flags=re.S)
    assert code is not None
    there: dict[str, Any] = {}
    exec(code[1], there)
    secret, body = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtMTIz", '{"type":"webhook.test"}'

    now = int(time.time())
    headers = signed_headers([secret], "msg_1", now, body)
    assert there["verify"](secret, headers, body.encode())["type"] == "webhook.test"
    old = signed_headers([secret], "msg_1", now - 3600, body)
    for wrong in (old, {**headers, "webhook-id": "msg_2"}, {**headers, "webhook-signature": "v1,AAAA"}):
        with pytest.raises(ValueError):
            there["verify"](secret, wrong, body.encode())
