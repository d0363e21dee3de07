"""A database that is away when a stage ends: what was computed is kept and written when it is back."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from models.session import Database, passing
from models.states import ShardState, Stage
from tests.workers.road import ROAD, make_job, make_services, shards
from workers import runner
from workers.runner import run_shard
from workers.stages.base import Finish, StageContext


def refused() -> OperationalError:
    """What a real refused connection raises."""
    with pytest.raises(OperationalError) as caught:
        create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none").connect()
    return caught.value


class Away:
    """A database whose next writing transactions cannot begin."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, error: SQLAlchemyError) -> None:
        self.times, begin, mine = 0, database.begin, threading.get_ident()

        @contextmanager
        def sometimes() -> Iterator[Session]:
            if self.times and threading.get_ident() == mine:
                self.times -= 1
                raise error
            with begin() as session:
                yield session

        monkeypatch.setattr(database, "begin", sometimes)
        monkeypatch.setattr(runner, "_WRITE_AGAIN_SECONDS", 0.01)


@pytest.mark.parametrize("error", [refused(), PoolTimeout("no connection was free")], ids=["refused", "pool"])
def test_what_was_computed_is_written_when_the_database_is_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: SQLAlchemyError
) -> None:
    make_job(database)
    away, computed = Away(database, monkeypatch, error), []

    def stage(context: StageContext) -> Finish:
        computed.append(context.lease.shard_id)
        away.times = 3
        return Finish(Stage.GRADE)

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage})
    first = shards(database)[0].id
    assert run_shard(services, first) == "advanced"
    assert computed == [first]
    assert away.times == 0
    shard = shards(database)[0]
    assert (shard.stage, shard.state, shard.failures, shard.interruptions) == ("grade", ShardState.QUEUED, 0, 0)


def test_it_is_waited_for_as_long_as_the_lease_holds(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(database)
    away = Away(database, monkeypatch, refused())

    def stage(_: StageContext) -> Finish:
        away.times = 10**9
        services.stopping.set()  # as a lease that ran out: nothing is waited for any more
        return Finish(Stage.GRADE)

    services = make_services(database, tmp_path, {**ROAD, Stage.SAMPLE: stage})
    assert run_shard(services, shards(database)[0].id) == "interrupted"
    assert shards(database)[0].failures == 0


def test_what_passes_and_what_does_not(tmp_path: Path) -> None:
    assert passing(refused())
    assert passing(PoolTimeout())
    assert not passing(DataError("", {}, sqlite3.DataError("too long")))
    assert not passing(ProgrammingError("", {}, sqlite3.ProgrammingError("no such table")))
    first, second = (sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        second.execute("BEGIN IMMEDIATE")
    first.close()
    assert passing(OperationalError("", {}, locked.value))
    with pytest.raises(sqlite3.OperationalError) as wrong:
        second.execute("SELECT nothing FROM nowhere")
    second.close()
    assert not passing(OperationalError("", {}, wrong.value))
