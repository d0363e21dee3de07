"""Webhooks: who is told of what happens, and what became of every message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from errata_client._async.jobs import AsyncResource
from errata_client._async.transport import AsyncRows
from errata_client.accounts import Webhook, WebhookDelivery


class AsyncWebhooks(AsyncResource):
    """The webhooks of the key's workspace."""

    path = "/v1/webhooks"

    async def create(self, url: str, *, events: Iterable[str] | None = None, description: str | None = None) -> Webhook:
        """Register an address, by default for every event. Keep the answer's ``secret``: it is told only now."""
        given = {"url": url, "events": None if events is None else list(events), "description": description}
        body = {name: value for name, value in given.items() if value is not None}
        return Webhook.model_validate(await self._transport.post(self.path, body))

    def list(self) -> AsyncRows[Webhook]:
        """Every webhook, newest first."""
        return self._transport.rows(Webhook.model_validate, self.path)

    async def get(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return Webhook.model_validate(await self._transport.get(f"{self.path}/{webhook_id}"))

    async def update(self, webhook_id: str, **changes: Any) -> Webhook:
        """Change ``url``, ``events``, ``description`` or ``enabled``."""
        answer = await self._transport.patch(f"{self.path}/{webhook_id}", changes)
        return Webhook.model_validate(answer)

    async def rotate(self, webhook_id: str, *, overlap_hours: float = 24.0) -> Webhook:
        """Replace the secret: the answer tells the new one. The old one signs as well for so many hours."""
        answer = await self._transport.post(f"{self.path}/{webhook_id}/rotate", {"overlap_hours": overlap_hours})
        return Webhook.model_validate(answer)

    async def delete(self, webhook_id: str) -> Webhook:
        """Delete a webhook with its deliveries."""
        return Webhook.model_validate(await self._transport.delete(f"{self.path}/{webhook_id}"))

    async def test(self, webhook_id: str) -> WebhookDelivery:
        """Have a ``webhook.test`` message sent; ask for the delivery to see what came of it."""
        return WebhookDelivery.model_validate(await self._transport.post(f"{self.path}/{webhook_id}/test"))

    def deliveries(self, webhook_id: str, **filters: Any) -> AsyncRows[WebhookDelivery]:
        """Deliveries, oldest first; filter: ``state`` (pending, delivered, failed)."""
        path = f"{self.path}/{webhook_id}/deliveries"
        return self._transport.rows(WebhookDelivery.model_validate, path, **filters)

    async def delivery(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """One delivery with its body."""
        answer = await self._transport.get(f"{self.path}/{webhook_id}/deliveries/{delivery_id}")
        return WebhookDelivery.model_validate(answer)

    async def redeliver(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Have a message sent again."""
        answer = await self._transport.post(f"{self.path}/{webhook_id}/deliveries/{delivery_id}/redeliver")
        return WebhookDelivery.model_validate(answer)
