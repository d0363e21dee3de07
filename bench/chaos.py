"""What a storm of SIGKILLs loses: ``python -m bench.chaos --kills 50 --shards 600 --json``.

PostgreSQL, Redis, three workers and a sweeper of its own; a job of one-problem shards by preset ``rules`` with the real
stages. While it runs, workers are killed at random moments with all their children, and started again; with
``--services N`` every N-th kill takes Redis or PostgreSQL instead. ``--embedded N`` then kills the whole tree of
``errata serve`` N times amid a job of its own.

``lost`` and ``duplicated`` count pairs against a calm run over the same questions; ``ledger_adds_up`` says whether the
funnel does, and agrees with the rows. Exit status 1 where anything is lost, doubled or unaccounted for.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from errata.funnel import Funnel, FunnelError
from models import migrate
from models.jobs import EditRow, InjectionJob, PairRow, ProblemOutcome, Shard, SolutionRow
from models.session import Database
from models.states import TERMINAL, JobState
from tests.chaos.forked import Nursery
from tests.chaos.posted import KINDS_OF_SUMS, post_sums, state_of, sum_at
from tests.ops.own_services import OwnRedis, OwnServer, own_services
from tests.processes import Running, environment
from workers.app import create_celery
from workers.dispatch import Dispatcher

SETTINGS = {
    "ERRATA_LEASE_SECONDS": "8",
    "ERRATA_HEARTBEAT_SECONDS": "2",
    "ERRATA_SWEEP_SECONDS": "2",
    "ERRATA_RESEND_AFTER_SECONDS": "4",
    "ERRATA_LOG_LEVEL": "ERROR",
}
SERVE = ("serve", "--port", "0", "--no-trainer")
WORKER = ("worker", "--queues", "generation,grading")
_TELL_SECONDS = 10.0
_BEFORE_THE_LAST = 0.8  # of the shards: the rest is still to do when the last kill comes
Pairs = dict[str, Counter[tuple[str, str, str]]]


def pairs_of(database: Database, job_id: str) -> Pairs:
    """By question, the texts of its pairs, each with how often it is there."""
    row = PairRow
    found: Pairs = {}
    with database.read() as session:
        for question, *texts in session.execute(
            select(row.question, row.prefix, row.chosen, row.rejected).where(row.job_id == job_id)
        ):
            found.setdefault(question, Counter())[(texts[0], texts[1], texts[2])] += 1
    return found


def compare(found: Pairs, calm: Pairs, times: Counter[str]) -> tuple[int, int]:
    """Pairs lost and doubled; ``times``: how often the job asks each question."""
    lost = duplicated = 0
    for question, count in times.items():
        wanted = Counter({pair: count * each for pair, each in calm.get(question, Counter()).items()})
        have = found.get(question, Counter())
        lost += (wanted - have).total()
        duplicated += (have - wanted).total()
    return lost, duplicated


def ledger_adds_up(database: Database, job_id: str) -> bool:
    """Whether the job's funnel balances, is that of its shards, and counts the rows that are there."""
    with database.read() as session:
        job = session.get_one(InjectionJob, job_id)
        ledgers = session.scalars(select(Shard.ledger).where(Shard.injection_job_id == job_id)).all()
        rows = {
            table: session.scalar(select(func.count()).select_from(table).where(table.job_id == job_id))
            for table in (SolutionRow, EditRow, PairRow, ProblemOutcome)
        }
    total = Funnel.total(ledger["funnel"] for ledger in ledgers if ledger.get("funnel"))
    try:
        total.check()
    except FunnelError:
        return False
    counts = total.counts
    told = [counts["samples"]["total"], counts["edits"]["total"], counts["pairs"]["total"], counts["problems"]["total"]]
    return told == list(rows.values()) and total.to_dict() == (job.funnel or {})


class Storm:
    """A job under kills: workers are killed in turn by chance, and replaced."""

    def __init__(self, database: Database, nursery: Nursery, rng: random.Random, servers: Sequence[OwnServer]) -> None:
        self._database, self._nursery, self._rng, self._servers = database, nursery, rng, servers
        self.kills = self.service_kills = 0

    def run(self, job_id: str, shards: int, kills: int, services: int, seconds: float) -> str:
        """Spread the kills over four fifths of the job, and see it to its end; the state it then has."""
        workers = [self._nursery.start(*WORKER) for _ in range(3)]
        sweeper = self._nursery.start("sweeper")
        began = told = time.monotonic()
        while time.monotonic() < began + seconds:
            state, done = self._state(job_id)
            if state in TERMINAL:
                return state
            if time.monotonic() > told + _TELL_SECONDS:
                told = time.monotonic()
                print(f"{told - began:.0f} s: {done} of {shards} shards, {self.kills} kills", file=sys.stderr)
            if self.kills < kills and done >= _BEFORE_THE_LAST * shards * self.kills / kills:
                time.sleep(self._rng.uniform(0, 0.2))
                self.kills += 1
                if services and self.kills % services == 0:
                    self._lose_a_service()
                else:
                    at = self._rng.randrange(len(workers))
                    workers[at].kill_tree()
                    workers[at] = self._nursery.start(*WORKER)
                continue
            workers = [self._nursery.start(*WORKER) if each.ended else each for each in workers]
            sweeper = self._nursery.start("sweeper") if sweeper.ended else sweeper
            time.sleep(0.05)
        return self._state(job_id)[0]

    def _lose_a_service(self) -> None:
        """Kill one of the servers and start it again; every second Redis has lost its hints as well."""
        server = self._rng.choice(self._servers)
        if isinstance(server, OwnRedis) and self._rng.random() < 0.5:
            server.wipe()
        server.restart()
        self.service_kills += 1

    def _state(self, job_id: str) -> tuple[str, int]:
        try:
            return state_of(self._database, job_id)
        except SQLAlchemyError:  # its server is being started again
            return "", 0


