"""What an engine was and went through, as events of the job: written with the stage's results or its release."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import db_now
from models.events import record
from models.jobs import Shard
from models.leases import Lease, load_owner
from models.outputs import Event
from workers.engines.base import Journal

_TELL_AGAIN_SECONDS = 600


def record_unavailable(session: Session, lease: Lease, error: str) -> None:
    """``engine_unavailable``, unless the same was told of this job a moment ago: every waiting shard finds it out."""
    owner = load_owner(session, session.get_one(Shard, lease.shard_id))
    known = select(Event.data).where(
        Event.subject_id == owner.id,
        Event.type == "engine_unavailable",
        Event.created_at > db_now(-_TELL_AGAIN_SECONDS),
    )
    if error[:500] not in [data.get("error") for data in session.scalars(known)]:
        record(session, owner.workspace_id, owner.id, "engine_unavailable", shard=lease.shard_id, error=error[:500])


def record_journal(session: Session, lease: Lease, journal: Journal) -> None:
    """``engine_used``, once per job and engine version, and ``engine_retried`` with what was asked again and how often.

    ``engine_used`` names the capabilities that were done without (``fallbacks``). Nothing where no engine was asked.
    Two shards that finish at once may both write ``engine_used``.
    """
    if journal.engine is None:
        return
    shard = session.get_one(Shard, lease.shard_id)
    owner = load_owner(session, shard)
    if journal.capabilities is not None:
        query = select(Event.data).where(Event.subject_id == owner.id, Event.type == "engine_used")
        if journal.identity() not in session.scalars(query).all():
            record(session, owner.workspace_id, owner.id, "engine_used", **journal.identity())
    if journal.retried:
        counts = dict(journal.retried)
        record(
            session, owner.workspace_id, owner.id, "engine_retried", shard=shard.id, stage=lease.stage, counts=counts
        )
