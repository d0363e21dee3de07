"""Whether a worker still hears its hints: an idle one asks the database itself, so that hints only save time.

Every ``ask_seconds`` an idle worker looks for a shard of its queue that may run now, and runs it. One that claims so
three times, while its broker answers and no hint arrives, has gone deaf: it builds its consumer anew. If it stays deaf
although messages wait in its queue, the worker restarts, each time after twice as many such claims.
Shards that may not run now (their engine is away, they wait out a back-off, nobody wants their job) count for nothing.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from models.choosing import unheard_shard
from models.logs import DATABASE
from workers.lifecycle import stages_of
from workers.runner import Services, ShardOutcome, run_shard

log = logging.getLogger(__name__)
DEAF_CLAIMS = 3
RESTARTS = "ERRATA_WORKER_RESTARTS"  # how often this worker has restarted itself since it last heard a hint
_MOST_DOUBLINGS = 6
# What a claim must come to: one that was given back, or found an engine away, shows nothing of the hints.
_COUNTED = frozenset({ShardOutcome.ADVANCED, ShardOutcome.DONE})
_HINT_ON_ITS_WAY_SECONDS = 2.0


class HintWatch:
    """Watches the hints of one queue in a thread of its own; ``ask`` is one look.

    ``rebuild`` makes the worker's consumer anew, and ``restart`` the worker; None where there is no such way. Both may
    be called from the watch's thread. ``status`` is a file that ``errata health`` reads.
    """

    def __init__(
        self,
        services: Services,
        queue: str,
        *,
        rebuild: Callable[[], None] | None = None,
        restart: Callable[[], None] | None = None,
        status: Path | None = None,
    ) -> None:
        self._services, self._queue, self._status = services, queue, status
        self._rebuild, self._restart = rebuild, restart
        self._heard = services.hints.heard(queue)
        self.unheard = self.rebuilds = 0

    def run(self) -> None:
        """Ask until the worker stops."""
        stopping = self._services.stopping
        while not stopping.wait(self._services.settings.ask_seconds):
            try:
                self.ask()
            except SQLAlchemyError as error:
                DATABASE.away(log, error)
            except Exception:
                log.exception("the worker could not ask whether shards wait")
        if self._status is not None:
            self._status.unlink(missing_ok=True)

    def ask(self) -> ShardOutcome | None:
        """Run a shard that waits, if the worker is idle and there is one; None: there was nothing to do."""
        hints = self._services.hints
        if hints.heard(self._queue) != self._heard:
            self._heard, self.unheard = hints.heard(self._queue), 0
            os.environ.pop(RESTARTS, None)
        self._tell()
        if hints.running(self._queue):
            return None
        with self._services.db.read() as session:
            shard_id = unheard_shard(session, stages_of(self._queue), _HINT_ON_ITS_WAY_SECONDS)
        if shard_id is None:
            return None
        outcome = run_shard(self._services, shard_id, self._queue)
        if outcome in _COUNTED and hints.heard(self._queue) == self._heard:
            self._count()
        return outcome

    def _count(self) -> None:
        """One more claim without a hint."""
        if not self._services.dispatcher.answers():
            return  # nobody hears anything of a broker that is away, and celery tries to reach it already
        self.unheard += 1
        told = "%d shards of queue %s were claimed without a hint: the %s"
        limit = DEAF_CLAIMS + DEAF_CLAIMS * 2 ** min(_restarts(), _MOST_DOUBLINGS)
        messages_wait = self.unheard >= limit and self._services.dispatcher.waiting(self._queue)
        if self._restart is not None and messages_wait:
            os.environ[RESTARTS] = str(_restarts() + 1)
            log.error(told, self.unheard, self._queue, "worker restarts")
            self._tell()
            self._restart()
        elif self._rebuild is not None and self.unheard % DEAF_CLAIMS == 0:
            self.rebuilds += 1
            log.error(told, self.unheard, self._queue, "consumer is built anew")
            self._rebuild()
        self._tell()

    def _tell(self) -> None:
        if self._status is None:
            return
        told = {"worker": self._services.name, "pid": os.getpid(), "queue": self._queue, "unheard": self.unheard}
        with suppress(OSError):  # a home that cannot be written: health says less
            self._status.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._status.with_suffix(".tmp")
            scratch.write_text(json.dumps({**told, "rebuilds": self.rebuilds, "restarts": _restarts()}))
            scratch.replace(self._status)


def _restarts() -> int:
    return int(os.environ.get(RESTARTS, "0"))


def start_watch(watch: HintWatch) -> threading.Thread:
    """Run the watch in a thread."""
    thread = threading.Thread(target=watch.run, name="hint-watch", daemon=True)
    thread.start()
    return thread


def rebuild_consumer(worker: Any) -> None:
    """Make a Celery worker connect and subscribe anew, as after a connection error; what runs goes on.

    Raised inside the event loop, such an error resets the loop and restarts the consumer. From another thread the loop
    is only told. Workers without an event loop (``memory://``) read their queue in a plain loop and cannot go deaf so.
    """
    consumer = worker.consumer
    if consumer is None or consumer.hub is None:
        return

    def lose() -> None:
        raise ConnectionResetError("no hints arrive")

    consumer.hub.call_soon(lose)


def deaf_workers(folder: Path, host: str) -> list[str]:
    """What the status files of this host's living workers tell of missing hints; one line each."""
    told = []
    for path in sorted(folder.glob(f"{host}-*.json")):
        try:
            status = json.loads(path.read_text())
            os.kill(status["pid"], 0)
        except (OSError, ValueError, KeyError):
            continue  # it has ended
        if status["unheard"] >= DEAF_CLAIMS:
            told.append(
                f"worker {status['worker']} claimed {status['unheard']} shards of {status['queue']} without a hint"
                f" (consumer rebuilt {status['rebuilds']} times, worker restarted {status['restarts']} times)"
            )
    return told
