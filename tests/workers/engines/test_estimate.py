"""An estimate with a language model: the pilot's forecast against the job that follows, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.settings import ApiSettings
from demo import problems
from models.accounts import DEFAULT_WORKSPACE
from models.jobs import Shard
from models.language_models import LanguageModel
from models.session import Database
from models.settings import StoreSettings
from tests.workers.engines.conftest import MODEL
from workers.dispatch import Dispatcher, Hint
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages.table import STAGES

COUNT, PILOT = 36, 12
JOB = {
    "language_model": "miniature",
    "config": {
        "sampling": {"temperature": 1.0, "max_tokens": 200},
        "editing": {"max_tokens": 64},
        "proof": {"continuations": {"when": "always", "k": 2, "max_tokens": 200}},
        "shard_size": 16,
    },
}


class _Deaf(Dispatcher):
    """Shards are run by hand here: nobody waits for hints."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        return 0


@pytest.fixture
def services(sqlite_database: Database, tmp_path: Path) -> Iterator[Services]:
    pool = EnginePool(threads=1)
    store = StoreSettings(ERRATA_HOME=tmp_path)
    with JudgePool(1) as judge:
        yield Services(sqlite_database, store, WorkerSettings(), _Deaf(), pool, judge, dict(STAGES))
    pool.close()


@pytest.fixture
def client(services: Services) -> TestClient:
    app = create_app(services.db, services.store, services.dispatcher, ApiSettings())
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    assert client.get("/v1/problem-sets").status_code == 200, "the first request makes the workspace"
    with services.db.begin() as session:
        entry = LanguageModel(id="lm", workspace_id=DEFAULT_WORKSPACE, name="miniature", engine="transformers")
        entry.config = {"path": str(MODEL), "device": "cpu"}
        session.add(entry)
    return client


def _run(services: Services) -> None:
    with services.db.read() as session:
        shards = list(session.scalars(select(Shard.id).order_by(Shard.position)))
    for shard in shards:
        while run_shard(services, shard) == "advanced":
            pass


def test_the_forecast_holds_the_job_that_follows(client: TestClient, services: Services) -> None:
    made = problems.rows(problems.generate(COUNT, seed=29))
    set_id = client.post("/v1/problem-sets", json={"name": "s", "problems": made}).json()["id"]
    body = {"problem_set": set_id, **JOB}
    asked = client.post("/v1/injection-jobs:estimate", json={**body, "pilot_problems": PILOT})
    _run(services)
    forecast: dict[str, Any] = client.get(asked.headers["location"]).json()["forecast"]
    job = client.post("/v1/injection-jobs", json=body)
    _run(services)
    funnel = client.get(f"{job.headers['location']}/funnel").json()
    assert funnel["complete"]

    def held(interval: dict[str, float], truth: float) -> bool:
        return interval["low"] <= truth <= interval["high"]

    assert held(forecast["pairs"], funnel["pairs"]["total"]), (forecast["pairs"], funnel["pairs"])
    spent = sum(stage["prompt"] + stage["completion"] for stage in funnel["tokens"].values())
    assert held(forecast["tokens"], spent), (forecast["tokens"], spent)
    assert set(forecast["tokens_by_stage"]) == set(funnel["tokens"]) == {"sample", "edit", "continue"}
    for stage, kinds in forecast["tokens_by_stage"].items():
        for kind, interval in kinds.items():
            assert held(interval, funnel["tokens"][stage][kind]), (stage, kind, interval)
            assert interval["high"] < 3 * funnel["tokens"][stage][kind]
    assert forecast["tokens_per_pair"] == pytest.approx(funnel["figures"]["tokens_per_pair"], rel=0.5)
    with services.db.read() as session:
        ledgers = list(session.scalars(select(Shard.ledger)))
    for ledger in ledgers:
        for stage in ("sample", "edit"):
            took = ledger["seconds"][stage]
            assert 0 < took["engine"] <= took["total"]
    assert 0 < forecast["seconds"]["low"] < forecast["seconds"]["high"]
