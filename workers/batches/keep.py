"""A shard's requests in batches, kept in the database for whoever holds the shard."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy.orm import Session

from models import batches
from models.base import new_id
from models.batches import ProviderBatch
from models.events import record_shard_event
from models.jobs import Shard
from models.leases import Lease, is_wanted, load_owner
from models.session import Database
from models.workspaces import PILOT_WORKSPACE
from workers.engines.base import Cancelled, ModelSpec
from workers.engines.entry_settings import OpenAISettings
from workers.engines.kept import Answer, Keep, Known, Opening
from workers.engines.registry import asks_in_batches


def keep_for(db: Database, lease: Lease, model: ModelSpec) -> Keep | None:
    """Where the requests of this holder of a shard are kept; None where they are asked at once.

    Those of a pilot are: somebody waits for its estimate.
    """
    if not asks_in_batches(model.engine, model.config):
        return None
    with db.read() as session:
        owner = load_owner(session, session.get_one(Shard, lease.shard_id))
    return None if owner.workspace_id == PILOT_WORKSPACE else ShardKeep(db, lease, model)


def opening_of(batch: ProviderBatch) -> Opening:
    """The batch as its engine is told of it."""
    return Opening(batch.id, batch.input_file, batch.created_at.timestamp())


class ShardKeep:
    """The ``Keep`` of one lease (workers.engines.kept). Every writing of it is refused once the lease is lost."""

    def __init__(self, db: Database, lease: Lease, model: ModelSpec) -> None:
        self._db, self._lease, self._model = db, lease, model

    def known(self) -> dict[str, Known]:
        """Every request that the stage has asked, by key."""
        with self._db.read() as session:
            rows = batches.requests_of(session, self._lease.shard_id)
        return {
            row.key: Known(
                None if row.answer is None else Answer(**json.loads(row.answer)),
                row.answer is None and row.batch_id is not None,
                row.tries,
                row.error,
            )
            for row in rows
        }

    def unsettled(self) -> list[Opening]:
        """Batches of this shard that were begun and not told of further."""
        with self._db.read() as session:
            return [opening_of(batch) for batch in batches.unsettled(session, self._lease.shard_id)]

    def begin(self, keys: Collection[str]) -> Opening | None:
        """A row for a batch of these requests. None: too many are open. Raises Cancelled."""
        settings = OpenAISettings.model_validate(self._model.config)
        assert settings.batch is not None, "only entries that ask in batches have a keep"
        spec = {"name": self._model.name, "engine": self._model.engine, "config": self._model.config}
        batch = ProviderBatch(
            id=new_id("batch"),
            shard_id=self._lease.shard_id,
            model=spec,
            server=f"{settings.url} {settings.model}",
            requests=len(keys),
            poll_seconds=settings.batch.poll_seconds,
        )
        with self._db.begin() as session:
            begun = batches.begin(session, self._lease, batch, keys, settings.batch.max_open)
        if begun is None:
            raise Cancelled
        return opening_of(batch) if begun else None

    def uploaded(self, opening: Opening, file_id: str) -> Opening:
        """The batch with its file. Raises Cancelled where the lease is lost: then no batch is to be made of it."""
        with self._db.begin() as session:
            self._require(session)
            batches.uploaded(session, opening.id, file_id)
        return Opening(opening.id, file_id, opening.began_at)

    def created(self, opening: Opening, remote_id: str) -> bool:
        """The batch is open, by this name of the provider's. False: another holder of the shard gave it up."""
        with self._db.begin() as session:
            if not batches.created(session, opening.id, remote_id):
                return False
            requests = session.get_one(ProviderBatch, opening.id).requests
            record_shard_event(session, self._lease, "batch_opened", batch=remote_id, requests=requests)
        return True

    def drop(self, opening: Opening) -> None:
        """Forget a batch that was not made."""
        with self._db.begin() as session:
            self._require(session)
            batches.drop(session, opening.id)

    def try_anew(self, keys: Collection[str]) -> None:
        """Forget how often these were not answered."""
        with self._db.begin() as session:
            self._require(session)
            batches.try_anew(session, self._lease.shard_id, keys)

    def _require(self, session: Session) -> None:
        if not is_wanted(session, self._lease):
            raise Cancelled
