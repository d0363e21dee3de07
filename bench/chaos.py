"""What a storm of SIGKILLs loses: ``python -m bench.chaos --kills 50 --shards 600 --json``.

PostgreSQL, Redis, three workers and a sweeper of its own; a job of one-problem shards by preset ``rules`` with the real
stages. While it runs, workers are killed at random moments with all their children, and started again; with
``--services N`` every N-th kill takes Redis or PostgreSQL instead. ``--embedded N`` then kills the whole tree of
``errata serve`` N times amid a job of its own.

``lost`` and ``duplicated`` count pairs against a calm run over the same questions; ``ledger_adds_up`` says whether the
funnel does, and agrees with the rows. Exit status 1 where anything is lost, doubled or unaccounted for.

A storm of hours goes in pieces: with ``--keep FOLDER`` everything stays there, ``--seconds`` ends a piece (exit status
3), and the same command goes on with the same job. All that runs is killed between two pieces.
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

from bench.service import unwind_when_told
from bench.storms import SETTINGS, WORKER, Pairs, Storm, compare, ledger_adds_up, pairs_of
from models import migrate
from models.jobs import InjectionJob
from models.session import Database
from models.states import TERMINAL, JobState
from tests.chaos.forked import Nursery
from tests.chaos.posted import KINDS_OF_SUMS, post_sums, state_of, sum_at
from tests.ops.own_services import own_services
from tests.processes import Running, environment
from workers.app import create_celery
from workers.dispatch import Dispatcher

SERVE = ("serve", "--port", "0", "--no-trainer")
_GO_ON = 3  # exit status: the piece has ended, and not the job


def embedded(folder: Path, kills: int, shards: int, rng: random.Random) -> dict[str, Any]:
    """Kill the whole tree of ``errata serve`` amid a job, and start it again, on SQLite and ``memory://``."""
    env = environment(folder, **SETTINGS)
    url = f"sqlite:///{folder / 'errata.db'}"
    migrate.upgrade(url)
    database = Database(url)
    calm = pairs_of(database, _calm(database, env, shards))
    job_id, _ = post_sums(database, shards)
    for at in range(kills):
        with Running(*SERVE, env=env):
            _wait(database, job_id, int(shards * (at + 1) / (kills + 1)), 600)
            time.sleep(rng.uniform(0, 0.2))
    with Running(*SERVE, env=env):
        _wait(database, job_id, shards + 1, 600)
    return _report(database, job_id, calm, shards)


def _calm(database: Database, env: dict[str, str], shards: int, nursery: Nursery | None = None) -> str:
    """The job that makes undisturbed what a job of so many shards will; without a nursery, by ``errata serve``."""
    count = min(shards, KINDS_OF_SUMS)
    job_id, _ = post_sums(database, count)
    with ExitStack() as stack:
        if nursery is None:
            stack.enter_context(Running(*SERVE, env=env))
        else:
            for command in (WORKER, ("sweeper",)):
                stack.callback(nursery.start(*command).kill_tree)
        _wait(database, job_id, count + 1, 600)
    return job_id


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


def storm(
    folder: Path, kills: int, shards: int, services: int, seconds: float, seed: int, *, keep: bool = False
) -> dict[str, Any]:
    """The storm on PostgreSQL and Redis of its own; ``keep``: their data in ``folder``, to go on with later."""
    with own_services(folder, keep=keep) as (postgres, redis), ExitStack() as stack:
        migrate.upgrade(postgres.url)
        database = Database(postgres.url)
        stack.callback(database.dispose)
        env = environment(folder, DATABASE_URL=postgres.url, BROKER_URL=redis.url, **SETTINGS)
        nursery = stack.enter_context(Nursery(env))
        notes = folder / "storm.json"
        if notes.exists():
            so_far = json.loads(notes.read_text(encoding="utf-8"))
        else:
            calm_id = _calm(database, env, shards, nursery)
            job_id, hints = post_sums(database, shards)
            so_far = {"calm": calm_id, "job": job_id, "kills": 0, "service_kills": 0, "seconds": 0.0}
            Dispatcher(create_celery(redis.url)).send(hints)
            notes.write_text(json.dumps(so_far), encoding="utf-8")
        began = time.monotonic()

        def told() -> dict[str, float]:
            took = round(so_far["seconds"] + time.monotonic() - began, 1)
            return {"kills": runs.kills, "service_kills": runs.service_kills, "seconds": took}

        def note() -> None:
            notes.write_text(json.dumps({**so_far, **told()}), encoding="utf-8")

        runs = Storm(database, nursery, random.Random(seed + so_far["kills"]), (postgres, redis), note)
        runs.kills, runs.service_kills = so_far["kills"], so_far["service_kills"]
        state = runs.run(so_far["job"], shards, kills, services, seconds)
        note()
        if keep and state not in TERMINAL:
            return {"state": "to be continued", "shards": shards, "done": runs.done, **told()}
        return {**_report(database, so_far["job"], pairs_of(database, so_far["calm"]), shards), **told()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was lost; 1 where anything was, 3 where a piece has ended before the job."""
    given = _parser().parse_args(arguments)
    unwind_when_told()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        kept = given.keep or folder
        kept.mkdir(parents=True, exist_ok=True)
        keep = given.keep is not None
        report = storm(kept, given.kills, given.shards, given.services, given.seconds, given.seed, keep=keep)
        if given.embedded and "lost" in report:
            (folder / "embedded").mkdir()
            rng, shards = random.Random(given.seed), max(20, given.shards // 10)
            report["embedded"] = embedded(folder / "embedded", given.embedded, shards, rng)
    print(json.dumps(report) if given.json else json.dumps(report, indent=2))
    if "lost" not in report:
        return _GO_ON
    parts = [report, *([report["embedded"]] if given.embedded else [])]
    return 0 if all(part["ledger_adds_up"] and not part["lost"] + part["duplicated"] for part in parts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=600)
    parser.add_argument("--services", type=int, default=0, help="every so many kills take Redis or PostgreSQL")
    parser.add_argument("--embedded", type=int, default=0, help="kills of the whole tree of errata serve as well")
    parser.add_argument("--seconds", type=float, default=3600.0, help="give up after so long, or end the piece")
    parser.add_argument("--keep", type=Path, help="a folder, reachable for the user postgres, to go on from later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
