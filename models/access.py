"""Who did what and how much a workspace may: the audit log, quotas, generated tokens by day, and browser sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, Timestamped
from models.workspaces import Owned


class AuditEntry(Identified, Timestamped, Base):
    """One changing request: who, what route, which object, from which address, and the status it was answered with.

    ``actor`` is a key's id, ``oidc:SUBJECT``, ``anonymous`` (keyless on loopback) or ``operator`` (a command on the
    database). ``object_id`` is the row that the request named or made. Bodies, queries and secrets are never stored.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_workspace", "workspace_id", "created_at", "id"),
        Index("ix_audit_entries_actor", "workspace_id", "actor", "created_at", "id"),
        Index("ix_audit_entries_object", "workspace_id", "object_id", "created_at", "id"),
        Index("ix_audit_entries_created_at", "created_at"),
    )
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    actor: Mapped[str]
    actor_name: Mapped[str | None]
    method: Mapped[str]
    route: Mapped[str]
    object_id: Mapped[str | None]
    status: Mapped[int]
    address: Mapped[str | None]
    request_id: Mapped[str | None]


class Quota(Base):
    """What a workspace may have at most; a column that is null sets no limit, and so does a missing row."""

    __tablename__ = "quotas"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    jobs: Mapped[int | None]
    problems: Mapped[int | None] = mapped_column(BigInteger)
    pairs: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)


class TokenUse(Base):
    """Tokens that were generated for one job (``subject_id``) of a workspace on one day (UTC, ``YYYY-MM-DD``).

    A row per job, not per workspace: stages of different jobs never wait for each other's lock.
    """

    __tablename__ = "token_use"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[int] = mapped_column(BigInteger)


class BrowserSession(Owned, Timestamped, Base):
    """A person signed in by OpenID Connect: of the cookie only its SHA-256 is kept, and of the sign-in its state's.

    A state is unique, so that no sign-in can be replayed. Deleted when it ends.
    """

    __tablename__ = "browser_sessions"
    token_sha256: Mapped[str] = mapped_column(unique=True)
    state_sha256: Mapped[str] = mapped_column(unique=True)
    subject: Mapped[str]
    name: Mapped[str]
    scopes: Mapped[list[Any]]
    expires_at: Mapped[datetime] = mapped_column(index=True)
