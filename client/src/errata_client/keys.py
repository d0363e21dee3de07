"""API keys, quotas and the audit log of the key's workspace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from errata_client.jobs import Resource
from errata_client.progress import Record


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


class Keys(Resource):
    """The workspace's API keys. All of it needs a key with scope ``admin``."""

    def create(
        self, name: str, *, scopes: Iterable[str] = ("read", "write", "train"), expires_in_days: int | None = None
    ) -> NewKey:
        """Make a key. Its secret is in ``key`` of the answer and nowhere else.

        Raises ConflictError where the first answer was lost on its way: that key exists, and nobody knows its secret.
        """
        body = {"name": name, "scopes": list(scopes), "expires_in_days": expires_in_days}
        return NewKey.model_validate(self._transport.post("/v1/keys", body))

    def get(self, key_id: str) -> Key:
        """One key."""
        return Key.model_validate(self._transport.get(_url(key_id)))

    def list(self, *, state: str | None = None) -> Iterator[Key]:
        """Every key, newest first; ``state``: valid, expired or revoked."""
        return (Key.model_validate(row) for row in self._transport.pages("/v1/keys", state=state))

    def rotate(self, key_id: str, *, grace_hours: float = 24.0) -> NewKey:
        """Replace a key by a new one; the old one goes on for ``grace_hours``."""
        return NewKey.model_validate(self._transport.post(f"{_url(key_id)}/rotate", {"grace_hours": grace_hours}))

    def revoke(self, key_id: str, *, confirm: bool = False) -> Key:
        """End a key at once. The key that this client uses needs ``confirm``, else ConflictError is raised."""
        params = {"confirm": str(confirm).lower()}
        return Key.model_validate(self._transport.request("DELETE", _url(key_id), params=params).json())


class Workspaces(Resource):
    """Usage, quotas and the audit log."""

    def usage(self) -> Usage:
        """What the key's workspace uses, and its quotas."""
        return Usage.model_validate(self._transport.get("/v1/usage"))

    def quota(self, workspace: str) -> Quota:
        """The quotas of a workspace (scope ``admin``)."""
        return Quota.model_validate(self._transport.get(f"/v1/workspaces/{quote(workspace, safe='')}/quota"))

    def set_quota(self, workspace: str, **quotas: int | None) -> Quota:
        """Replace a workspace's quotas: ``jobs``, ``problems``, ``pairs``, ``tokens_per_day``. For the operator."""
        path = f"/v1/workspaces/{quote(workspace, safe='')}/quota"
        return Quota.model_validate(self._transport.request("PUT", path, json=quotas).json())

    def audit_log(self, **filters: Any) -> Iterator[AuditEntry]:
        """Changing requests, newest first: ``actor``, ``object_id``, ``route``, ``outcome``, ``since``, ``until``."""
        rows = self._transport.pages("/v1/audit-log", page_size=500, **filters)
        return (AuditEntry.model_validate(row) for row in rows)


def _url(key_id: str) -> str:
    return f"/v1/keys/{quote(key_id, safe='')}"
