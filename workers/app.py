"""The Celery app: how hints travel. Loads neither torch nor vllm; connects to nothing when imported."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue

GENERATION: Final = "generation"
GRADING: Final = "grading"
RUN_SHARD: Final = "errata.run_shard"

# A topic exchange on Redis drops messages silently after the broker was wiped; a direct one does not.
_EXCHANGE = Exchange("errata", type="direct", durable=True)


def create_celery(broker_url: str) -> Celery:
    """A Celery app for ``broker_url`` (``memory://`` or ``redis://``) with our settings."""
    app = Celery("errata", broker=broker_url, backend=None)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # Lost hints are re-sent by the sweeper; late acknowledgement would run long shards several times at once.
        task_acks_late=False,
        # A hint that is fetched ahead waits behind a long stage while another worker may be idle.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=broker_url.startswith("redis"),
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(broker_url),
        task_queues=[_queue(name, broker_url) for name in (GENERATION, GRADING)],
        task_default_queue=GRADING,
        task_default_exchange=_EXCHANGE.name,
        task_default_exchange_type="direct",
        task_default_routing_key=GRADING,
        task_create_missing_queues=False,
    )
    return app


def _queue(name: str, broker_url: str) -> Queue:
    # On Redis nothing is acknowledged. Celery only logs an acknowledgement that Redis did not get, and kombu counts its
    # message as unfinished for good: a worker with one place would then ask for no more messages, and never notice that
    # its connection is gone. The sweeper re-sends what is lost. In memory acknowledgements bound what is fetched ahead;
    # on Redis `worker_disable_prefetch` does.
    return Queue(name, _EXCHANGE, routing_key=name, no_ack=broker_url.startswith("redis"))


def _transport_options(broker_url: str) -> dict[str, Any]:
    if broker_url.startswith("memory"):
        return {"polling_interval": 0.1}
    return {
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "retry_on_timeout": True,
    }
