"""A webhook's secret is replaced while receivers change over: for a time each message is signed by both."""

from __future__ import annotations

import threading
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from models.base import db_now
from models.session import Database
from models.webhooks import WebhookEndpoint
from tests.api.plain_clients import client, local
from tests.api.test_webhooks import URL
from workers.settings import WorkerSettings
from workers.webhooks.sender import WebhookSender, prune
from workers.webhooks.transport import Answer

__all__ = ["client", "local"]


class Sent:
    """Keeps what a sender sends."""

    def __init__(self, database: Database) -> None:
        self._sender = WebhookSender(database, WorkerSettings(), self._take)
        self._got: list[Any] = []

    def _take(self, *message: Any) -> Answer:
        self._got.append(message)
        return Answer(200)

    def test(self, client: TestClient, hook: str) -> tuple[dict[str, str], str]:
        """Headers and body of a test message."""
        assert client.post(f"/v1/webhooks/{hook}/test").status_code == 202
        self._sender.send_due()
        return self._got[-1][1], self._got[-1][2]


def opens(secret: str, message: tuple[dict[str, str], str]) -> bool:
    headers, body = message
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_both_secrets_sign_until_the_overlap_is_over(local: TestClient, sqlite_database: Database) -> None:
    made = local.post("/v1/webhooks", json={"url": URL}).json()
    sent, hook, first = Sent(sqlite_database), made["id"], made["secret"]
    assert made["previous_until"] is None
    answer = local.post(f"/v1/webhooks/{hook}/rotate", json={"overlap_hours": 2})
    second = answer.json()["secret"]
    assert (answer.status_code, second != first, second.startswith("whsec_")) == (200, True, True)
    message = sent.test(local, hook)
    assert [opens(secret, message) for secret in (first, second)] == [True, True]
    assert len(message[0]["webhook-signature"].split()) == 2
    assert "secret" not in local.get(f"/v1/webhooks/{hook}").json()
    with sqlite_database.begin() as session:
        session.execute(update(WebhookEndpoint).values(previous_until=db_now(-1)))
    message = sent.test(local, hook)
    assert [opens(secret, message) for secret in (first, second)] == [False, True]
    with sqlite_database.begin() as session:
        prune(session, 7)
    with sqlite_database.read() as session:
        assert session.scalars(select(WebhookEndpoint.previous_secret)).all() == [None], (
            "what signs no more is not kept"
        )
    third = local.post(f"/v1/webhooks/{hook}/rotate", json={"overlap_hours": 0}).json()["secret"]
    message = sent.test(local, hook)
    assert [opens(secret, message) for secret in (second, third)] == [False, True]
    for hours in (-1, 721, "x"):
        refused = local.post(f"/v1/webhooks/{hook}/rotate", json={"overlap_hours": hours})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "overlap_hours")


def test_twenty_webhooks_are_the_most_also_when_they_come_at_once(client: TestClient, database: Database) -> None:
    bodies = [{"url": f"{URL}/{at}"} for at in range(30)]
    answers: list[int] = []

    def post(some: list[dict[str, str]]) -> None:
        answers.extend(client.post("/v1/webhooks", json=body).status_code for body in some)

    client.get("/v1/webhooks")  # the workspace is made
    threads = [threading.Thread(target=post, args=(bodies[at::6],)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [201] * 20 + [409] * 10
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(WebhookEndpoint)) == 20
