"""Procrastinate's side of ``bench.noop``, run by an interpreter that has it: ``python noop_jobs.py ROLE URL COUNT``.

Imports nothing of ours. ``fill`` makes the schema and defers COUNT no-op jobs; ``work`` runs them with COUNT at once
until none is left; ``rate`` prints jobs per second from the first start to the last end, by the database's clock.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

_BATCH = 1_000
_SPAN = (
    "SELECT extract(epoch FROM max(at) FILTER (WHERE type = 'succeeded') - min(at) FILTER (WHERE type = 'started'))"
    " AS seconds, count(*) FILTER (WHERE type = 'succeeded') AS jobs FROM procrastinate_events"
)


def app_of(url: str) -> tuple[Any, Any]:
    """The application and its no-op task."""
    procrastinate = importlib.import_module("procrastinate")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    async def noop(number: int) -> None:
        """Do nothing."""

    return app, app.task(noop, name="noop")


async def fill(url: str, count: int) -> None:
    """Make the schema, and defer the jobs."""
    app, noop = app_of(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, count, _BATCH):
            await noop.batch_defer_async(*({"number": at} for at in range(start, min(start + _BATCH, count))))


async def work(url: str, concurrency: int) -> None:
    """Run jobs until none waits."""
    app, _ = app_of(url)
    async with app.open_async():
        await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)


async def rate(url: str) -> None:
    """Print jobs per second."""
    app, _ = app_of(url)
    async with app.open_async():
        row = await app.connector.execute_query_one_async(_SPAN)
    print(float(row["jobs"]) / float(row["seconds"]))


def main() -> None:
    """Command line."""
    role, url, count = sys.argv[1:]
    asyncio.run({"fill": fill, "work": work}[role](url, int(count)) if role != "rate" else rate(url))


if __name__ == "__main__":
    main()
