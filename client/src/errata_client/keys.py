# Made from _async/keys.py by client/tools/generate.py: change that file, not this one.
"""API keys, quotas and the audit log of the key's workspace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from errata_client.accounts import AuditEntry, Key, NewKey, Quota, Usage
from errata_client.jobs import Resource
from errata_client.transport import Rows


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

    def list(self, *, state: str | None = None) -> Rows[Key]:
        """Every key, newest first; ``state``: valid, expired or revoked."""
        return self._transport.rows(Key.model_validate, "/v1/keys", state=state)

    def rotate(self, key_id: str, *, grace_hours: float = 24.0) -> NewKey:
        """Replace a key by a new one; the old one goes on for ``grace_hours``."""
        return NewKey.model_validate(self._transport.post(f"{_url(key_id)}/rotate", {"grace_hours": grace_hours}))

    def revoke(self, key_id: str, *, confirm: bool = False) -> Key:
        """End a key at once. The key that this client uses needs ``confirm``, else ConflictError is raised."""
        return Key.model_validate(self._transport.delete(_url(key_id), confirm=str(confirm).lower()))


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
        return Quota.model_validate(self._transport.put(path, quotas))

    def audit_log(self, **filters: Any) -> Rows[AuditEntry]:
        """Changing requests, newest first: ``actor``, ``object_id``, ``route``, ``outcome``, ``since``, ``until``."""
        return self._transport.rows(AuditEntry.model_validate, "/v1/audit-log", page_size=500, **filters)


def _url(key_id: str) -> str:
    return f"/v1/keys/{quote(key_id, safe='')}"
