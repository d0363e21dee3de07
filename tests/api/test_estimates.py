"""Estimates: a pilot through the real stages, what it forecasts, and that nobody finds it anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from api.http.auth import create_key
from demo import problems
from models.jobs import Estimate, InjectionJob, PairRow, Shard
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import PILOT_WORKSPACE_NAME
from tests.api.conftest import RULES, CheckedClient, KeptHints, post_job
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES

COUNT = 40
URL = "/v1/injection-jobs:estimate"


@pytest.fixture(scope="module")
def judge() -> Iterator[JudgePool]:
    with JudgePool(1) as judge:
        yield judge


@pytest.fixture
def services(database: Database, store: StoreSettings, hints: KeptHints, judge: JudgePool) -> Services:
    """A worker of the client's database that needs no language model."""
    return Services(database, store, WorkerSettings(), hints, EnginePool(), judge, dict(STAGES))


def run_hinted(services: Services, hints: KeptHints) -> None:
    """Run every shard that a hint was sent for to its end."""
    for hint in list({hint.shard_id: hint for hint in hints.hints}.values()):
        while run_shard(services, hint.shard_id) == "advanced":
            pass
    hints.hints.clear()


def post_stories(client: CheckedClient, count: int = COUNT) -> str:
    """Word problems with a right solution each; every third has a wrong one too, so problems yield different pairs."""
    made = problems.generate(count, seed=3)
    answer = client.post("/v1/problem-sets", json={"name": "s", "problems": problems.rows(made)})
    set_id = str(answer.json()["id"])
    rows = [{"problem": at, "source": "gold", "text": p.gold_solution} for at, p in enumerate(made)]
    for at in range(0, count, 3):
        rows.append(
            {"problem": at, "source": "wrong", "text": "Step 1: So it is 1.\nStep 2: The answer is \\boxed{1}."}
        )
    assert client.post(f"/v1/problem-sets/{set_id}/solutions", json={"solutions": rows}).json()["added"] == len(rows)
    return set_id


def total(interval: dict[str, float], truth: float) -> bool:
    """Whether the interval holds the truth."""
    return interval["low"] <= truth <= interval["high"]


