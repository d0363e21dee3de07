"""No-op stages a second beside Procrastinate's no-op jobs: ``python -m bench.noop --json`` (PostgreSQL and Redis).

Ours: a job of shards that pass six stages which write nothing, run by workers of one process each, which hear their
hints from Redis as production's do. Theirs: as many no-op jobs, run by workers of one process each. Both use the same
PostgreSQL server, databases of their own, and the same number of workers with as many executions at once. They take
turns in one run; the time is the database's, from the first start to the last end.

``ratio``: executions a second by those of Procrastinate, one worker each, the median of ``--rounds``. ``scaling``: ours
with more workers by ours with one. Procrastinate is installed for itself alone: name the interpreter that has it with
ERRATA_PROCRASTINATE_PYTHON (``python -m venv /tmp/p && /tmp/p/bin/pip install procrastinate "psycopg[binary]"``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import func, make_url, select

from bench.service import report
from models import migrate
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, Stage
from models.workspaces import DEFAULT_WORKSPACE, ProblemSet, Workspace
from tests.ops.services import own_broker, own_database
from tests.processes import ROOT, until
from workers.app import GENERATION, GRADING, create_celery
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import Hint, plan_injection
from workers.runner import Services
from workers.settings import WorkerSettings
from workers.stages.base import Finish, StageContext, StageFunction
from workers.worker import register

ROAD = (Stage.SAMPLE, Stage.GRADE, Stage.EDIT, Stage.CONTINUE, Stage.PROVE, Stage.PAIR)
_THEIRS = Path(__file__).with_name("noop_jobs.py")
_JOB = "inj_noop"


def through(following: Stage | None) -> StageFunction:
    """A stage that does nothing."""

    def stage(_context: StageContext) -> Finish:
        return Finish(following)

    return stage


def plan(url: str, shards: int) -> list[Hint]:
    """A job of shards of one problem, and its hints."""
    migrate.upgrade(url)
    database = Database(url)
    with database.begin() as session:
        session.merge(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        owner = {"workspace_id": DEFAULT_WORKSPACE}
        session.add(ProblemSet(id="pset", **owner, name="p", domain="math", content_sha256="0"))
        session.flush()
        job = InjectionJob(id=_JOB, **owner, problem_set_id="pset", config={"preset": "rules", "shard_size": 1})
        session.add(job)
        hints = plan_injection(session, job, shards)
    database.dispose()
    return hints


def work(url: str, broker: str, home: str, concurrency: int) -> None:
    """One worker, until it is told to end: both queues, threads of this process."""
    app = create_celery(broker)
    stages: dict[str, StageFunction] = {
        stage: through(following) for stage, following in zip(ROAD, (*ROAD[1:], None), strict=True)
    }
    database, store = Database(url, pool_size=2 * concurrency), StoreSettings(ERRATA_HOME=Path(home))
    services = Services(database, store, WorkerSettings(), Dispatcher(app), EnginePool(), JudgePool(1), stages)
    register(app, services)
    app.set_default()
    worker: Any = app.WorkController(
        pool="threads",
        concurrency=concurrency,
        queues=[GENERATION, GRADING],
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        loglevel="WARNING",
    )
    worker.start()


def ours(shards: int, workers: int, concurrency: int, seconds: float) -> float:
    """Stage executions a second."""
    with ExitStack() as stack:
        url, broker = stack.enter_context(own_database()), stack.enter_context(own_broker())
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="errata-noop-"))
        hints = plan(url, shards)
        Dispatcher(create_celery(broker)).send(hints)
        told = ["--part", "worker", "--url", url, "--broker", broker, "--home", home]
        command = [sys.executable, "-m", "bench.noop", *told, "--concurrency", str(concurrency)]
        children = [subprocess.Popen(command, cwd=ROOT) for _ in range(workers)]
        database = Database(url)
        try:
            until(lambda: _state(database) == JobState.SUCCEEDED, "the job to end", seconds)
        finally:
            for child in children:
                child.kill()  # nothing is left that it could lose
                child.wait()
        with database.read() as session:
            job = session.get_one(InjectionJob, _JOB)
            fences = session.scalar(select(func.sum(Shard.fence)))
        database.dispose()
        if job.started_at is None or job.finished_at is None or fences != shards * len(ROAD):
            raise RuntimeError(f"{fences} claims of {shards} shards")
        return shards * len(ROAD) / (job.finished_at - job.started_at).total_seconds()


def _state(database: Database) -> str | None:
    with database.read() as session:
        return session.scalar(select(InjectionJob.state).where(InjectionJob.id == _JOB))


def theirs(jobs: int, workers: int, concurrency: int, seconds: float) -> float:
    """Procrastinate's jobs a second."""
    python = os.environ["ERRATA_PROCRASTINATE_PYTHON"]
    with own_database() as url:
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

        def command(role: str, count: int) -> list[str]:
            return [python, str(_THEIRS), role, plain, str(count)]

        subprocess.run(command("fill", jobs), check=True, timeout=seconds)
        children = [subprocess.Popen(command("work", concurrency)) for _ in range(workers)]
        for child in children:
            if child.wait(seconds):
                raise RuntimeError("a worker of Procrastinate failed")
        told = subprocess.run(command("rate", 0), check=True, capture_output=True, text=True, timeout=seconds)
        return float(told.stdout)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Ours and theirs in turns; then ours with more workers."""
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(args.rounds):
        rates["ours"].append(ours(args.shards, 1, args.concurrency, args.seconds))
        rates["theirs"].append(theirs(args.shards * len(ROAD), 1, args.concurrency, args.seconds))
        print({name: round(each[-1], 1) for name, each in rates.items()}, file=sys.stderr, flush=True)
    one, other = (statistics.median(each) for each in rates.values())
    found = {1: one}
    for workers in args.workers:
        found[workers] = ours(args.shards, workers, args.concurrency, args.seconds)
        print(f"{workers} workers: {found[workers]:.1f}", file=sys.stderr, flush=True)
    told = {"executions_per_second": round(one, 1), "procrastinate_per_second": round(other, 1)}
    scaling = {workers: round(each / one, 2) for workers, each in found.items()}
    runs = {name: [round(rate, 1) for rate in each] for name, each in rates.items()}
    return {"benchmark": "noop", "ratio": round(one / other, 3), **told, "scaling": scaling, "runs": runs}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.noop", description="What a stage costs that does nothing.")
    parser.add_argument("--json", action="store_true", help="accepted for the sake of habit: there is one line of JSON")
    parser.add_argument("--shards", type=int, default=500, help="of six stages each")
    parser.add_argument("--concurrency", type=int, default=4, help="executions at once in a worker, on both sides")
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 16], help="also so many workers of ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600, help="longest time of one turn")
    for name in ("--part", "--url", "--broker", "--home"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part == "worker":
        work(args.url, args.broker, args.home, args.concurrency)
        return
    if not os.environ.get("ERRATA_PROCRASTINATE_PYTHON"):
        raise SystemExit("name an interpreter that has procrastinate with ERRATA_PROCRASTINATE_PYTHON: see bench.noop")
    report(measure(args))


if __name__ == "__main__":
    main()
