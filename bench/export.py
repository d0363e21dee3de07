"""Pace of a freeze beside the database's own: ``python -m bench.export [--pairs N] [--database sqlite] [--json]``.

A finished job of ``--pairs`` pairs (default: a million) made of real GSM8K solutions stands in a PostgreSQL database of
the benchmark's own; in an SQLite file where asked, or where no PostgreSQL answers. Its pairs are read, put in order,
split and written by the very functions of the stage ``freeze``, in the shape ``steps_and_full``, once as Parquet alone
and once as JSON lines alone; counts and audit belong to the whole stage. Just before and just after each, the same
columns are read barely: ``COPY (SELECT ...) TO STDOUT`` on PostgreSQL, a ``SELECT`` of tuples on SQLite, which are
thrown away.

``ratio_parquet`` and ``ratio_jsonl``: rows per second of the stage's functions by those of the bare reading; the best
of ``--rounds`` each, so that other work on the machine hurts neither more. ``rss_rise_mb``: by how much the resident
memory of the process rose at most meanwhile. ``freeze_seconds`` and ``freeze_rss_mb``: of the whole stage with the
default shapes, audit, hashes and all, in a process of its own: how long it took and how large that process was at most.
``freeze_cpu_seconds``: the processor time of that process and of the judge's children, without the database's.
``gates``: which share of those seconds each gate took, the audit with the shortcuts.

``parquet_cpu_us``, ``jsonl_cpu_us`` and ``bare_cpu_us``: microseconds of processor time a pair in this process, without
the database's. They say what a busy machine hides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

import psutil

from bench.export_rows import JOB, WORKSPACE, add_job
from bench.service import report
from errata.output_config import DatasetConfig
from models import leases
from models.base import new_id
from models.jobs import PairRow, Shard
from models.migrate import Base
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import Stage
from tests.ops.services import own_database, postgres_answers
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.stages import freeze as freezing
from workers.stages.base import StageContext
from workers.stages.bulk_reading import steady_memory
from workers.stages.dataset_files import DatasetFiles
from workers.stages.dataset_rows import begin_reading, pair_columns
from workers.stages.dataset_selection import DatasetSelection
from workers.stages.dataset_sources import JobSource
from workers.stages.gates import DatasetGates

_LOOK_SECONDS = 0.02
_LEASE_SECONDS = 7200
_MB = 1_000_000


@contextmanager
def memory() -> Iterator[Callable[[], float]]:
    """Watches this process: what it answers is the largest resident memory so far, in MB."""
    process, done = psutil.Process(), threading.Event()
    largest = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            largest[0] = max(largest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(largest[0], process.memory_info().rss) / _MB
    finally:
        done.set()
        thread.join()


class Spent(NamedTuple):
    """Seconds by the clock, and of processor time in this process."""

    seconds: float
    cpu: float

    @classmethod
    def now(cls) -> Self:
        """What both clocks show."""
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> Spent:
        """What was spent since these clocks were read."""
        now = self.now()
        return Spent(now.seconds - self.seconds, now.cpu - self.cpu)

    @staticmethod
    def best(rounds: Sequence[Spent]) -> Spent:
        """The least of each."""
        return Spent(min(each.seconds for each in rounds), min(each.cpu for each in rounds))


def bare(database: Database) -> Spent:
    """What the bare reading of the columns of the job's pairs takes."""
    stored = PairRow.__table__.c
    names = ", ".join(f'"{column.key}"' for column in pair_columns().values() if column.key in stored)
    query = f"SELECT {names} FROM pairs WHERE job_id = '{JOB}'"
    with database.read() as session:
        cursor: Any = session.connection().connection.cursor()
        began = Spent.now()
        if database.is_postgres:
            with cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
                for _ in copy:
                    pass
        else:
            for _ in cursor.execute(query):
                pass
        spent = began.since()
        cursor.close()
        return spent


def context_of(database: Database, home: Path, lease: leases.Lease) -> StageContext:
    """What a worker gives the stage."""
    return StageContext(database, StoreSettings(ERRATA_HOME=home), lease, EnginePool(), JudgePool(), lambda: False)


def claimed(database: Database, shapes: list[str] | None = None) -> leases.Lease:
    """A dataset of the job, claimed as a worker would; all of the default shapes, or these."""
    config = DatasetConfig(jobs=[JOB], **({} if shapes is None else {"shapes": shapes}))
    with database.begin() as session:
        dataset = Dataset(id=new_id("ds"), workspace_id=WORKSPACE, name="bench", config=config.model_dump(mode="json"))
        session.add(dataset)
        session.flush()
        shard = Shard(id=new_id("shard"), dataset_id=dataset.id, position=0, stage=Stage.FREEZE)
        session.add(shard)
        session.flush()
        lease = leases.claim(session, shard.id, "bench", _LEASE_SECONDS)
    if lease is None:
        raise RuntimeError("the dataset could not be claimed")
    return lease


