"""How far a job is: by shard states, as ``/v1`` and as the dashboard say it, which must be the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from api.pages.format import duration, percent, plural
from api.progress import STAGES, ShardGroup, count_stages, elapsed_seconds, eta_seconds, seconds_left
from api.settings import ApiSettings
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.leases import OwnerTable
from models.outputs import Dataset, Evaluation, Metric, Rejudging, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.states import Stage
from models.workspaces import DEFAULT_WORKSPACE
from tests.dashboard_rows import fill
from workers.app import create_celery
from workers.dispatch import Dispatcher

Shards = dict[tuple[str, str], int]  # (stage, state) -> how many


#: What every running shard tells, in the cases that say so.
TOLD = {"made": 3, "total": 8, "share": 0.5, "prompt": 70, "completion": 50, "cached": 20}


@dataclass(frozen=True)
class Case:
    """A job that started 600 s ago, and what has to be said of it: ``left`` is None where no time left is told."""

    shards: Shards
    fraction: float
    left: float | None = None
    kind: str = "jobs"
    state: str = "running"
    told: bool = False


CASES = {
    "quarantined shards have ended": Case({("pair", "done"): 8, ("edit", "quarantined"): 2}, 1.0, 0.0),
    "others go on beside a quarantined shard": Case(
        {("pair", "done"): 5, ("edit", "quarantined"): 1, ("prove", "running"): 3, ("sample", "queued"): 1}, 0.8, 150
    ),
    "continuations are a stage": Case({("continue", "running"): 1, ("edit", "queued"): 1}, 5 / 12, 840),
    "hardly begun": Case({("sample", "running"): 40, ("grade", "queued"): 1}, 1 / 6 / 41),
    "cancelled shards have ended": Case(
        {("edit", "cancelled"): 3, ("pair", "done"): 1, ("edit", "running"): 1}, (4 + 2 / 6) / 5, state="cancelling"
    ),
    "half through a stage": Case({("sample", "running"): 2, ("sample", "queued"): 2}, 1 / 24, 600 * 23, told=True),
    "an evaluation half through": Case({("answer", "running"): 1}, 1 / 4, 1800, "evaluations", told=True),
    "no shards": Case({}, 0.0),
    "waiting": Case({("sample", "queued"): 4}, 0.0, state="queued"),
    "a dataset": Case({("freeze", "running"): 1}, 0.0, kind="datasets"),
    "an evaluation": Case(
        {("judge", "done"): 1, ("judge", "running"): 1, ("answer", "quarantined"): 2}, 7 / 8, 600 / 7, "evaluations"
    ),
}
OWNERS: dict[str, tuple[OwnerTable, str, str, str]] = {
    "jobs": (InjectionJob, "inj_far", "injection_job_id", "/v1/injection-jobs/inj_far"),
    "datasets": (Dataset, "ds_far", "dataset_id", "/v1/datasets/ds_far"),
    "evaluations": (Evaluation, "eval_far", "evaluation_id", "/v1/evaluations/eval_far"),
}
_OWN: dict[str, dict[str, Any]] = {
    "jobs": {"problem_set_id": "pset_pears", "name": "far"},
    "datasets": {"name": "far"},
    "evaluations": {"problem_set_id": "pset_pears", "language_model_id": "lm_tiny", "name": "far"},
}


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[TestClient]:
    fill(database)
    app = create_app(
        database, StoreSettings(ERRATA_HOME=tmp_path), Dispatcher(create_celery("memory://")), ApiSettings()
    )
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def _add(database: Database, kind: str, state: str, shards: Shards, *, told: bool = False) -> None:
    table, row_id, column, _ = OWNERS[kind]
    config = {"temperature": 0.0}
    with database.begin() as session:
        row = table(id=row_id, workspace_id=DEFAULT_WORKSPACE, state=state, config=config, **_OWN[kind])
        row.started_at = None if state == "queued" else db_now(-600)
        session.add(row)
        session.flush()
        each = [key for key, count in shards.items() for _ in range(count)]
        for position, (stage, at) in enumerate(each):
            owner = {column: row_id, "position": position}
            more = {"progress": TOLD} if told and at == "running" else {}
            session.add(Shard(id=f"shard_far{position}", stage=stage, state=at, start=0, stop=1, **owner, **more))


def _shown(client: TestClient, kind: str) -> str:
    """What the dashboard's list says of the row: its share, its time, in one line."""
    [row] = [row for row in client.get(f"/{kind}").text.split("<li") if f"/{kind}/{OWNERS[kind][1]}" in row]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split())


@pytest.mark.parametrize("name", CASES)
def test_json_and_page_say_the_same(client: TestClient, database: Database, name: str) -> None:
    case = CASES[name]
    _add(database, case.kind, case.state, case.shards, told=case.told)
    told = client.get(OWNERS[case.kind][3]).json()["progress"]
    assert told["fraction"] == pytest.approx(case.fraction, abs=1e-4)
    assert told["eta_seconds"] == (None if case.left is None else pytest.approx(case.left, rel=0.1, abs=1))
    counts = dict.fromkeys(("done", "quarantined", "cancelled"), 0)
    counts |= {state: n for (_, state), n in case.shards.items() if state in counts}
    assert {state: told["shards"][state] for state in counts} == counts, "what is lost is told apart"
    shown = _shown(client, case.kind)
    assert percent(told["fraction"]) in shown
    assert (" left" in shown) == (told["eta_seconds"] is not None)
    if case.kind == "jobs":
        page = client.get("/jobs/inj_far").text
        assert ("quarantined" in page) == (counts["quarantined"] > 0)
        assert (f"{plural(counts['quarantined'], 'shard')} quarantined" in page) == (counts["quarantined"] > 0)
    if told["eta_seconds"] is not None:
        # Time passes between the answers, and each second of it may be many of what is left.
        later = client.get(OWNERS[case.kind][3]).json()["progress"]["eta_seconds"]
        between = range(math.floor(told["eta_seconds"]) - 1, math.ceil(later) + 2)
        near = {f"about {duration(seconds)} left" for seconds in between}
        assert any(text in shown for text in near), (shown, near)


