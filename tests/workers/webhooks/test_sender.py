"""Webhooks from an event to its receiver: one delivery per endpoint, signed, again after failures, never in doubt."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from models.base import db_now
from models.events import record
from models.session import Database
from models.webhooks import EVENT_TYPES, WebhookDelivery, WebhookEndpoint, add_test, event_type
from models.workspaces import Workspace
from tests.receiver import LOOPBACK, Receiver, receiving
from workers.settings import WorkerSettings
from workers.webhooks.sender import WAITS, WebhookSender, claim, due_endpoints, prune, settle, wait_seconds
from workers.webhooks.transport import Answer

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtMTIz"
SETTINGS = WorkerSettings(webhook_networks=LOOPBACK)


def add_endpoint(database: Database, url: str = "http://127.0.0.1:1/", **more: Any) -> str:
    with database.begin() as session:
        session.merge(Workspace(id="ws", name="w"))
        session.flush()
        row = WebhookEndpoint(id=more.pop("id", "hook"), workspace_id="ws", url=url, secret=SECRET,
                              **{"events": list(EVENT_TYPES), **more})  # fmt: skip
        session.add(row)
    return row.id


def tell(database: Database, kind: str = "succeeded", subject: str = "inj_1", **data: Any) -> None:
    with database.begin() as session:
        record(session, "ws", subject, kind, **data)


def deliveries(database: Database) -> list[WebhookDelivery]:
    with database.read() as session:
        return list(session.query(WebhookDelivery).order_by(WebhookDelivery.created_at, WebhookDelivery.id))


def make_due(database: Database) -> None:
    """As if the wait were over."""
    with database.begin() as session:
        session.execute(update(WebhookDelivery).values(next_attempt_at=db_now(-1)))


def verified(receiver: Receiver, at: int = 0) -> dict[str, Any]:
    """What arrived, as a receiver that uses the standard's own library takes it."""
    _, headers, body = receiver.got[at]
    told: dict[str, Any] = Webhook(SECRET).verify(body, headers)
    return told


def test_an_event_becomes_one_delivery_in_its_own_transaction(database: Database) -> None:
    add_endpoint(database)
    add_endpoint(database, id="hook_some", events=["dataset.failed"])
    add_endpoint(database, id="hook_off", disabled_at=db_now())
    tell(database, "queued")
    tell(database, error="x" * 5000, partial=True)
    with database.begin() as session:
        record(session, "ws", "inj_2", "failed")
        session.rollback()
    found = deliveries(database)
    assert [(row.endpoint_id, row.type, row.state) for row in found] == [("hook", "injection_job.succeeded", "pending")]
    body = json.loads(found[0].body)
    assert body["type"] == "injection_job.succeeded"
    assert body["timestamp"].endswith("Z")
    assert body["data"] | {"error": "", "event": 0} == {
        "object": "injection_job", "id": "inj_1", "state": "succeeded", "partial": True, "error": "", "event": 0
    }  # fmt: skip
    assert len(body["data"]["error"]) == 2000


@pytest.mark.parametrize(
    ("subject", "kind", "expected"),
    [("inj_1", "failed", "injection_job.failed"), ("ds_1", "succeeded", "dataset.succeeded"),
     ("train_1", "training.cancelled", "training_job.cancelled"), ("train_1", "training.interrupted", None),
     ("eval_1", "cancelled", "evaluation.cancelled"), ("rejudge_1", "failed", "rejudging.failed"),
     ("inj_1", "shard_quarantined", "shard.quarantined"), ("inj_1", "cancelling", None)],
)  # fmt: skip
def test_types(subject: str, kind: str, expected: str | None) -> None:
    assert event_type(subject, kind) == expected
    assert expected is None or expected in EVENT_TYPES


def test_it_is_sent_signed_once_and_noted(database: Database) -> None:
    with receiving() as receiver:
        add_endpoint(database, receiver.url)
        tell(database, "shard_quarantined", shard="shard_1", stage="grade")
        sender = WebhookSender(database, SETTINGS)
        assert sender.send_due() == 1
        assert sender.send_due() == 0, "delivered is delivered"
        assert verified(receiver)["data"]["shard"] == "shard_1"
        row = deliveries(database)[0]
        assert receiver.got[0][1]["webhook-id"] == row.id
        assert (row.state, row.attempts, row.status_code, row.next_attempt_at) == ("delivered", 1, 204, None)
        _, headers, body = receiver.got[0]
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body + b" ", headers)


