"""A database of an earlier migration, with work in flight: it upgrades, and today's code finishes the work.

``work_in_flight_0002.json`` holds the rows as the code of migration 0002 wrote them. An injection job has a shard at
every stage: one done, one that waits at each of ``sample``, ``grade``, ``edit`` and ``pair``, and one at ``prove``
whose worker died. An evaluation waits for its verdicts, and the trainer of a training run is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, func, select, text

from errata.funnel import Funnel
from models import migrate, run_leases
from models.jobs import InjectionJob, PairRow, Shard
from models.outputs import Evaluation, Event, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.states import TERMINAL, JobState, ShardState, TrainingState
from tests.workers.injection_jobs import PROBLEMS, Deaf
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES
from workers.sweeper import Sweeper

ROWS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "work_in_flight_0002.json").read_text(encoding="utf-8")
)


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Insert by plain SQL: the tables of the code may have other columns than those of the migration."""
    names = ", ".join(f'"{name}"' for name in row)
    values = {name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in row.items()}
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{n}' for n in row)})"), values)


@pytest.fixture
def upgraded(database_url: str) -> Iterator[Database]:
    """The database at migration 0002 with its rows, brought to the newest schema."""
    migrate.upgrade(database_url, "0002")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for table, rows in ROWS.items():
            for row in rows:
                insert(connection, table, row)
    engine.dispose()
    migrate.upgrade(database_url)
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def services(upgraded: Database, tmp_path: Path) -> Iterator[Services]:
    """A worker for that database. No language model is asked: what is left is done by rules and the judge."""
    store = StoreSettings(ERRATA_HOME=tmp_path)
    with JudgePool(1) as judge:
        yield Services(upgraded, store, WorkerSettings(), Deaf(), EnginePool(), judge, dict(STAGES))


def test_the_upgraded_schema_is_current(upgraded: Database) -> None:
    assert migrate.check(upgraded.url) == []


def test_the_jobs_of_an_upgraded_database_end(services: Services) -> None:
    database = services.db
    assert Sweeper(database, services.dispatcher, services.settings).sweep().expired == 1
    with database.read() as session:
        waiting = select(Shard).where(Shard.state == ShardState.QUEUED).order_by(Shard.position)
        assert {shard.stage for shard in session.scalars(waiting)} == {
            "sample",
            "grade",
            "edit",
            "prove",
            "pair",
            "judge",
        }
        ids = [shard.id for shard in session.scalars(waiting)]
    for shard_id in ids:
        while run_shard(services, shard_id) == "advanced":
            pass
    with database.read() as session:
        job = session.get_one(InjectionJob, "inj")
        assert (job.state, job.partial, job.error) == (JobState.SUCCEEDED, False, None)
        funnel = Funnel.from_dict(dict(job.funnel or {}))
        funnel.check()
        assert funnel.counts["problems"]["total"] == PROBLEMS
        assert funnel.counts["samples"]["first_errors"] == {"operator": PROBLEMS, "unclassified": 0}
        stored = session.scalar(select(func.count()).where(PairRow.job_id == "inj"))
        assert stored == funnel.counts["pairs"]["total"] >= 2 * PROBLEMS
        evaluation = session.get_one(Evaluation, "eval")
        assert evaluation.state == JobState.SUCCEEDED
        assert dict(evaluation.result or {})["accuracy"] == 1.0
        ended = session.scalars(select(Event.subject_id).where(Event.type.in_(sorted(TERMINAL)))).all()
        assert sorted(ended) == ["eval", "inj"]


def test_a_training_run_whose_trainer_is_gone_waits_again(upgraded: Database) -> None:
    with upgraded.begin() as session:
        assert run_leases.expire(session) == [("run", "ws_default", TrainingState.QUEUED)]
        assert session.get_one(TrainingRun, "run").fence == 2
