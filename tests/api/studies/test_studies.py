"""Studies over the real routes and rows; what workers would compute is written by ``World``."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from api.studies.follow import follow
from models.jobs import InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.session import Database
from models.studies import Study, StudyPart
from tests.api.conftest import CheckedClient, KeptHints
from tests.api.studies.world import COUNT, World, page_of

ARMS: list[dict[str, Any]] = [
    {"name": "base", "trains": False},
    {"name": "sft", "training_preset": "sft", "trials": [{"learning_rate": 1e-2}, {"learning_rate": 1e-4}]},
    {"name": "errata", "trials": [{"learning_rate": 1e-4}, {"learning_rate": 1e-2}]},
]


def study(sets: dict[str, str], **config: Any) -> dict[str, Any]:
    given = {"arms": ARMS, "control": "sft", "seeds": [1, 2], "budget": {"steps": 5, "batch_size": 4}, **config}
    return {**sets, "language_model": "tiny", "config": given}


def test_a_study_tunes_on_validation_and_tests_once(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    answer = client.post("/v1/studies", json=study(sets))
    assert answer.status_code == 202, answer.text
    url = answer.headers["location"]
    assert answer.json()["parts"] == {"made": 0, "open": 0, "ended": 0}
    World(database).run()
    ended = client.get(url).json()
    assert (ended["state"], ended["error"], ended["partial"]) == ("succeeded", None, False)
    table = ended["result"]
    assert table["problems"] == COUNT
    assert {name: arm["trial"] for name, arm in table["arms"].items()} == {"base": 0, "sft": 1, "errata": 0}
    arms = table["arms"]
    assert arms["errata"]["validation"][0] > arms["errata"]["validation"][1]
    sampled = {name: arm["measures"]["sampled"]["estimate"] for name, arm in arms.items()}
    # Base 0.4; the mean of 0.02 x (position mod 5) over 12 problems; seeds 1 and 2 add 0.01 and 0.02.
    spread = 0.02 * (2 * 10 + 1) / COUNT
    assert sampled["base"] == pytest.approx(0.4 + spread)
    assert sampled["sft"] == pytest.approx(0.5 + spread + 0.015)
    assert arms["errata"]["against_control"]["sampled"]["delta"] == pytest.approx(0.1)
    assert set(arms["errata"]["measures"]) == {"greedy", "sampled", "pass@8"}
    assert arms["sft"]["against_control"] == {}
    counts = {}
    with database.read() as session:
        for table_, prefix in ((InjectionJob, "inj"), (Dataset, "ds"), (TrainingRun, "train"), (Evaluation, "eval")):
            counts[prefix] = session.scalar(select(func.count()).select_from(table_))
        runs = session.scalars(select(TrainingRun)).all()
        tested = session.scalar(select(func.count()).where(Evaluation.problem_set_id == sets["test_set"]))
    # Both arms share the job and the dataset of a seed. Of 2 trials with the first seed one goes on with the second.
    assert counts == {"inj": 2, "ds": 2, "train": 6, "eval": 9}
    assert tested == 5  # the start model is scored once: seeds change nothing of it
    assert {(run.config["max_steps"], run.config["batch_size"]) for run in runs} == {(5, 4)}
    assert ended["parts"] == {"made": 19, "open": 0, "ended": 19}
    assert [row["kind"] for row in ended["rows"]].count("training job") == 6
    kinds = [event["type"] for event in client.get(f"{url}/events").json()["data"]]
    assert kinds[:2] == ["queued", "running"]
    assert kinds[-1] == "succeeded"
    shown = page_of(client, f"/studies/{ended['id']}")
    assert "against sft" in shown
    assert f"+{100 * arms['errata']['against_control']['sampled']['delta']:.1f}" in shown
    assert f"/studies/{ended['id']}" in page_of(client, "/studies")
    assert client.get("/v1/studies?state=succeeded").json()["data"][0]["id"] == ended["id"]


def test_an_arm_that_fails_is_told_and_the_others_go_on(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    arms = [{"name": "base", "trains": False}, {"name": "sft", "training_preset": "sft"}]
    url = client.post("/v1/studies", json=study(sets, arms=arms, seeds=[666])).headers["location"]
    World(database).run()
    ended = client.get(url).json()
    assert (ended["state"], ended["partial"]) == ("succeeded", True)
    assert "no engine" in ended["error"]
    assert ended["result"]["arms"]["base"]["measures"]["greedy"]["estimate"] == 0.0
    assert ended["result"]["arms"]["sft"]["measures"] == {}


def test_cancelling_ends_what_it_started(client: CheckedClient, database: Database, sets: dict[str, str]) -> None:
    url = client.post("/v1/studies", json=study(sets)).headers["location"]
    world = World(database)
    follow(database, world.hints)
    assert client.get(url).json()["parts"]["open"] == 2  # the base's evaluation, and the job of the tuned seed
    cancelled = client.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert {row["state"] for row in client.get(url).json()["rows"]} == {"cancelled"}
    assert client.post(f"{url}/cancel").status_code == 409
    assert follow(database, world.hints) == 0
    assert client.delete(url).status_code == 200
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(StudyPart)) == 0


def test_no_more_parts_than_concurrency_are_open(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    url = client.post("/v1/studies", json=study(sets, concurrency=1, seeds=[1, 2, 3])).headers["location"]
    for _ in range(3):
        follow(database, KeptHints(database))
    assert client.get(url).json()["parts"] == {"made": 1, "open": 1, "ended": 0}


def test_refusals_name_the_field(client: CheckedClient, sets: dict[str, str]) -> None:
    def refused(**config: Any) -> list[str]:
        answer = client.post("/v1/studies", json=study(sets, **config))
        assert answer.status_code == 422, answer.text
        return [error["field"] for error in answer.json()["errors"]]

    assert refused(control=None, arms=[{"name": "a", "config": {"sampling": {"samples": 0}}}]) == [
        "config.arms.0.config.sampling.samples"
    ]
    assert refused(control=None, arms=[{"name": "a", "training": {"learning_rate": 9}}]) == [
        "config.arms.0.training.learning_rate"
    ]
    assert refused(control=None, arms=[{"name": "a", "preset": "nope"}]) == ["config.arms.0.preset"]
    assert refused(control=None, arms=[{"name": "a", "training": {"epochs": 2}}]) == ["config.arms.0.training.epochs"]
    assert refused(control="nobody") == ["config.control"]
    assert refused(control=None, arms=[{"name": "a"}, {"name": "b", "trials": [{}, {}]}]) == ["config.arms"]
    body = study(sets)
    assert client.post("/v1/studies", json={**body, "validation_set": None}).json()["errors"][0]["field"] == (
        "validation_set"
    )
    same = client.post("/v1/studies", json={**body, "test_set": body["problem_set"]})
    assert same.json()["errors"][0]["field"] == "test_set"
    assert client.post("/v1/studies", json={**body, "language_model": "x"}).json()["errors"][0]["field"] == (
        "language_model"
    )


def test_a_quota_delays_parts_and_fails_none(client: CheckedClient, database: Database, sets: dict[str, str]) -> None:
    url = client.post("/v1/studies", json=study(sets)).headers["location"]
    assert client.put("/v1/workspaces/default/quota", json={"jobs": 2}).status_code == 200
    follow(database, KeptHints(database))
    found = client.get(url).json()
    assert (found["state"], found["parts"]["open"]) == ("running", 1)  # the study itself is a job, too


def test_what_a_study_names_is_not_deleted_under_it(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    client.post("/v1/studies", json=study(sets))
    for set_id in sets.values():
        assert client.delete(f"/v1/problem-sets/{set_id}?cascade=true").status_code == 409
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 1