def test_what_running_stages_made_is_told_everywhere(client: TestClient, database: Database) -> None:
    _add(
        database,
        "jobs",
        "running",
        {("sample", "running"): 2, ("edit", "running"): 1, ("edit", "queued"): 1},
        told=True,
    )
    answer = client.get("/v1/injection-jobs/inj_far").json()["progress"]
    assert answer["inside"] == {
        "sample": {"unit": "samples", "made": 6, "total": 16, "tokens": 100, "doing": None},
        "edit": {"unit": "edits", "made": 3, "total": 8, "tokens": 50, "doing": None},
    }
    assert answer["made"] == {"samples": 6, "edits": 3}
    assert answer["tokens"] == {"prompt": 210, "completion": 150, "cached": 60, "reused": 0}
    page = " ".join(client.get("/jobs/inj_far").text.split())
    assert "6 of 16 samples, 100 tokens" in page
    assert "3 of 8 edits, 50 tokens" in page
    with database.begin() as session:
        waits = {"made": 0, "total": 0, "share": 0.0, "prompt": 0, "completion": 0, "cached": 0, "doing": "loading it"}
        session.execute(update(Shard).where(Shard.stage == "edit", Shard.state == "running").values(progress=waits))
    assert client.get("/v1/injection-jobs/inj_far").json()["progress"]["inside"]["edit"]["doing"] == "loading it"
    assert "loading it" in client.get("/jobs/inj_far").text


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_is_all_there_is_whatever_its_shards_did(
    client: TestClient, database: Database, state: str
) -> None:
    _add(database, "jobs", state, {("pair", "done"): 1, ("edit", "quarantined"): 1, ("sample", "cancelled"): 1})
    told = client.get(OWNERS["jobs"][3]).json()["progress"]
    assert (told["fraction"], told["eta_seconds"]) == (1.0, None)
    shown = _shown(client, "jobs")
    assert "%" not in shown
    assert " left" not in shown


def test_a_run_has_one_time_left_in_list_page_and_json(client: TestClient, database: Database) -> None:
    told = client.get("/v1/training-jobs/train_pears").json()
    assert told["eta_seconds"] is None, "all metrics came at once"
    assert " left" not in client.get("/training").text
    with database.begin() as session:
        for step in range(1, 61):
            written = update(Metric).where(Metric.run_id == "train_pears", Metric.step == step)
            session.execute(written.values(created_at=db_now(4 * (step - 60))))
    told = client.get("/v1/training-jobs/train_pears").json()
    assert told["eta_seconds"] == pytest.approx(80, abs=2), "20 steps of 4 s"
    near = [f"about {duration(told['eta_seconds'] + late)} left" for late in (-1, 0, 1)]
    for url in ("/", "/training", "/training/train_pears"):
        assert any(text in client.get(url).text for text in near), url


def test_stages_count_the_shards_past_in_and_before_them() -> None:
    counts = {("pair", "done"): 2, ("edit", "running"): 1, ("sample", "queued"): 1, ("continue", "running"): 1}
    groups = [ShardGroup(stage, state, n, n) for (stage, state), n in counts.items()]
    stages = count_stages(STAGES[InjectionJob], groups)
    assert [(s.stage, s.done, s.running, s.waiting) for s in stages] == [
        ("sample", 4, 0, 1),
        ("grade", 4, 0, 0),
        ("edit", 3, 1, 0),
        ("prove", 2, 1, 0),
        ("pair", 2, 0, 0),
    ]
    assert [s.share for s in stages] == [0.8, 0.8, 0.6, 0.4, 0.4]
    assert count_stages(STAGES[InjectionJob], [])[0].share == 0.0


def test_every_stage_belongs_to_one_kind_of_job() -> None:
    walked = [stage for stages in STAGES.values() for stage in stages]
    assert sorted(walked) == sorted(Stage)
    assert set(STAGES) == {InjectionJob, Dataset, Evaluation, Rejudging}


def test_the_time_left_follows_the_speed_and_is_not_guessed() -> None:
    assert eta_seconds("running", 0.25, 100.0) == 300
    assert eta_seconds("running", 0.01, 100.0) is None
    assert eta_seconds("cancelling", 0.5, 100.0) is None
    assert eta_seconds("running", 0.5, None) is None
    run = TrainingRun(state="running", step=60, total_steps=80)
    assert seconds_left(run, 2.0) == 40
    assert seconds_left(run, None) is None
    assert seconds_left(TrainingRun(state="paused", step=60, total_steps=80), 2.0) is None


def test_elapsed_time_ends_with_the_job() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    job = InjectionJob(started_at=now - timedelta(seconds=90), finished_at=now - timedelta(seconds=30))
    assert elapsed_seconds(job, now) == 60
    job.finished_at = None
    assert elapsed_seconds(job, now) == 90
    assert elapsed_seconds(InjectionJob(), now) is None
