"""Webhooks: who is told of what happens, and what became of every message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from errata_client.jobs import Resource
from errata_client.progress import Record


class Webhook(Record):
    """An address that is told of events. ``secret`` is known only right after it was made."""

    id: str
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    secret: str | None = None


class WebhookDelivery(Record):
    """One event for one webhook. ``body`` is known where one delivery was asked for."""

    id: str
    webhook: str
    type: str
    state: str
    attempts: int
    status_code: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    body: str | None = None


class Webhooks(Resource):
    """The webhooks of the key's workspace."""

    path = "/v1/webhooks"

    def create(self, url: str, *, events: Iterable[str] | None = None, description: str | None = None) -> Webhook:
        """Register an address, by default for every event. Keep the answer's ``secret``: it is told only now."""
        given = {"url": url, "events": None if events is None else list(events), "description": description}
        body = {name: value for name, value in given.items() if value is not None}
        return Webhook.model_validate(self._transport.post(self.path, body))

    def list(self) -> Iterator[Webhook]:
        """Every webhook, newest first."""
        return (Webhook.model_validate(row) for row in self._transport.pages(self.path))

    def get(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return Webhook.model_validate(self._transport.get(f"{self.path}/{webhook_id}"))

    def update(self, webhook_id: str, **changes: Any) -> Webhook:
        """Change ``url``, ``events``, ``description`` or ``enabled``."""
        answer = self._transport.request("PATCH", f"{self.path}/{webhook_id}", json=changes)
        return Webhook.model_validate(answer.json())

    def delete(self, webhook_id: str) -> Webhook:
        """Delete a webhook with its deliveries."""
        return Webhook.model_validate(self._transport.request("DELETE", f"{self.path}/{webhook_id}").json())

    def test(self, webhook_id: str) -> WebhookDelivery:
        """Have a ``webhook.test`` message sent; ask for the delivery to see what came of it."""
        return WebhookDelivery.model_validate(self._transport.post(f"{self.path}/{webhook_id}/test"))

    def deliveries(self, webhook_id: str, **filters: Any) -> Iterator[WebhookDelivery]:
        """Deliveries, oldest first; filter: ``state`` (pending, delivered, failed)."""
        rows = self._transport.pages(f"{self.path}/{webhook_id}/deliveries", **filters)
        return (WebhookDelivery.model_validate(row) for row in rows)

    def delivery(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """One delivery with its body."""
        answer = self._transport.get(f"{self.path}/{webhook_id}/deliveries/{delivery_id}")
        return WebhookDelivery.model_validate(answer)

    def redeliver(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Have a message sent again."""
        answer = self._transport.post(f"{self.path}/{webhook_id}/deliveries/{delivery_id}/redeliver")
        return WebhookDelivery.model_validate(answer)
