"""The part of a generation worker that looks at open batches, so that no shard and no thread waits for one.

Any number of workers may look; each batch is given to one of them at a time, at intervals that grow with its age. What
has ended is read and kept, and its shard goes on. Batches that nobody wants any more are cancelled. A worker that dies
meanwhile has changed nothing: the next look finds the batch as it was.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import batches
from models.batches import End, Lost, ProviderBatch, Settled
from models.events import record
from models.jobs import Shard
from models.leases import load_owner
from models.logs import DATABASE
from models.session import passing
from models.telemetry.metrics import ENGINE_TOKENS
from workers.batches.keep import opening_of
from workers.engines.base import Cancelled, EngineError, ModelSpec
from workers.engines.openai_batch_wire import Line, RemoteBatch
from workers.engines.openai_batched import BatchedCalls
from workers.engines.openai_http import RequestRejected
from workers.lifecycle import hint_for
from workers.runner import Services

log = logging.getLogger(__name__)
_AT_ONCE = 16
_FULL = 10  # times the entry's interval: a provider that takes no more for now is asked again then
_FOR_GOOD = 1_000  # tries: what a provider refuses as a whole is not asked again before the shard's next attempt


class BatchPoller:
    """Looks at the batches that are due, every ``batch_poll_seconds``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self) -> None:
        """Look until the worker stops."""
        services = self._services
        while not services.stopping.wait(services.settings.batch_poll_seconds):
            try:
                while self.look() == _AT_ONCE and not services.stopping.is_set():
                    pass
            except SQLAlchemyError as error:
                if not passing(error):
                    log.exception("batches cannot be looked at")
                DATABASE.away(log, error)
            except Exception:
                log.exception("batches cannot be looked at")

    def look(self) -> int:
        """Look at what is due now; how many batches those were."""
        db = self._services.db
        with db.look() as session:
            if not batches.any_due(session):
                return 0
        with db.begin() as session:
            found = batches.due(session, _AT_ONCE)
        for batch in found:
            try:
                self._look_at(batch)
            except Cancelled:
                return 0  # the worker stops
            except (EngineError, RequestRejected) as error:
                log.warning("a batch cannot be looked at: %s", str(error)[:300], extra={"shard": batch.shard_id})
        return len(found)

    def _look_at(self, batch: ProviderBatch) -> None:
        calls = self._calls(batch)
        if batch.state == "unwanted":
            calls.cancel(opening_of(batch), batch.remote_id)
            with self._services.db.begin() as session:
                batches.drop(session, batch.id)
            return
        remote, lines = calls.look(str(batch.remote_id))
        if remote is None:
            remote, lines = RemoteBatch(str(batch.remote_id), "forgotten by the provider"), []
        elif not remote.has_ended:
            return
        self._settle(batch, remote, lines)
        calls.clear([file for file in (*remote.files, batch.input_file) if file])

    def _calls(self, batch: ProviderBatch) -> BatchedCalls:
        model = ModelSpec(batch.model["name"], batch.model["engine"], dict(batch.model["config"]))
        return self._services.engines.batches(model)

    def _settle(self, batch: ProviderBatch, remote: RemoteBatch, lines: list[Line]) -> None:
        answered = {line.key: line for line in reversed(lines) if line.answer is not None}
        tries = 0 if remote.passes else _FOR_GOOD if remote.status == "failed" else 1
        end = End(
            {key: str(line.answer) for key, line in answered.items()},
            {line.key: Lost(line.error) for line in lines if line.answer is None},
            Lost(remote.told, tries),
            _FULL * batch.poll_seconds if remote.passes else 0.0,
        )
        with self._services.db.begin() as session:
            settled = batches.settle(session, batch, end)
            if settled is None:
                return
            _tell(session, batch, remote, settled, len(settled.keys & answered.keys()))
        for key in settled.keys & answered.keys():
            for kind, tokens in zip(("prompt", "completion", "cached"), answered[key].usage, strict=True):
                ENGINE_TOKENS.labels("openai", kind).inc(tokens)
        if settled.stage is not None:
            self._services.dispatcher.send([hint_for(batch.shard_id, settled.stage)])


def _tell(session: Session, batch: ProviderBatch, remote: RemoteBatch, settled: Settled, answered: int) -> None:
    """The event ``batch_ended`` of the shard's owner."""
    shard = session.get_one(Shard, batch.shard_id)
    owner = load_owner(session, shard)
    told = {"batch": batch.remote_id, "status": remote.status, "requests": len(settled.keys), "answered": answered}
    told |= {"error": remote.told} if remote.errors else {}
    record(session, owner.workspace_id, owner.id, "batch_ended", shard=shard.id, stage=shard.stage, **told)


def start_polling(services: Services) -> threading.Thread:
    """Look at batches in a thread until the worker stops."""
    thread = threading.Thread(target=BatchPoller(services).run, name="batches", daemon=True)
    thread.start()
    return thread
