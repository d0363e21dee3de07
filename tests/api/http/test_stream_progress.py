"""What an event stream tells of a job between its events: stages, tokens, ETA, training steps; and how often."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api import stream_progress
from api.app import create_app
from api.http import events
from api.http.events import Pace
from api.settings import ApiSettings
from models.base import db_now, new_id
from models.jobs import InjectionJob, Shard
from models.outputs import Dataset, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE
from tests.api.conftest import KeptHints, bring, post_job, post_problems
from tests.api.http.test_events import STREAM, parse
from tests.api.test_injection_jobs import add_model

Streamed = Callable[[str, Callable[[], None]], list[dict[str, Any]]]


@pytest.fixture
def local(sqlite_database: Database, store: StoreSettings) -> TestClient:
    settings = ApiSettings(event_poll_seconds=0.01)
    return TestClient(create_app(sqlite_database, store, KeptHints(sqlite_database), settings))


LOOKS = 3


@pytest.fixture
def streamed(local: TestClient, monkeypatch: pytest.MonkeyPatch) -> Streamed:
    """Reads the progress that a stream tells; it is ended at the third look, which comes without a pause."""

    def read(url: str, end: Callable[[], None]) -> list[dict[str, Any]]:
        looks = 0

        def counted(answer: Any) -> dict[str, Any]:
            nonlocal looks
            looks += 1
            if looks == LOOKS:
                end()
            return stream_progress.streamed(answer)

        monkeypatch.setattr("api.jobs.streamed", counted)
        monkeypatch.setattr(events, "_PROGRESS_SECONDS", 0.0)
        answer = local.get(url, headers=STREAM)
        assert looks == LOOKS
        found = [event for event in parse(answer.text) if event["event"] == "progress"]
        assert all("id" not in event for event in found), "a reader resumes behind stored events alone"
        return [json.loads(event["data"])["data"] for event in found]

    assert events._PROGRESS_SECONDS >= 1, "as often as that is promised"
    return read


def test_a_stream_tells_stages_tokens_and_what_was_made(
    local: TestClient, sqlite_database: Database, streamed: Streamed
) -> None:
    set_id = post_problems(local)
    bring(local, set_id)
    job_id = str(post_job(local, set_id)["id"])
    told = {"share": 0.5, "made": 3, "total": 6, "completion": 1200}
    with sqlite_database.begin() as session:
        session.execute(update(InjectionJob).values(state="running", started_at=db_now(-60)))
        session.execute(update(Shard).values(state="running", stage="edit", progress=told))

    def end() -> None:
        with sqlite_database.begin() as session:
            session.execute(update(InjectionJob).values(state="failed"))

    found = streamed(f"/v1/injection-jobs/{job_id}/events", end)
    assert len(found) == 1, "what has not moved is not told again"
    [now] = found
    assert now["stages"] == {"edit": {"running": 1}}
    assert now["inside"]["edit"]["tokens"] == now["tokens"]["completion"] == 1200
    assert (now["problems_done"], now["problems_total"]) == (0, 5)
    assert now["eta_seconds"] > 0


def test_a_training_runs_stream_tells_its_steps(
    local: TestClient, sqlite_database: Database, streamed: Streamed
) -> None:
    post_problems(local)  # makes the workspace
    base = add_model(sqlite_database)
    with sqlite_database.begin() as session:
        dataset = Dataset(id=new_id("ds"), workspace_id=DEFAULT_WORKSPACE, name="d", state="succeeded", config={})
        session.add(dataset)
        session.flush()
        run = TrainingRun(
            id=new_id("train"), workspace_id=DEFAULT_WORKSPACE, dataset_id=dataset.id, base_model_id=base,
            output_name="o", config={}, state="running", step=3, total_steps=12,
        )  # fmt: skip
        session.add(run)
        run_id = run.id

    def end() -> None:
        with sqlite_database.begin() as session:
            session.execute(update(TrainingRun).values(state="failed"))

    [now] = streamed(f"/v1/training-jobs/{run_id}/events", end)
    assert (now["step"], now["total_steps"], now["fraction"]) == (3, 12, 0.25)


def test_the_pace_is_that_of_the_last_looks() -> None:
    pace = Pace()
    looks: list[dict[str, Any]] = [{"tokens": {"completion": 100 * at}} for at in range(30)]
    for at, look in enumerate(looks):
        pace.add(float(at), look)
    assert "tokens_per_second" not in looks[0]
    assert {look["tokens_per_second"] for look in looks[1:]} == {100.0}
    pace.add(30.0, still := {"fraction": 0.5})
    assert still == {"fraction": 0.5}