def embedded(folder: Path, kills: int, shards: int, rng: random.Random) -> dict[str, Any]:
    """Kill the whole tree of ``errata serve`` amid a job, and start it again, on SQLite and ``memory://``."""
    env = environment(folder, **SETTINGS)
    url = f"sqlite:///{folder / 'errata.db'}"
    migrate.upgrade(url)
    database = Database(url)
    calm = _calm(database, env)
    job_id, _ = post_sums(database, shards)
    for at in range(kills):
        with Running(*SERVE, env=env):
            _wait(database, job_id, int(shards * (at + 1) / (kills + 1)), 600)
            time.sleep(rng.uniform(0, 0.2))
    with Running(*SERVE, env=env):
        _wait(database, job_id, shards + 1, 600)
    return _report(database, job_id, calm, shards)


def _calm(database: Database, env: dict[str, str], nursery: Nursery | None = None) -> Pairs:
    """The pairs of every question that jobs ask, made undisturbed; without a nursery, by ``errata serve``."""
    job_id, _ = post_sums(database, KINDS_OF_SUMS)
    with ExitStack() as stack:
        if nursery is None:
            stack.enter_context(Running(*SERVE, env=env))
        else:
            for command in (WORKER, ("sweeper",)):
                stack.callback(nursery.start(*command).kill_tree)
        _wait(database, job_id, KINDS_OF_SUMS + 1, 600)
    return pairs_of(database, job_id)


def _wait(database: Database, job_id: str, done: int, seconds: float) -> None:
    """Until so many shards are done, or the job has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        state, reached = state_of(database, job_id)
        if reached >= done or state in TERMINAL:
            return
        time.sleep(0.05)
    raise RuntimeError(f"the job did not come to {done} shards within {seconds:g} s")


def _report(database: Database, job_id: str, calm: Pairs, shards: int) -> dict[str, Any]:
    with database.read() as session:
        state = session.get_one(InjectionJob, job_id).state
    times = Counter(sum_at(position)[0] for position in range(shards))
    lost, duplicated = compare(pairs_of(database, job_id), calm, times)
    adds_up = state == JobState.SUCCEEDED and ledger_adds_up(database, job_id)
    pairs = sum(count * calm[question].total() for question, count in times.items() if question in calm)
    told = {"state": state, "shards": shards, "pairs": pairs, "lost": lost, "duplicated": duplicated}
    return {**told, "ledger_adds_up": adds_up}


def storm(folder: Path, kills: int, shards: int, services: int, seconds: float, seed: int) -> dict[str, Any]:
    """The storm on PostgreSQL and Redis of its own."""
    with own_services(folder) as (postgres, redis), ExitStack() as stack:
        migrate.upgrade(postgres.url)
        database = Database(postgres.url)
        env = environment(folder, DATABASE_URL=postgres.url, BROKER_URL=redis.url, **SETTINGS)
        nursery = stack.enter_context(Nursery(env))
        calm = _calm(database, env, nursery)
        job_id, hints = post_sums(database, shards)
        Dispatcher(create_celery(redis.url)).send(hints)
        began = time.monotonic()
        runs = Storm(database, nursery, random.Random(seed), (postgres, redis))
        runs.run(job_id, shards, kills, services, seconds)
        took = round(time.monotonic() - began, 1)
        report = _report(database, job_id, calm, shards)
        database.dispose()
    return {**report, "kills": runs.kills, "service_kills": runs.service_kills, "seconds": took}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was lost; 1 where anything was."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=600)
    parser.add_argument("--services", type=int, default=0, help="every so many kills take Redis or PostgreSQL")
    parser.add_argument("--embedded", type=int, default=0, help="kills of the whole tree of errata serve as well")
    parser.add_argument("--seconds", type=float, default=3600.0, help="give up after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        report = storm(folder, given.kills, given.shards, given.services, given.seconds, given.seed)
        if given.embedded:
            (folder / "embedded").mkdir()
            rng, shards = random.Random(given.seed), max(20, given.shards // 10)
            report["embedded"] = embedded(folder / "embedded", given.embedded, shards, rng)
    print(json.dumps(report) if given.json else json.dumps(report, indent=2))
    parts = [report, *([report["embedded"]] if given.embedded else [])]
    return 0 if all(part["ledger_adds_up"] and not part["lost"] + part["duplicated"] for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
