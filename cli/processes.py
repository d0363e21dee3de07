"""``errata worker``, ``sweeper`` and ``trainer``: the other roles, each a process of its own."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import threading
from functools import partial
from typing import Any, Literal

from celery import signals
from celery.platforms import EX_OK
from celery.worker import state

from api.studies.follow import following
from cli.common import need_broker, observed, open_database, stop_on_signals, stop_with_parent
from models.settings import StoreSettings
from workers.app import GENERATION, GRADING, create_celery
from workers.batches.poller import start_polling
from workers.beats import Beats
from workers.completions.answerer import start_answering
from workers.dispatch import Dispatcher
from workers.hearing import HintWatch, rebuild_consumer, start_watch
from workers.runner import worker_name
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper
from workers.training.supervise.daemon import TrainerDaemon
from workers.webhooks.sender import WebhookSender
from workers.worker import build_services, close_services

_TICK_SECONDS = 0.05
_GIVE_BACK_SECONDS = 10.0
_COLLECT_AFTER = (10_000, 10, 10)
Pool = Literal["threads", "solo"]


def worker(store: StoreSettings, queues: list[str], pool: Pool, concurrency: int | None) -> None:
    """Run shards of these queues until SIGTERM (finished or released) or a second one (at once)."""
    need_broker(store, "worker")
    db = open_database(store)
    app = create_celery(store.broker_url)
    settings = WorkerSettings()
    services = build_services(app, db, store, settings)
    threads = {GENERATION: settings.generation_threads, GRADING: settings.grading_threads}
    concurrency = concurrency or sum(threads[queue] for queue in set(queues))

    def release(**_: Any) -> None:
        services.stopping.set()

    def ready(sender: Any, **_: Any) -> None:
        spare_collector()
        # Without prefetch, Celery looks for a message once per turn of its loop, and an idle turn takes a second:
        # a hint would wait for half of one at every stage (measured: 2 hints per second, with the tick 39).
        sender.controller.hub.call_repeatedly(_TICK_SECONDS, lambda: None)

    signals.worker_shutting_down.connect(release, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    celery: Any = app.Worker(
        pool=pool,
        concurrency=1 if pool == "solo" else concurrency,
        queues=queues,
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        loglevel=logging.getLogger().level,
        quiet=True,
        redirect_stdouts=False,
    )
    again = threading.Event()

    def restart() -> None:
        again.set()
        services.stopping.set()
        state.should_stop = EX_OK  # Celery's loop looks at it between two events, and ends warmly

    for queue in dict.fromkeys(queues):
        status = store.workers_folder / f"{socket.gethostname()}-{os.getpid()}-{queue}.json"
        rebuild = partial(rebuild_consumer, celery)
        start_watch(HintWatch(services, queue, rebuild=rebuild, restart=restart, status=status))
    answering = start_answering(services) if GENERATION in queues else None
    polling = start_polling(services) if GENERATION in queues else None
    try:
        with observed("worker", settings), Beats(db, services.name, queues, settings.heartbeat_seconds):
            celery.start()
    finally:
        services.stopping.set()
        if answering is not None:  # so that completions are given back before their engines are gone
            answering.join(_GIVE_BACK_SECONDS)
        if polling is not None:
            polling.join(_GIVE_BACK_SECONDS)
        close_services(services)
        if again.is_set():
            os.execv(sys.executable, sys.orig_argv)


def spare_collector() -> None:
    """Leave what is imported by now out of the collector's rounds, and let it make fewer.

    It stops every thread while it looks at all there is: 0.2 s at a time, in which no request left for any server.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def sweeper(store: StoreSettings) -> None:
    """Sweep, send webhooks, and go on with studies and campaigns, until a signal comes."""
    need_broker(store, "sweeper")
    db, settings = open_database(store), WorkerSettings()
    beats = Beats(db, worker_name(), ["sweeper"], settings.heartbeat_seconds)
    with stop_on_signals() as stop, observed("sweeper", settings), beats:
        sender = threading.Thread(target=WebhookSender(db, settings).run, args=(stop,), name="webhooks", daemon=True)
        sender.start()
        dispatcher = Dispatcher(create_celery(store.broker_url))
        with following(db, dispatcher, stop):
            Sweeper(db, dispatcher, settings, store).run(stop)
        sender.join(settings.webhook_timeout_seconds)
    db.dispose()


def trainer(store: StoreSettings, *, with_parent: bool) -> None:
    """Supervise training runs until a signal comes; a run in hand is checkpointed and released."""
    db = open_database(store)
    with stop_on_signals() as stop:
        if with_parent:
            stop_with_parent()
        TrainerDaemon(db, store).run(stop)
    db.dispose()