def written(database: Database, home: Path, lease: leases.Lease, form: str) -> Spent:
    """What it takes to read the job's pairs and to write them in one form, split as a dataset is."""
    with steady_memory(), tempfile.TemporaryDirectory(dir=home) as folder, database.read() as session:
        began = Spent.now()
        begin_reading(session)
        chosen = DatasetSelection(session, lease.owner_id)
        source = JobSource(session, chosen.jobs[0], chosen.domains[JOB], chosen.config)
        with DatasetFiles(Path(folder), chosen.shapes, (form,)) as files:
            for split, table in source.pairs(chosen.split):
                files.add_table(chosen.shapes[0], split, table)
        return began.since()


def processor_seconds() -> float:
    """User and system seconds of this process and of its children, those that live and those that ended."""
    process = psutil.Process()
    spent = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in spent)


@contextmanager
def gates_watched() -> Iterator[list[DatasetGates]]:
    """The gates of the freezes that run meanwhile, with the seconds that each took."""
    made: list[DatasetGates] = []

    def watched(*arguments: Any) -> DatasetGates:
        made.append(DatasetGates(*arguments))
        return made[-1]

    with mock.patch.object(freezing, "DatasetGates", watched):
        yield made


def whole(url: str, home: Path) -> dict[str, Any]:
    """The whole stage, default shapes and audit: seconds and the largest resident memory in MB."""
    database = Database(url)
    lease = claimed(database)
    with memory() as largest, gates_watched() as gates:
        began, cpu = time.perf_counter(), processor_seconds()
        finish = freezing.freeze(context_of(database, home, lease))
        seconds, cpu = time.perf_counter() - began, processor_seconds() - cpu
        rss = largest()
    with database.begin() as session:
        if leases.finish(session, lease, finish.next_stage) is None:
            raise RuntimeError("the lease was lost")
        finish.write(session)
    with database.read() as session:
        dataset = session.get_one(Dataset, lease.owner_id)
        if dataset.manifest is None:
            raise RuntimeError(f"the freeze failed: {dataset.error}")
        shapes = dataset.manifest["rows"]
    shares = {gate: round(each / seconds, 3) for gate, each in sorted(gates[0].seconds.items(), key=lambda of: -of[1])}
    told = {"freeze_seconds": round(seconds, 1), "freeze_cpu_seconds": round(cpu, 1), "freeze_rss_mb": round(rss)}
    return {**told, "shapes": shapes, "gates": shares}


def measure(url: str, home: Path, pairs: int, rounds: int) -> dict[str, Any]:
    """Every figure of the two forms, in this process."""
    database = Database(url)
    lease = claimed(database, ["steps_and_full"])
    bare(database)
    figures: dict[str, Any] = {}
    rises = []
    for form in ("parquet", "jsonl"):
        before = psutil.Process().memory_info().rss / _MB
        with memory() as largest:
            bares, times = [bare(database)], []
            for _ in range(rounds):
                times.append(written(database, home, lease, form))
                bares.append(bare(database))
            rises.append(largest() - before)
        best, quickest = Spent.best(times), Spent.best(bares)
        figures[f"ratio_{form}"] = round(quickest.seconds / best.seconds, 3)
        figures[f"{form}_rows_per_second"] = round(pairs / best.seconds)
        figures[f"{form}_cpu_us"] = round(1e6 * best.cpu / pairs, 1)
        figures["bare_rows_per_second"] = round(pairs / quickest.seconds)
        figures["bare_cpu_us"] = round(1e6 * quickest.cpu / pairs, 1)
    return {**figures, "rss_rise_mb": round(max(rises), 1)}


def run(pairs: int, rounds: int, sqlite: bool) -> dict[str, Any]:
    """Make the job, then measure, each part in a process of its own."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="errata-export-")))
        sqlite = sqlite or not postgres_answers()
        url = f"sqlite:///{home / 'bench.db'}" if sqlite else stack.enter_context(own_database())
        database = Database(url)
        Base.metadata.create_all(database.engine)
        add_job(database, pairs)
        database.dispose()
        told = {"pairs": pairs, "database": "sqlite" if sqlite else "postgresql"}
        for part in ("forms", "whole"):
            asked = [sys.executable, "-m", "bench.export", "--part", part, "--url", url, "--home", str(home)]
            asked += ["--pairs", str(pairs), "--rounds", str(rounds)]
            done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
            told |= json.loads(done.stdout)
        return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--json", action="store_true", help="one line of JSON (it is printed either way)")
    for name in ("--part", "--url", "--home"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "forms":
        report(measure(given.url, Path(given.home), given.pairs, given.rounds))
    elif given.part == "whole":
        report(whole(given.url, Path(given.home)))
    else:
        report(run(given.pairs, given.rounds, given.database == "sqlite"))


if __name__ == "__main__":
    main()
