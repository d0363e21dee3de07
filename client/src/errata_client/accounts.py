"""What the service answers about keys, quotas, the audit log, webhooks and added models, typed."""

from __future__ import annotations

from datetime import datetime

from errata_client.progress import Record
from errata_client.records import LanguageModel


class Key(Record):
    """An API key without its secret; ``state`` is valid, expired or revoked."""

    id: str
    name: str
    scopes: list[str]
    state: str
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaced_by: str | None = None


class NewKey(Key):
    """A key that was just made. ``key`` is its secret, told only now."""

    key: str


class Measure(Record):
    """How much is used, of how much; a limit that is None sets none."""

    used: int
    limit: int | None


class Usage(Record):
    """What a workspace uses, beside its quotas."""

    workspace: str
    jobs: Measure
    problems: Measure
    pairs: Measure
    tokens_today: Measure
    tokens_reset_at: datetime


class Quota(Record):
    """The quotas of a workspace; what is None is not limited."""

    workspace: str
    jobs: int | None
    problems: int | None
    pairs: int | None
    tokens_per_day: int | None


class AuditEntry(Record):
    """One changing request; ``outcome`` is done, refused or failed."""

    id: str
    created_at: datetime
    actor: str
    actor_name: str | None
    method: str
    route: str
    object_id: str | None
    status: int
    outcome: str
    address: str | None
    request_id: str | None


class Webhook(Record):
    """An address that is told of events. ``secret`` is known only right after it was made or rotated."""

    id: str
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    previous_until: datetime | None = None
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


class AddedModel(LanguageModel):
    """A model that was just registered; ``notes``: why workers may not find it."""

    notes: tuple[str, ...] = ()