def test_a_failure_waits_in_the_database_and_another_sender_goes_on(sqlite_database: Database) -> None:
    database = sqlite_database
    with receiving(500, 500) as receiver:
        add_endpoint(database, receiver.url)
        tell(database)
        tell(database, subject="inj_2")
        assert WebhookSender(database, SETTINGS).send_due() == 1, "behind a failure the others wait as well"
        row = deliveries(database)[0]
        assert (row.state, row.status_code, row.error) == ("pending", 500, "HTTP 500")
        assert row.attempted_at is not None
        assert row.next_attempt_at is not None
        assert timedelta(seconds=4) < row.next_attempt_at - row.attempted_at < timedelta(seconds=60)
        for _ in range(3):  # as after a restart: nothing is kept but the rows
            make_due(database)
            WebhookSender(database, SETTINGS).send_due()
        assert [row.state for row in deliveries(database)] == ["delivered", "delivered"]
        ids = [headers["webhook-id"] for _, headers, _ in receiver.got]
        assert len(ids) == 4
        assert len(set(ids)) == 2, "each attempt of a message has its id"
        with database.read() as session:
            assert session.get_one(WebhookEndpoint, "hook").failing_since is None


def test_a_claim_is_one_senders_until_it_runs_out(database: Database) -> None:
    add_endpoint(database)
    tell(database)
    with database.begin() as session:
        first = claim(session, "hook", 60)
        assert first is not None
    with database.begin() as session:
        assert claim(session, "hook", 60) is None
        assert due_endpoints(session) == []
    make_due(database)  # its sender died, or so it seems
    with database.begin() as session:
        second = claim(session, "hook", 60)
        assert second is not None
        settle(session, first, Answer(500, "HTTP 500"), 5)  # the first comes back late: nothing of it counts
    row = deliveries(database)[0]
    assert (row.state, row.attempts, row.error) == ("pending", 2, None)
    with database.begin() as session:
        settle(session, second, Answer(200), 5)
    assert deliveries(database)[0].state == "delivered"


def test_the_last_attempt_ends_it_and_days_of_failures_disable_the_endpoint(sqlite_database: Database) -> None:
    database = sqlite_database
    add_endpoint(database)
    tell(database)
    sender = WebhookSender(database, SETTINGS, lambda *_: Answer(None, "no answer within 10 s"))
    for _ in range(len(WAITS) + 1):
        make_due(database)
        assert sender.send_due() == 1
    assert deliveries(database)[0].state == "failed"
    with database.begin() as session:
        assert session.get_one(WebhookEndpoint, "hook").disabled_at is None
        session.execute(update(WebhookEndpoint).values(failing_since=db_now(-5 * 86400 - 1)))
    tell(database, subject="inj_2")
    sender.send_due()
    with database.read() as session:
        row = session.get_one(WebhookEndpoint, "hook")
    assert row.disabled_at is not None
    assert "for 5 days failed, the last with: no answer within 10 s" in str(row.disabled_reason)
    make_due(database)
    assert sender.send_due() == 0


def test_gone_means_gone(sqlite_database: Database) -> None:
    add_endpoint(sqlite_database)
    tell(sqlite_database)
    WebhookSender(sqlite_database, SETTINGS, lambda *_: Answer(410, "HTTP 410")).send_due()
    assert deliveries(sqlite_database)[0].state == "failed"
    with sqlite_database.read() as session:
        assert "410" in str(session.get_one(WebhookEndpoint, "hook").disabled_reason)


def test_one_that_fails_delays_no_other_endpoint(sqlite_database: Database) -> None:
    with receiving() as receiver:
        add_endpoint(sqlite_database)
        add_endpoint(sqlite_database, receiver.url, id="hook_b")
        tell(sqlite_database)
        WebhookSender(sqlite_database, SETTINGS).send_due()
        assert len(receiver.got) == 1


def test_waits_grow_and_a_receiver_may_ask_for_more() -> None:
    waits = [wait_seconds(attempts, None) for attempts in range(1, len(WAITS) + 2)]
    assert waits[-1] is None
    kept = [wait for wait in waits if wait is not None]
    assert kept == sorted(kept)
    assert wait_seconds(1, 600.0) == 600.0
    assert wait_seconds(1, 1e9) == 86_400.0


def test_what_ended_long_ago_is_pruned_and_a_test_is_a_message_like_others(sqlite_database: Database) -> None:
    with receiving() as receiver:
        add_endpoint(sqlite_database, receiver.url)
        with sqlite_database.begin() as session:
            add_test(session, session.get_one(WebhookEndpoint, "hook"))
        WebhookSender(sqlite_database, SETTINGS).send_due()
        assert verified(receiver)["type"] == "webhook.test"
    with sqlite_database.begin() as session:
        prune(session, 30)
        session.execute(update(WebhookDelivery).values(created_at=db_now(-31 * 86400)))
    assert len(deliveries(sqlite_database)) == 1
    with sqlite_database.begin() as session:
        prune(session, 30)
    assert deliveries(sqlite_database) == []
