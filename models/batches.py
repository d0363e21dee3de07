"""Batches that a provider works on for shards, and the answers to shards' requests, kept until their stage ends.

A stage that asks in batches (workers.batches) is run again once its batches have ended, and finds here what was
answered. Of a batch the row is written before the provider is asked to make it and says afterwards what the provider
calls it, so that a worker's death at any moment is found out and nothing is asked twice. Rows go when the stage ends,
or the job: the tables hold what is in flight and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, ForeignKey, Index, Text, and_, delete, exists, func, literal, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Identified, Timestamped, db_now, storable
from models.jobs import Shard
from models.leases import Lease, is_wanted, release
from models.session import insert_ignore, update_by_key, update_returning
from models.states import SHARD_TERMINAL, ShardState, Stage, state_check

BatchState = Literal["preparing", "open", "unwanted"]
_STATES: tuple[BatchState, ...] = ("preparing", "open", "unwanted")
_SLOWEST = 20  # times the entry's interval: a batch of many hours need not be looked at every half minute


class ProviderBatch(Identified, Timestamped, Base):
    """One batch: ``preparing`` until the provider's name for it is known, ``open``, or ``unwanted``: to be cancelled.

    ``model`` is the registry entry as it was (name, engine, config), so that a change of it loses no batch. ``server``
    tells whose limit of open batches it counts towards.
    """

    __tablename__ = "provider_batches"
    __table_args__ = (
        state_check("state", _STATES),
        Index("ix_provider_batches_shard_id", "shard_id"),
    )
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(default="preparing")
    model: Mapped[dict[str, Any]]
    server: Mapped[str]
    requests: Mapped[int]
    input_file: Mapped[str | None]
    remote_id: Mapped[str | None]
    poll_seconds: Mapped[float]
    next_look_at: Mapped[datetime | None]


class BatchRequest(Base):
    """One request of a shard by its key, which says all that is sent. ``answer`` is JSON with status and body.

    ``tries`` counts the batches in which it was not answered, ``error`` says why the last one did not.
    """

    __tablename__ = "batch_requests"
    __table_args__ = (Index("ix_batch_requests_batch_id", "batch_id"),)
    shard_id: Mapped[str] = mapped_column(ForeignKey("shards.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("provider_batches.id", ondelete="SET NULL"))
    answer: Mapped[str | None] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a request was not answered, and how many tries that counts for."""

    error: str
    tries: int = 1


def requests_of(session: Session, shard_id: str) -> Sequence[BatchRequest]:
    """What is known of a shard's requests."""
    return session.scalars(select(BatchRequest).where(BatchRequest.shard_id == shard_id)).all()


def unsettled(session: Session, shard_id: str) -> Sequence[ProviderBatch]:
    """Batches of which it is not known whether the provider made them: their worker died, or lost its connection."""
    mine = (ProviderBatch.shard_id == shard_id) & (ProviderBatch.state == "preparing")
    return session.scalars(select(ProviderBatch).where(mine).order_by(ProviderBatch.created_at)).all()


def begin(session: Session, lease: Lease, batch: ProviderBatch, keys: Collection[str], most: int) -> bool | None:
    """Add a batch for these requests. None: the lease is lost or nobody wants it. False: ``most`` of the server's are
    open (of workers that ask at one moment each may add one)."""
    if not is_wanted(session, lease):
        return None
    counted = select(func.count()).where(ProviderBatch.server == batch.server)
    if (session.scalar(counted) or 0) >= most:
        return False
    session.add(batch)
    session.flush()
    insert_ignore(session, BatchRequest, [{"shard_id": lease.shard_id, "key": key} for key in keys])
    mine = (BatchRequest.shard_id == lease.shard_id) & BatchRequest.key.in_(keys)
    update_returning(session, BatchRequest, mine, BatchRequest.key, batch_id=batch.id)
    return True


def uploaded(session: Session, batch_id: str, input_file: str) -> None:
    """The provider has the batch's file, by this name."""
    update_returning(session, ProviderBatch, ProviderBatch.id == batch_id, ProviderBatch.id, input_file=input_file)


def created(session: Session, batch_id: str, remote_id: str) -> bool:
    """The provider has made the batch. False: it was given up meanwhile, by another holder of the shard."""
    mine = (ProviderBatch.id == batch_id) & (ProviderBatch.state == "preparing")
    values = {"state": "open", "remote_id": remote_id, "next_look_at": db_now()}
    return update_returning(session, ProviderBatch, mine, ProviderBatch.id, **values).first() is not None


def drop(session: Session, batch_id: str) -> None:
    """Forget a batch. Its requests that have no answer are to be asked again."""
    session.execute(delete(ProviderBatch).where(ProviderBatch.id == batch_id))


def try_anew(session: Session, shard_id: str, keys: Collection[str]) -> None:
    """Forget how often these requests failed."""
    mine = (BatchRequest.shard_id == shard_id) & BatchRequest.key.in_(keys)
    update_returning(session, BatchRequest, mine, BatchRequest.key, tries=0, error=None)


