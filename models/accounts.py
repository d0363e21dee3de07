"""Workspaces, their API keys, and the idempotency keys of their requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamped

DEFAULT_WORKSPACE = "ws_default"
PILOT_WORKSPACE, PILOT_WORKSPACE_NAME = "ws_pilots", "(pilots)"
"""Where the pilots of estimates live (models.estimates); no key may be made for it."""


class Workspace(Timestamped, Base):
    """Owner of every row; rows of other workspaces are invisible."""

    __tablename__ = "workspaces"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class ApiKey(Timestamped, Base):
    """``errata_<id>_<secret>``; of the secret only its SHA-256 (hex) is kept."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[Any]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class IdempotencyKey(Timestamped, Base):
    """One row per workspace, route and key; ``resource_id`` is null while the first request is in flight."""

    __tablename__ = "idempotency_keys"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    resource_id: Mapped[str | None]
