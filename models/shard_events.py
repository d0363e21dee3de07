"""Events of a shard's owner, as whoever holds the shard records them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from models.events import record
from models.jobs import Shard
from models.leases import Lease, load_owner


def record_owner_event(session: Session, lease: Lease, kind: str, **data: Any) -> None:
    """An event of the shard's owner, in the caller's transaction."""
    owner = load_owner(session, session.get_one(Shard, lease.shard_id))
    record(session, owner.workspace_id, owner.id, kind, **data)


def record_shard_event(session: Session, lease: Lease, kind: str, **data: Any) -> None:
    """An event of the shard's owner that names the shard and its stage."""
    record_owner_event(session, lease, kind, shard=lease.shard_id, stage=lease.stage, **data)
