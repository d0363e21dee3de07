"""A worker put together: its services, the Celery task that runs shards, the embedded worker of ``errata serve``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from models.logs import DATABASE
from models.session import Database, passing
from models.settings import StoreSettings
from workers.app import GENERATION, GRADING, RUN_SHARD, create_celery
from workers.batches.poller import start_polling
from workers.beats import Beats
from workers.completions.answerer import start_answering
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.engines.registry import interpreters
from workers.gpu import GpuLock, gpu_is_shared
from workers.hearing import HintWatch
from workers.judge import JudgePool
from workers.runner import Services, ShardOutcome, run_shard, worker_name
from workers.settings import WorkerSettings
from workers.stages import STAGES
from workers.sweeper import Sweeper
from workers.webhooks.sender import WebhookSender

log = logging.getLogger(__name__)
_DATABASE_WAIT_SECONDS = 1.0


def build_services(app: Celery, db: Database, store: StoreSettings, settings: WorkerSettings) -> Services:
    """Services for one worker process, registered as ``app``'s task. Engine and judge children start on first use."""
    gpu = GpuLock(store.gpu_folder, f"worker {worker_name()}") if gpu_is_shared(store.gpu_turns) else None
    services = Services(
        db=db,
        store=store,
        settings=settings,
        dispatcher=Dispatcher(app),
        engines=EnginePool(
            loaded=settings.loaded_models,
            threads=settings.torch_threads,
            stall_seconds=settings.engine_stall_seconds,
            pythons=interpreters(settings),
            gpu=gpu,
        ),
        judge=JudgePool(size=settings.judge_processes, allow_code=settings.allow_code),
        stages=STAGES,
    )
    register(app, services)
    return services


def close_services(services: Services) -> None:
    """End the children. Stages still running see ``stopping`` first."""
    # First, so that stages release their shards instead of failing on an engine that is gone.
    services.stopping.set()
    services.engines.close()
    services.judge.close()
    services.db.dispose()


def register(app: Celery, services: Services) -> None:
    """Make ``app`` run shards with ``services``. A message carries an id; the row is reread and may say no."""

    # Not shared: a second app in this process must not run shards with the first one's services.
    @app.task(name=RUN_SHARD, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
    def run(shard_id: str, queue: str | None = None) -> str:
        if queue is not None:
            services.hints.hear(queue)
        while True:
            try:
                return run_shard(services, shard_id, queue)
            except SQLAlchemyError as error:
                # Kept here until the database is back: fetched one after another, all hints would be lost meanwhile.
                if not passing(error):
                    raise
                DATABASE.away(log, error)
                if services.stopping.wait(_DATABASE_WAIT_SECONDS):
                    return ShardOutcome.STOPPING


@contextmanager
def embedded_worker(app: Celery, services: Services) -> Iterator[None]:
    """A Celery worker per queue and a sweeper in threads of this process while the block runs.

    Children do the heavy work. Each queue has as many threads as the settings say, of its own: a long job that fills
    ``generation`` keeps no freeze of ``grading`` waiting. At the end no more hints are taken, running stages release
    their shards, and all threads are waited for, each up to 10 seconds.
    """
    app.set_default()  # a pool's threads look tasks up in the default app
    settings = services.settings
    # Which queues are consumed is a setting of the app, so the second worker needs an app of its own.
    other = create_celery(app.conf.broker_url)
    register(other, services)
    workers = [
        _queue_worker(app, GENERATION, settings.generation_threads),
        _queue_worker(other, GRADING, settings.grading_threads),
    ]
    sweeper = Sweeper(services.db, services.dispatcher, settings, services.store)
    sender = WebhookSender(services.db, settings)
    beats = Beats(services.db, services.name, (GENERATION, GRADING, "sweeper"), settings.heartbeat_seconds)
    threads = [
        *(threading.Thread(target=worker.start, name="celery", daemon=True) for worker in workers),
        threading.Thread(target=sweeper.run, args=(services.stopping,), name="sweeper", daemon=True),
        threading.Thread(target=sender.run, args=(services.stopping,), name="webhooks", daemon=True),
        *(threading.Thread(target=HintWatch(services, queue).run, daemon=True) for queue in (GENERATION, GRADING)),
    ]
    for thread in threads:
        thread.start()
    threads += [start_answering(services), start_polling(services)]
    try:
        with beats:
            yield
    finally:
        services.stopping.set()
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(10)
        other.close()


def _queue_worker(app: Celery, queue: str, threads: int) -> Any:
    return app.WorkController(
        pool="threads",
        concurrency=threads,
        queues=[queue],
        # These three talk to other workers through the broker; this one is alone.
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        loglevel="WARNING",
    )