def test_the_forecast_holds_what_the_job_then_makes(
    client: CheckedClient, database: Database, services: Services, hints: KeptHints
) -> None:
    set_id = post_stories(client)
    asked = client.post(URL, json={"problem_set": set_id, **RULES, "pilot_problems": 12})
    assert asked.status_code == 202, asked.text
    estimate = asked.json()
    assert asked.headers["location"] == f"/v1/estimates/{estimate['id']}"
    assert int(asked.headers["retry-after"]) >= 1
    assert (estimate["state"], estimate["forecast"], estimate["pilot"]["problems"]) == ("queued", None, 12)
    assert estimate["progress"]["problems_total"] == 12
    [hint] = hints.hints
    run_hinted(services, hints)
    done = client.get(asked.headers["location"]).json()
    assert done["state"] == "succeeded"
    forecast, positions = done["forecast"], done["pilot"]["positions"]
    assert forecast["problems"] == COUNT
    parts = [at * COUNT // 12 for at in range(13)]
    assert all(low <= at < high for at, (low, high) in zip(positions, pairwise(parts), strict=True)), "one of each part"
    assert len({at % 3 for at in positions}) == 3, "and none at regular distances"
    assert done["pilot"]["funnel"]["problems"]["total"] == 12
    job = post_job(client, set_id)
    run_hinted(services, hints)
    funnel = client.get(f"/v1/injection-jobs/{job['id']}/funnel").json()
    assert funnel["pairs"]["total"] > 40
    assert total(forecast["pairs"], funnel["pairs"]["total"])
    for type_, interval in forecast["pairs_by_type"].items():
        assert total(interval, funnel["pairs"]["by_type"][type_]), type_
    assert 0 < forecast["pairs"]["low"] < forecast["pairs"]["estimate"] < forecast["pairs"]["high"] < 4 * COUNT
    assert (forecast["tokens"]["estimate"], forecast["tokens_per_pair"]) == (0, 0), "no language model, no tokens"
    assert 0 < forecast["seconds"]["low"] <= forecast["seconds"]["estimate"] <= forecast["seconds"]["high"]
    with database.read() as session:
        assert session.get_one(Shard, hint.shard_id).ledger["seconds"].keys() == {
            "sample",
            "grade",
            "edit",
            "prove",
            "pair",
        }


def test_a_pilot_of_every_problem_leaves_nothing_open(
    client: CheckedClient, services: Services, hints: KeptHints
) -> None:
    set_id = post_stories(client, 7)
    location = client.post(URL, json={"problem_set": set_id, **RULES}).headers["location"]
    run_hinted(services, hints)
    done = client.get(location).json()
    assert done["pilot"]["positions"] == list(range(7))
    job = post_job(client, set_id)
    run_hinted(services, hints)
    made = client.get(f"/v1/injection-jobs/{job['id']}/funnel").json()["pairs"]["total"]
    assert done["forecast"]["pairs"] == {"estimate": made, "low": made, "high": made}


def test_a_pilot_and_its_pairs_are_nowhere_else(
    client: CheckedClient, database: Database, services: Services, hints: KeptHints
) -> None:
    set_id = post_stories(client, 9)
    estimate = client.post(URL, json={"problem_set": set_id, **RULES}).json()
    run_hinted(services, hints)
    with database.read() as session:
        pilot = session.get_one(Estimate, estimate["id"]).pilot_id
        pairs = session.scalars(select(PairRow.id).where(PairRow.job_id == pilot)).all()
    assert pairs
    for path in ("injection-jobs", "pairs", "datasets"):
        assert client.get(f"/v1/{path}").json()["data"] == [], path
    assert client.get(f"/v1/injection-jobs?problem_set={set_id}").json()["data"] == []
    for path in ("", "/funnel", "/solutions", "/edits", "/pairs", "/events", "/problems"):
        assert client.get(f"/v1/injection-jobs/{pilot}{path}").status_code == 404, path
    assert client.get(f"/v1/pairs/{pairs[0]}").status_code == 404
    assert client.get(f"/v1/pairs?job={pilot}").status_code == 422
    for path, body in (
        ("datasets", {"name": "d", "jobs": [pilot]}),
        ("rejudgings", {"injection_job": pilot}),
    ):
        refused = client.post(f"/v1/{path}", json=body)
        assert (refused.status_code, "no such injection job" in refused.json()["detail"]) == (422, True), path
    assert pilot not in client.get("/").text
    assert client.get(f"/jobs/{pilot}").status_code == 404
    assert pilot not in str(client.get(f"/v1/estimates/{estimate['id']}").json())
    with database.begin() as session, pytest.raises(ValueError, match="choose another"):
        create_key(session, "nosy", workspace=PILOT_WORKSPACE_NAME)


def test_asked_twice_under_one_key_it_is_one_pilot(client: CheckedClient, database: Database) -> None:
    set_id = post_stories(client, 5)
    body, key = {"problem_set": set_id, **RULES}, {"Idempotency-Key": "one"}
    first, again = (client.post(URL, json=body, headers=key) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert client.post(URL, json={**body, "pilot_problems": 3}, headers=key).status_code == 422
    with database.read() as session:
        assert len(session.scalars(select(InjectionJob.id)).all()) == 1
    assert [row["id"] for row in client.get("/v1/estimates").json()["data"]] == [first.json()["id"]]


def test_cancel(client: CheckedClient, services: Services, hints: KeptHints) -> None:
    estimate = client.post(URL, json={"problem_set": post_stories(client, 5), **RULES}).json()
    ended = client.post(f"/v1/estimates/{estimate['id']}/cancel")
    assert (ended.status_code, ended.json()["state"], ended.json()["forecast"]) == (202, "cancelled", None)
    assert client.post(f"/v1/estimates/{estimate['id']}/cancel").status_code == 409
    run_hinted(services, hints)
    assert client.get(f"/v1/estimates/{estimate['id']}").json()["state"] == "cancelled"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pilot_problems": 1}, "pilot_problems"),
    ({"pilot_problems": 257}, "pilot_problems"),
    ({"pilot_problems": "few"}, "pilot_problems"),
    ({"pilot": 3}, "pilot"),
    ({"problem_set": "pset_unknown"}, "problem_set"),
    ({"preset": "nope"}, "preset"),
    ({"config": {"sampling": {"wave": 0}}}, "config.sampling.wave"),
    ({"config": {"sampling": {"adaptive": "sometimes"}}}, "config.sampling.adaptive"),
    ({"preset": "errata", "config": {}}, "language_model"),
]


def test_refusals_name_the_field_and_leave_nothing(client: CheckedClient, database: Database) -> None:
    good = {"problem_set": post_stories(client, 5), **RULES}
    for change, field in REFUSED:
        answer = client.post(URL, json={**good, **change})
        assert answer.status_code == 422, (change, answer.text)
        [error] = answer.json()["errors"]
        assert (error["field"], bool(error["remedy"])) == (field, True), change
    assert client.get("/v1/estimates/est_unknown").status_code == 404
    assert client.get("/v1/estimates/inj_abc").status_code == 404
    with database.read() as session:
        assert session.scalars(select(InjectionJob.id)).all() == []
