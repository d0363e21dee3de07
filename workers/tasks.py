"""The Celery side of a worker: one task, a shell around a plain function."""

from __future__ import annotations

from celery import Celery

from workers.app import RUN_SHARD
from workers.runner import Services, run_shard


def register(app: Celery, services: Services) -> None:
    """Make ``app`` run shards with ``services``. A message carries an id; the row is reread and may say no."""

    # Not shared: a second app in this process must not run shards with the first one's services.
    @app.task(name=RUN_SHARD, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
    def run(shard_id: str, queue: str | None = None) -> str:
        return run_shard(services, shard_id, queue)
