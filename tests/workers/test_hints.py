"""Hints and the sweeper: either alone finishes a job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import update

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import JobState, ShardState, Stage
from tests.processes import until
from tests.workers.road import (
    PROBLEMS,
    ROAD,
    job_state,
    make_job,
    make_services,
    outcomes,
    shards,
    through,
)
from workers.app import create_celery
from workers.dispatch import Dispatcher
from workers.lifecycle import Hint
from workers.stages.base import Finish, StageContext
from workers.sweeper import Sweeper
from workers.worker import embedded_worker, register


def test_the_sweeper_resends_what_nobody_took_up(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD, resend_after_seconds=30)
    sweeper = Sweeper(database, services.dispatcher, services.settings)
    assert sweeper.sweep().sent == 0, "the hints of the plan are on their way"
    with database.begin() as session:
        session.execute(update(Shard).values(hinted_at=None))
    assert sweeper.sweep().sent == 3
    assert sweeper.sweep().sent == 0
    with database.begin() as session:
        session.execute(update(Shard).values(hinted_at=db_now(-31)))
    assert sweeper.sweep().sent == 3


def test_the_sweeper_ends_a_job_whose_last_worker_died_before_settling(database: Database, tmp_path: Path) -> None:
    make_job(database)
    services = make_services(database, tmp_path, ROAD)
    with database.begin() as session:
        session.execute(update(Shard).values(state=ShardState.DONE))
        session.execute(update(InjectionJob).values(state=JobState.RUNNING))
    assert Sweeper(database, services.dispatcher, services.settings).sweep().completed == 1
    assert job_state(database) == JobState.SUCCEEDED


@pytest.fixture
def celery() -> Iterator[Celery]:
    app = create_celery("memory://")
    yield app
    app.close()


def test_hints_alone_finish_a_job(sqlite_database: Database, tmp_path: Path, celery: Celery) -> None:
    """The sweeper is off: every step travels through Celery."""
    make_job(sqlite_database)
    services = make_services(sqlite_database, tmp_path, ROAD, sweep_seconds=3600, resend_after_seconds=3600)
    services.dispatcher = Dispatcher(celery)
    register(celery, services)
    with sqlite_database.begin() as session:
        session.execute(update(Shard).values(hinted_at=db_now()))
    with embedded_worker(celery, services):
        services.dispatcher.send(Hint(shard.id, "generation") for shard in shards(sqlite_database))
        until(lambda: job_state(sqlite_database) == JobState.SUCCEEDED, "the job's end")
    assert outcomes(sqlite_database) == PROBLEMS


def test_the_sweeper_alone_finishes_a_job_whose_every_hint_was_lost(
    sqlite_database: Database, tmp_path: Path, celery: Celery
) -> None:
    """The broker was down when the job was posted: no hint was ever sent."""
    make_job(sqlite_database)
    services = make_services(sqlite_database, tmp_path, ROAD, sweep_seconds=0.1, resend_after_seconds=0.5)
    services.dispatcher = Dispatcher(celery)
    register(celery, services)
    assert (
        Dispatcher(create_celery("redis://127.0.0.1:1/0")).send([Hint(shards(sqlite_database)[0].id, "grading")]) == 0
    )
    with embedded_worker(celery, services):
        until(lambda: job_state(sqlite_database) == JobState.SUCCEEDED, "the job's end")
    assert outcomes(sqlite_database) == PROBLEMS


def test_a_job_that_fills_generation_keeps_no_grading_waiting(
    sqlite_database: Database, tmp_path: Path, celery: Celery
) -> None:
    """Twelve shards of one problem, more than there are threads in all; one of them is at a grading stage."""
    make_job(sqlite_database, shard_size=1)
    graded, over = threading.Event(), threading.Event()

    def generate(context: StageContext) -> Finish:
        over.wait(60)
        return through(Stage.GRADE)(context)

    def grade(context: StageContext) -> Finish:
        graded.set()
        return through(Stage.PAIR)(context)

    stages = {**ROAD, Stage.SAMPLE: generate, Stage.GRADE: grade}
    services = make_services(sqlite_database, tmp_path, stages, sweep_seconds=0.1, resend_after_seconds=0.5)
    services.dispatcher = Dispatcher(celery)
    register(celery, services)
    last = shards(sqlite_database)[-1].id
    with embedded_worker(celery, services):
        until(lambda: _running(sqlite_database) >= services.settings.generation_threads, "generation to be full")
        try:
            with sqlite_database.begin() as session:
                session.execute(update(Shard).where(Shard.id == last).values(stage=Stage.GRADE, hinted_at=None))
            assert graded.wait(30), "grading waits behind generation"
            assert _running(sqlite_database) >= services.settings.generation_threads
        finally:
            over.set()
        until(lambda: job_state(sqlite_database) == JobState.SUCCEEDED, "the job's end")


def _running(database: Database) -> int:
    return sum(shard.state == ShardState.RUNNING for shard in shards(database))
