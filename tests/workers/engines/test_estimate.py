"""An estimate with a language model: the pilot's costs against the job's, and how often its intervals hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.estimates import Cost, costs
from api.settings import ApiSettings
from demo import problems
from errata.statistics import total_interval
from models.jobs import Estimate, ProblemOutcome, Shard
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow
from tests.workers.engines.conftest import MODEL
from workers.dispatch import Dispatcher, Hint
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import pilot_positions
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES

COUNT, PILOT = 36, 12
JOB = {
    "language_model": "miniature",
    "config": {
        "sampling": {"temperature": 1.0, "max_tokens": 200},
        "editing": {"max_tokens": 64},
        "proof": {"continuations": {"when": "always", "k": 2, "max_tokens": 200}},
        "shard_size": COUNT,
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
        entry.config = {"path": str(MODEL), "device": "cpu", "few_shot": 0}
        session.add(entry)
    return client


def _run(services: Services) -> None:
    with services.db.read() as session:
        shards = list(session.scalars(select(Shard.id).order_by(Shard.position)))
    for shard in shards:
        while run_shard(services, shard) == "advanced":
            pass


def _ledgers(services: Services, job_id: str) -> list[Shard]:
    with services.db.read() as session:
        return list(session.scalars(select(Shard).where(Shard.injection_job_id == job_id)))


def _by_problem(services: Services, job_id: str) -> dict[int, Cost]:
    """What each problem of an ended job of one shard gave and cost, by its position."""
    [shard] = _ledgers(services, job_id)
    with services.db.read() as session:
        outcomes = select(ProblemOutcome.problem_id, ProblemRow.position).join(
            ProblemRow, ProblemRow.id == ProblemOutcome.problem_id
        )
        places = {row.problem_id: row.position for row in session.execute(outcomes.filter_by(job_id=job_id))}
        return {places[problem]: cost for problem, cost in costs(session, job_id, shard).items()}


def _figures(cost: Cost) -> dict[str, float]:
    """The figures a forecast has of one problem, those of time apart."""
    stages = {stage for stage, _ in cost.tokens}
    return {"pairs": cost.pairs.total(), **{str(stage): cost.spent(stage) for stage in stages}}


def test_pilots_cost_what_the_job_costs_and_their_intervals_hold_as_often_as_they_say(
    client: TestClient, services: Services
) -> None:
    """One real pilot against the job, problem by problem; then every figure's coverage over pilots drawn from the job.

    One pilot's interval may miss, one time in twenty: only many of them show whether the interval is true.
    """
    made = problems.rows(problems.generate(COUNT, seed=29))
    set_id = client.post("/v1/problem-sets", json={"name": "s", "problems": made}).json()["id"]
    body = {"problem_set": set_id, **JOB}
    asked = client.post("/v1/injection-jobs:estimate", json={**body, "pilot_problems": PILOT})
    _run(services)
    estimate: dict[str, Any] = client.get(asked.headers["location"]).json()
    job = client.post("/v1/injection-jobs", json=body).json()
    _run(services)
    with services.db.read() as session:
        pilot_id = session.get_one(Estimate, estimate["id"]).pilot_id
    pilot, whole = _by_problem(services, pilot_id), _by_problem(services, job["id"])
    assert sorted(pilot) == estimate["pilot"]["positions"]
    assert len(whole) == COUNT
    for position, cost in pilot.items():
        for name, value in _figures(cost).items():
            assert value == pytest.approx(_figures(whole[position])[name], rel=0.3 if name == "continue" else 0), name
    forecast = estimate["forecast"]
    assert set(forecast["tokens_by_stage"]) == {"sample", "edit", "continue"}
    assert forecast["pairs"]["estimate"] == pytest.approx(
        COUNT / PILOT * sum(c.pairs.total() for c in pilot.values()), abs=0.1
    )
    for ledger in (shard.ledger for id_ in (pilot_id, job["id"]) for shard in _ledgers(services, id_)):
        for stage in ("sample", "edit", "continue"):
            assert 0 < ledger["seconds"][stage]["engine"] <= ledger["seconds"][stage]["total"]
    assert 0 < forecast["seconds"]["low"] < forecast["seconds"]["high"]
    coverage = _coverage({at: _figures(cost) for at, cost in whole.items()})
    assert min(coverage.values()) > 0.85, coverage


def _coverage(values: dict[int, dict[str, float]], pilots: int = 2000) -> dict[str, float]:
    """By figure, how often the interval of a pilot drawn as ``plan_pilot`` draws it holds the job's total."""
    found = {}
    for name in sorted({name for row in values.values() for name in row}):
        column = [values[at].get(name, 0.0) for at in range(COUNT)]
        held = 0
        for seed in range(pilots):
            interval = total_interval([column[at] for at in pilot_positions(COUNT, PILOT, seed)], COUNT)
            held += interval.low - 1e-6 <= sum(column) <= interval.high + 1e-6
        found[name] = held / pilots
    return found