def park(session: Session, lease: Lease, seconds: float, *, until_ended: bool) -> bool | None:
    """Give the shard back until its batches have ended, ``seconds`` at most. None: the lease was lost.

    True: they have ended in the meantime, and the shard may go on at once.
    """
    # The shard's row is locked from here on: who settles its last batch either came before, or will find it waiting.
    if not release(session, lease, delay_seconds=seconds):
        return None
    if not until_ended or _has_open(session, lease.shard_id):
        return False
    update_returning(session, Shard, Shard.id == lease.shard_id, Shard.id, next_run_at=None)
    return True


def forget(session: Session, shard_id: str) -> None:
    """The stage has ended, and so has its need of answers. What a provider still works on is cancelled."""
    session.execute(delete(BatchRequest).where(BatchRequest.shard_id == shard_id))
    mine = ProviderBatch.shard_id == shard_id
    update_returning(session, ProviderBatch, mine, ProviderBatch.id, state="unwanted", next_look_at=db_now())


def forget_job(session: Session, shards: ColumnElement[bool]) -> None:
    """A job has ended: what shards of it kept that did not come to their end is of no use any more.

    Batches that are still open keep their rows until they are cancelled.
    """
    session.execute(delete(BatchRequest).where(BatchRequest.shard_id.in_(select(Shard.id).where(shards))))


def any_due(session: Session) -> bool:
    """Whether ``due`` would find something. Takes no lock."""
    look = or_(ProviderBatch.next_look_at <= db_now(), _is_abandoned())
    return session.scalar(select(literal(1)).where(look).limit(1)) is not None


def due(session: Session, most: int) -> Sequence[ProviderBatch]:
    """Batches to be looked at now, or to be cancelled; nobody else is given them for a while."""
    update_returning(session, ProviderBatch, _is_abandoned(), ProviderBatch.id, state="unwanted", next_look_at=db_now())
    query = select(ProviderBatch).where(ProviderBatch.next_look_at <= db_now()).order_by(ProviderBatch.next_look_at)
    found = session.scalars(query.limit(most).with_for_update(skip_locked=True)).all()
    now = session.scalars(select(db_now())).one()
    for batch in found:
        age = (now - batch.created_at).total_seconds()
        pause = min(max(batch.poll_seconds, age / _SLOWEST), _SLOWEST * batch.poll_seconds)
        batch.next_look_at = db_now(pause)
    session.flush()
    return found


@dataclass(frozen=True, slots=True)
class End:
    """How a batch ended: answers by request, why others have none, and why those that neither names have none.

    ``wait_seconds``: what the shard is to wait before it asks again.
    """

    answers: Mapping[str, str]
    lost: Mapping[str, Lost]
    otherwise: Lost
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """The requests that a batch asked for, and the stage of its shard where that waits and may now go on."""

    keys: frozenset[str]
    stage: Stage | None


def settle(session: Session, batch: ProviderBatch, end: End) -> Settled | None:
    """An open batch has ended: keep its answers, and let its shard go on where it was the last one.

    None: somebody has settled it, or nobody wants it any more.
    """
    # Locked first, as in ``park``.
    shard = session.scalars(select(Shard).where(Shard.id == batch.shard_id).with_for_update()).one_or_none()
    still = select(ProviderBatch.id).where(ProviderBatch.id == batch.id, ProviderBatch.state == "open")
    if shard is None or session.scalar(still.with_for_update()) is None:
        return None
    asked = select(BatchRequest).where(BatchRequest.batch_id == batch.id)
    rows = []
    for request in session.scalars(asked):
        missing = end.lost.get(request.key, end.otherwise)
        answer = end.answers.get(request.key)
        values = {"answer": answer, "tries": request.tries, "error": None, "batch_id": None}
        if answer is None:
            values |= {"tries": request.tries + missing.tries, "error": storable(missing.error[:2000])}
        rows.append({"shard_id": request.shard_id, "key": request.key, **values})
    update_by_key(session, BatchRequest, rows)
    drop(session, batch.id)
    keys = frozenset(str(row["key"]) for row in rows)
    if shard.state != ShardState.QUEUED or _has_open(session, shard.id):
        return Settled(keys, None)
    wait = end.wait_seconds
    shard.next_run_at, shard.hinted_at = (db_now(wait), None) if wait else (None, db_now())
    return Settled(keys, None if wait else Stage(shard.stage))


def waits_for_batches() -> ColumnElement[bool]:
    """Whether a shard has begun to ask in batches: it waits for them, although its row looks as if it had not begun."""
    return exists().where(BatchRequest.shard_id == Shard.id)


def has_begun(session: Session, shard_id: str) -> bool:
    """The same of one shard."""
    mine = BatchRequest.shard_id == shard_id
    return session.scalar(select(literal(1)).where(mine).limit(1)) is not None


def _has_open(session: Session, shard_id: str) -> bool:
    mine = (ProviderBatch.shard_id == shard_id) & (ProviderBatch.state == "open")
    return session.scalar(select(literal(1)).where(mine).limit(1)) is not None


def _is_abandoned() -> ColumnElement[bool]:
    """Whether a batch's shard has ended without it: cancelled or quarantined."""
    ended = exists().where(Shard.id == ProviderBatch.shard_id, Shard.state.in_(sorted(SHARD_TERMINAL)))
    return and_(ProviderBatch.state != "unwanted", ended)
