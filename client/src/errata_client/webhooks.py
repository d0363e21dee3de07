# Made from _async/webhooks.py by client/tools/generate.py: change that file, not this one.
"""Webhooks: who is told of what happens, and what became of every message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from errata_client.accounts import Webhook, WebhookDelivery
from errata_client.jobs import Resource
from errata_client.transport import Rows


class Webhooks(Resource):
    """The webhooks of the key's workspace."""

    path = "/v1/webhooks"

    def create(self, url: str, *, events: Iterable[str] | None = None, description: str | None = None) -> Webhook:
        """Register an address, by default for every event. Keep the answer's ``secret``: it is told only now."""
        given = {"url": url, "events": None if events is None else list(events), "description": description}
        body = {name: value for name, value in given.items() if value is not None}
        return Webhook.model_validate(self._transport.post(self.path, body))

    def list(self) -> Rows[Webhook]:
        """Every webhook, newest first."""
        return self._transport.rows(Webhook.model_validate, self.path)

    def get(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return Webhook.model_validate(self._transport.get(f"{self.path}/{webhook_id}"))

    def update(self, webhook_id: str, **changes: Any) -> Webhook:
        """Change ``url``, ``events``, ``description`` or ``enabled``."""
        answer = self._transport.patch(f"{self.path}/{webhook_id}", changes)
        return Webhook.model_validate(answer)

    def rotate(self, webhook_id: str, *, overlap_hours: float = 24.0) -> Webhook:
        """Replace the secret: the answer tells the new one. The old one signs as well for so many hours."""
        answer = self._transport.post(f"{self.path}/{webhook_id}/rotate", {"overlap_hours": overlap_hours})
        return Webhook.model_validate(answer)

    def delete(self, webhook_id: str) -> Webhook:
        """Delete a webhook with its deliveries."""
        return Webhook.model_validate(self._transport.delete(f"{self.path}/{webhook_id}"))

    def test(self, webhook_id: str) -> WebhookDelivery:
        """Have a ``webhook.test`` message sent; ask for the delivery to see what came of it."""
        return WebhookDelivery.model_validate(self._transport.post(f"{self.path}/{webhook_id}/test"))

    def deliveries(self, webhook_id: str, **filters: Any) -> Rows[WebhookDelivery]:
        """Deliveries, oldest first; filter: ``state`` (pending, delivered, failed)."""
        path = f"{self.path}/{webhook_id}/deliveries"
        return self._transport.rows(WebhookDelivery.model_validate, path, **filters)

    def delivery(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """One delivery with its body."""
        answer = self._transport.get(f"{self.path}/{webhook_id}/deliveries/{delivery_id}")
        return WebhookDelivery.model_validate(answer)

    def redeliver(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Have a message sent again."""
        answer = self._transport.post(f"{self.path}/{webhook_id}/deliveries/{delivery_id}/redeliver")
        return WebhookDelivery.model_validate(answer)
