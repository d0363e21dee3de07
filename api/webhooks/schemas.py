"""What webhooks and their deliveries look like over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.http.errors import Invalid
from api.schemas import Request, RowAnswer, Storable
from models.webhook_urls import MOST_URL, RefusedAddress, WebhookRules, check_url
from models.webhooks import EVENT_TYPES, EventType, WebhookEndpoint


def _once(events: list[EventType]) -> list[EventType]:
    return [name for name in EVENT_TYPES if name in events]


MOST_OVERLAP_HOURS = 24 * 30
Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=MOST_URL), Storable]
Events = Annotated[list[EventType], Field(min_length=1, max_length=100), AfterValidator(_once)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), Storable]


class WebhookIn(Request):
    """Where messages go, and of which events."""

    url: Url = Field(description="https:// and a public name; the operator may allow other networks.")
    events: Events = Field(list(EVENT_TYPES), description="By default all of them.")
    description: Description | None = None


class WebhookChange(Request):
    """What is to be otherwise; fields that are not given stay."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = Field(None, description="True: send again, what waits included. False: send nothing.")


class SecretRotationIn(Request):
    """How long the secret before signs as well."""

    overlap_hours: Annotated[float, Field(ge=0, le=MOST_OVERLAP_HOURS)] = Field(
        24.0, description="For so long each message has a signature by either secret; 0 ends the old one at once."
    )


class WebhookOut(RowAnswer):
    """A webhook. Its secret is told once, when it is made."""

    object: Literal["webhook"] = "webhook"
    id: str
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None = Field(description="Why it is disabled: by its owner, or because it failed for days.")
    previous_until: datetime | None = Field(
        description="Until when the secret before the last rotation signs as well; null: it was never rotated."
    )
    failing_since: datetime | None = Field(description="Since when no message was delivered although some were due.")
    delivered_at: datetime | None = Field(description="The last success.")
    created_at: datetime


class NewWebhookOut(WebhookOut):
    """A webhook that was just made, or whose secret was just rotated."""

    secret: str = Field(description="Signs every message. Keep it: it is told only now.")


class DeliveryOut(RowAnswer):
    """One event for one webhook, and what became of it."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: str = Field(description="The `webhook-id` of the message: the same at every attempt.")
    webhook: str = Field(validation_alias="endpoint_id")
    type: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    status_code: int | None = Field(description="Of the last attempt's answer.")
    error: str | None = Field(description="Why the last attempt failed.")
    created_at: datetime
    attempted_at: datetime | None
    delivered_at: datetime | None
    next_attempt_at: datetime | None


class DeliveryBodyOut(DeliveryOut):
    """A delivery with the body that is sent."""

    body: str


def webhook_answer(row: WebhookEndpoint) -> WebhookOut:
    """A webhook as it is listed."""
    return WebhookOut.of(row, enabled=row.disabled_at is None)


def new_webhook_answer(row: WebhookEndpoint) -> NewWebhookOut:
    """A webhook with its secret."""
    return NewWebhookOut.of(row, enabled=row.disabled_at is None)


def require_url(url: str, rules: WebhookRules) -> None:
    """Raises Invalid for an address that webhooks may not lead to."""
    try:
        check_url(url, rules)
    except RefusedAddress as error:
        remedy = "give an https:// address of a public name, such as https://example.com/hooks"
        raise Invalid.field("url", str(error), remedy) from None
