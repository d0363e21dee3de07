"""The constants of ``bench.capacity``, measured, and its model against a curve: ``python -m bench.capacity_check``.

One worker process calibrates: a short and a longer job give the seconds per shard and the start, and the processes'
own clocks what each role spent. Then the model foretells a job of four times the size at one, two and four workers,
and each is run. ``ratio`` of a size is measured by foretold seconds. It needs PostgreSQL and Redis, and a machine
where nothing else runs. The jobs need no language model: solutions are brought, and rules edit them, so that the
service's own cost is measured and not an engine's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import create_engine, text

from bench.capacity import Constants, job_seconds, one_machine
from bench.service import Service, report, running, unwind_when_told
from demo import problems
from tests.ops.services import REDIS
from tests.processes import Running

SHARD_SIZE = 8
ROLES = ("worker", "database", "broker", "other")


@dataclass(frozen=True)
class Spent:
    """Processor seconds by role, and counts, between two looks."""

    seconds: dict[str, float]
    counts: dict[str, float]


class Meters:
    """What the roles have used so far, from the processes' own clocks."""

    def __init__(self, service: Service, workers: Sequence[Running]) -> None:
        self._service, self._workers = service, workers
        self._engine = create_engine(service.database_url, isolation_level="AUTOCOMMIT")
        with self._engine.connect() as connection:
            backend = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        self._postmaster = psutil.Process(backend).parent()

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    def read(self) -> Spent:
        """Now, since the processes began."""
        workers = {each.pid for running in self._workers for each in running.tree()}
        others = [each for running in self._service.roles for each in running.tree() if each.pid not in workers]
        info: Any = redis.Redis.from_url(REDIS).info()
        seconds = {
            "worker": sum(_seconds(psutil.Process(pid)) for pid in workers),
            "database": _tree_seconds(self._postmaster),
            "broker": float(info["used_cpu_user"] + info["used_cpu_sys"]),
            "other": sum(_seconds(each) for each in others),
        }
        with self._engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT xact_commit + xact_rollback, pg_database_size(datname) FROM pg_stat_database"
                    " WHERE datname = current_database()"
                )
            ).one()
        counts = {
            "transactions": float(row[0]),
            "bytes": float(row[1]),
            "commands": float(info["total_commands_processed"]),
        }
        return Spent(seconds, counts)


def _seconds(process: psutil.Process) -> float:
    """Its own and its ended children's."""
    try:
        found = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(found.user + found.system + found.children_user + found.children_system)


def _tree_seconds(top: psutil.Process | None) -> float:
    """A server's and all its backends', those that have ended too."""
    if top is None:
        return 0.0
    return _seconds(top) + sum(_seconds(each) for each in top.children(recursive=True))


def between(before: Spent, after: Spent) -> Spent:
    """What was spent from the one look to the other."""
    return Spent(
        {name: after.seconds[name] - before.seconds[name] for name in ROLES},
        {name: after.counts[name] - before.counts[name] for name in before.counts},
    )


class Curve:
    """Jobs of one kind at a service, with a number of workers that the caller sets."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sets: dict[int, str] = {}

    @contextmanager
    def workers(self, count: int) -> Iterator[list[Running]]:
        """So many worker processes, each with one shard at a time."""
        with ExitStack() as stack:
            role = ("worker", "--queues", "generation,grading", "--concurrency", "1")
            yield [stack.enter_context(Running(*role, env=self._service.env)) for _ in range(count)]

    def run(self, count: int) -> tuple[float, dict[str, Any]]:
        """Seconds that a job over ``count`` problems takes, and the job."""
        if count not in self._sets:
            made = problems.generate(count, seed=3)
            brought = [{"problem": at, "source": "gold", "text": each.gold_solution} for at, each in enumerate(made)]
            self._sets[count] = self._service.add_problems(problems.rows(made), brought)
        body = {
            "problem_set": self._sets[count],
            "preset": "rules",
            "config": {"shard_size": SHARD_SIZE, "sampling": {"source": "brought"}},
        }
        seconds, jobs = self._service.run([body])
        return seconds, jobs[0]


def calibrate(curve: Curve, service: Service, small: int) -> Constants:
    """One worker: the constants from a job of ``small`` problems and one of three times as many."""
    with curve.workers(1) as workers:
        curve.run(small)  # a first job loads what is loaded once
        meters = Meters(service, workers)
        short, _ = curve.run(small)
        before = meters.read()
        long, job = curve.run(3 * small)
        spent = between(before, meters.read())
        meters.close()
    shards = 3 * small / SHARD_SIZE
    pairs = float(job["funnel"]["pairs"]["total"])
    alone = (long - short) / (2 * small / SHARD_SIZE)
    return Constants(
        problems_per_shard=SHARD_SIZE,
        pairs_per_shard=pairs / shards,
        worker_seconds=spent.seconds["worker"] / shards,
        database_seconds=spent.seconds["database"] / shards,
        broker_seconds=spent.seconds["broker"] / shards,
        other_seconds=spent.seconds["other"] / shards,
        alone_seconds=alone,
        start_seconds=max(0.0, short - alone * small / SHARD_SIZE),
        transactions=spent.counts["transactions"] / shards,
        broker_commands=spent.counts["commands"] / shards,
        database_bytes_per_pair=spent.counts["bytes"] / pairs if pairs else 0.0,
    )


def check(curve: Curve, constants: Constants, count: int, workers: Sequence[int], cores: int) -> list[dict[str, Any]]:
    """The job at each number of workers: foretold, then measured."""
    curve.run(SHARD_SIZE)  # nothing of the set is posted inside the measured time
    found = []
    for each in workers:
        foretold = job_seconds(constants, count / SHARD_SIZE, one_machine(constants, each, cores))
        with curve.workers(each):
            curve.run(2 * SHARD_SIZE * each)
            measured, _ = curve.run(count)
        found.append(
            {
                "workers": each,
                "problems": count,
                "foretold_seconds": round(foretold, 2),
                "measured_seconds": round(measured, 2),
                "ratio": round(measured / foretold, 3),
            }
        )
        print(found[-1], file=sys.stderr)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--problems", type=int, default=160, help="of the calibration's short job")
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers to check, comma-separated")
    args = parser.parse_args()
    unwind_when_told()
    cores = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = stack.enter_context(running(folder, embedded=False, workers=False))
        if service.column != "production":
            raise SystemExit("bench.capacity_check: PostgreSQL and Redis do not answer")
        curve = Curve(service)
        began = time.monotonic()
        constants = calibrate(curve, service, args.problems)
        print(asdict(constants), file=sys.stderr)
        numbers = [int(each) for each in args.workers.split(",")]
        sizes = check(curve, constants, 4 * args.problems, numbers, cores)
    report(
        {
            "benchmark": "capacity",
            "ratio": max(sizes, key=lambda each: abs(each["ratio"] - 1))["ratio"],
            "constants": {name: round(value, 5) for name, value in asdict(constants).items()},
            "sizes": sizes,
            "cores": cores,
            "seconds": round(time.monotonic() - began, 1),
        }
    )


if __name__ == "__main__":
    main()
