"""Databases and brokers that go away under real workers: what is lost (nothing), and what is said (one line)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import make_url

from models import migrate
from models.session import Database
from models.states import JobState
from tests.chaos.posted import post_sums, state_of
from tests.processes import Running, environment, until
from tests.proxies import Proxy
from tests.workers.test_broker import redis_server
from workers.app import create_celery
from workers.dispatch import Dispatcher

pytestmark = [pytest.mark.services, pytest.mark.chaos]


def lines_of(process: Running, level: str) -> list[dict[str, str]]:
    """What it logged at this level."""
    parsed = [json.loads(line) for line in process.output if line.startswith("{")]
    return [line for line in parsed if line["level"] == level]


@pytest.mark.timeout(900)
def test_an_outage_of_postgres_is_one_line_per_role_and_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    """Hints wait in the queue meanwhile: each of them cost a traceback once (113,000 lines in one worker)."""
    migrate.upgrade(postgres_url)
    database, server = Database(postgres_url), make_url(postgres_url)
    with redis_server(tmp_path) as port, Proxy(server.port or 5432) as proxy:
        url = server.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        settings = {"ERRATA_LEASE_SECONDS": "20", "ERRATA_SWEEP_SECONDS": "1", "ERRATA_RESEND_AFTER_SECONDS": "1"}
        env = environment(tmp_path, DATABASE_URL=url, BROKER_URL=f"redis://127.0.0.1:{port}/0", **settings)
        with (
            Running("worker", "--queues", "generation,grading", env=env) as worker,
            Running("sweeper", env=env) as sweeper,
        ):
            job, hints = post_sums(database, 40)
            broker = Dispatcher(create_celery(env["BROKER_URL"]))
            broker.send(hints)
            until(lambda: state_of(database, job)[1] >= 2, "the first shards", 240)
            proxy.down()
            broker.send(hints * 5)
            until(lambda: all("the database is away" in each.text for each in (worker, sweeper)), "their notice", 120)
            proxy.up()
            until(lambda: state_of(database, job)[0] == JobState.SUCCEEDED, "the job's end", 300)
        for process in (worker, sweeper):
            away = [line for line in lines_of(process, "WARNING") if "the database is away" in line["message"]]
            assert len(away) <= 2, process.text  # a probe may get through amid the outage
            assert lines_of(process, "ERROR") == []
            assert "Traceback" not in process.text
            assert server.password is None or server.password not in process.text
        info = [line["message"] for line in lines_of(worker, "INFO")]
        assert {"job started", "job finished", "the database is back"} <= set(info)
    database.dispose()
