"""Webhooks: who is told of which events, and every delivery with its state.

Deliveries are rows of the transaction that records their event (models.events), so none is lost and none tells of what
was rolled back. A sender (workers.webhooks) sends them afterwards, at least once each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Timestamped, db_now, new_id
from models.outputs import Event
from models.session import insert_ignore
from models.states import J, state_check
from models.workspaces import Owned

EventType = Literal[
    "injection_job.succeeded",
    "injection_job.failed",
    "injection_job.cancelled",
    "dataset.succeeded",
    "dataset.failed",
    "dataset.cancelled",
    "evaluation.succeeded",
    "evaluation.failed",
    "evaluation.cancelled",
    "rejudging.succeeded",
    "rejudging.failed",
    "rejudging.cancelled",
    "training_job.succeeded",
    "training_job.failed",
    "training_job.cancelled",
    "study.succeeded",
    "study.failed",
    "study.cancelled",
    "campaign.succeeded",
    "campaign.failed",
    "campaign.cancelled",
    "shard.quarantined",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
TEST = "webhook.test"
_KINDS: dict[str, str] = {
    "ds": "dataset",
    "eval": "evaluation",
    "rejudge": "rejudging",
    "train": "training_job",
    "study": "study",
    "camp": "campaign",
}
_ENDED = frozenset({J.SUCCEEDED, J.FAILED, J.CANCELLED})
#: What of an event's data travels: enough to know what happened; the rest is asked for with a key.
_TOLD = ("error", "partial", "shard", "stage", "model", "model_id")
_MOST_TEXT = 2_000


class WebhookEndpoint(Owned, Timestamped, Base):
    """An address that is told of events. ``secret`` signs what is sent, so it is kept as it is.

    Until ``previous_until`` the secret before the last rotation signs as well.

    ``events`` lists types of EVENT_TYPES. While ``disabled_at`` is set nothing is sent and no delivery is made;
    ``disabled_reason`` says why. ``failing_since``: when the first of the failures without a success between them was.
    """

    __tablename__ = "webhook_endpoints"
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    description: Mapped[str | None]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]  # the last success


class WebhookDelivery(Owned, Timestamped, Base):
    """One event for one endpoint. ``body`` is what is signed and sent, byte for byte the same at each attempt.

    ``attempts`` counts claims, so it tells one attempt from the next. ``round`` counts the attempts since the delivery
    was made or asked for again: it decides the wait before the next one.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        state_check("state", ("pending", "delivered", "failed")),
        UniqueConstraint("endpoint_id", "event_id"),
        Index("ix_webhook_deliveries_due", "state", "next_attempt_at"),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "created_at", "id"),
    )
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event_id: Mapped[int | None]  # null: a test
    type: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    round: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    attempted_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status_code: Mapped[int | None]  # the last answer's
    error: Mapped[str | None] = mapped_column(Text)  # why the last attempt failed


def event_type(subject_id: str, kind: str) -> str | None:
    """The type under which an event of ours is sent, or None where endpoints are not told of it."""
    if kind == "shard_quarantined":
        return "shard.quarantined"
    subject = _KINDS.get(subject_id.partition("_")[0], "injection_job")
    state = kind.removeprefix("training.") if subject == "training_job" else kind
    return f"{subject}.{state}" if state in _ENDED else None


def endpoints_of(session: Session, events: Sequence[Event]) -> list[WebhookEndpoint]:
    """The endpoints that may be told of these events; to the end of the transaction none of them is deleted."""
    workspaces = {event.workspace_id for event in events if event_type(event.subject_id, event.type)}
    if not workspaces:
        return []
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.workspace_id.in_(sorted(workspaces)), WebhookEndpoint.disabled_at.is_(None)
    )
    # Without the lock a deletion in between would make the foreign key of a delivery fail, and the job's end with it.
    locked = query.order_by(WebhookEndpoint.id).with_for_update(read=True, key_share=True)
    return list(session.scalars(locked))


def add_deliveries(session: Session, endpoints: Sequence[WebhookEndpoint], events: Sequence[Event]) -> None:
    """A delivery for each event and endpoint that wants it. The events are flushed: they have their ids."""
    rows = []
    for event in events:
        name = event_type(event.subject_id, event.type)
        for endpoint in endpoints if name else ():
            if name in endpoint.events and endpoint.workspace_id == event.workspace_id:
                rows.append(_row(endpoint, str(name), _data(event), event.created_at, event.id))
    insert_ignore(session, WebhookDelivery, rows)


def add_test(session: Session, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """A delivery of type ``webhook.test``, to be sent at once."""
    now = session.scalars(select(db_now())).one()
    row = WebhookDelivery(**_row(endpoint, TEST, {"webhook": endpoint.id}, now, None))
    session.add(row)
    session.flush()
    return row


def _row(endpoint: WebhookEndpoint, name: str, data: dict[str, Any], at: datetime, event: int | None) -> dict[str, Any]:
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": name, "timestamp": stamp, "data": data}, ensure_ascii=False, separators=(",", ":"))
    ids = {"id": new_id("msg"), "workspace_id": endpoint.workspace_id, "endpoint_id": endpoint.id, "event_id": event}
    return {**ids, "type": name, "body": body, "next_attempt_at": at}


def _data(event: Event) -> dict[str, Any]:
    told = {name: event.data[name] for name in _TOLD if event.data.get(name) is not None}
    short = {name: value[:_MOST_TEXT] if isinstance(value, str) else value for name, value in told.items()}
    kind = _KINDS.get(event.subject_id.partition("_")[0], "injection_job")
    state = event.type.removeprefix("training.")
    about = {"object": kind, "id": event.subject_id, "event": event.id}
    return {**about, **({"state": state} if state in _ENDED else {}), **short}
