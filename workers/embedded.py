"""The embedded worker: Celery in a thread of the API process. It only orchestrates; children do the heavy work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from workers.app import GENERATION, GRADING
from workers.runner import Services
from workers.sweeper import Sweeper


class EmbeddedWorker:
    """A Celery worker and a sweeper, each in a thread. As many shards are in flight as its settings say."""

    def __init__(self, app: Celery, services: Services) -> None:
        app.set_default()  # a pool's threads look tasks up in the default app
        self._stop = services.stopping
        self._worker: Any = app.WorkController(
            pool="threads",
            concurrency=services.settings.generation_threads + services.settings.grading_threads,
            queues=[GENERATION, GRADING],
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            loglevel="WARNING",
        )
        self._sweeper = Sweeper(services.db, services.dispatcher, services.settings)
        self._threads = [
            threading.Thread(target=self._worker.start, name="celery", daemon=True),
            threading.Thread(target=self._sweeper.run, args=(self._stop,), name="sweeper", daemon=True),
        ]

    def start(self) -> None:
        """Start both threads; returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop taking hints, let running stages release their shards, and wait for both threads."""
        self._stop.set()
        self._worker.stop(in_sighandler=False)
        for thread in self._threads:
            thread.join(timeout_seconds)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run while the block does."""
        self.start()
        try:
            yield
        finally:
            self.stop()
