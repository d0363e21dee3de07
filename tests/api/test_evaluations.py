"""Evaluations and comparisons."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from models.evaluation_results import evaluation_result
from models.jobs import Shard
from models.outputs import Evaluation, EvaluationSample
from models.session import Database
from models.workspaces import ProblemRow
from tests.api.conftest import CheckedClient, KeptHints, post_problems
from tests.api.test_injection_jobs import add_model


def evaluation_of(
    client: CheckedClient, database: Database, set_id: str, model: str, verdicts: list[list[str]], **config: Any
) -> str:
    body = {"problem_set": set_id, "language_model": model, "config": config}
    row_id = str(client.post("/v1/evaluations", json=body).json()["id"])
    with database.begin() as session:
        problems = session.scalars(
            select(ProblemRow.id).where(ProblemRow.problem_set_id == set_id).order_by(ProblemRow.position)
        ).all()
        shard_id = session.scalars(select(Shard.id).where(Shard.evaluation_id == row_id)).first()
        for problem, found in zip(problems, verdicts, strict=False):
            for index, verdict in enumerate(found):
                session.add(
                    EvaluationSample(
                        evaluation_id=row_id, problem_id=problem, sample_index=index, shard_id=shard_id, text="t",
                        seed=0, verdict=verdict,
                    )
                )  # fmt: skip
        session.flush()
        session.execute(
            update(Evaluation)
            .where(Evaluation.id == row_id)
            .values(state="succeeded", result=evaluation_result(session, row_id))
        )
    return row_id


def test_comparison_with_flips(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    add_model(database)
    add_model(database, "after")
    right, wrong = ["correct"], ["incorrect"]
    before = evaluation_of(client, database, set_id, "tiny", [right, right, wrong, wrong, wrong])
    after = evaluation_of(client, database, set_id, "after", [right, wrong, right, right, ["unparsable"]])
    found = client.get(f"/v1/evaluations/{before}/comparison?with={after}").json()
    assert (found["problems"], found["gained"], found["lost"]) == (5, 2, 1)
    assert found["delta"] == pytest.approx(0.2)
    assert found["interval"][0] < found["delta"] < found["interval"][1]
    assert (found["before"]["accuracy"], found["after"]["accuracy"]) == (0.4, 0.6)
    assert (found["before"]["language_model"], found["after"]["language_model"]) == ("tiny", "after")
    problems = [row["id"] for row in client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"]]
    assert [flip["problem"] for flip in found["gained_problems"]] == problems[2:4]
    assert found["lost_problems"] == [{"problem": problems[1], "before": 1.0, "after": 0.0}]
    assert len(client.get(f"/v1/evaluations/{after}/samples?verdict=correct").json()["data"]) == 3
    sampled = {"samples": 2, "temperature": 1.0}
    many = evaluation_of(client, database, set_id, "after", [["correct", "incorrect"], wrong * 2], **sampled)
    mixed = client.get(f"/v1/evaluations/{before}/comparison?with={many}").json()
    assert (mixed["problems"], mixed["same_config"]) == (2, False)
    assert [flip["problem"] for flip in mixed["lost_problems"]] == [problems[1]]


def test_comparisons_that_make_no_sense(client: CheckedClient, database: Database) -> None:
    set_id, other_set = post_problems(client), post_problems(client)
    add_model(database)
    one = evaluation_of(client, database, set_id, "tiny", [["correct"]])
    elsewhere = evaluation_of(client, database, other_set, "tiny", [["correct"]])
    empty = evaluation_of(client, database, set_id, "tiny", [])
    running = client.post("/v1/evaluations", json={"problem_set": set_id, "language_model": "tiny"}).json()["id"]
    url = f"/v1/evaluations/{one}/comparison"
    assert client.get(url).json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={elsewhere}").json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={set_id}").json()["errors"][0]["field"] == "with"
    assert client.get(f"{url}?with={empty}").status_code == 409
    assert client.get(f"{url}?with={running}").status_code == 409
    assert client.get(f"{url}?with={one}").json()["delta"] == 0.0


def test_evaluations(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    set_id = post_problems(client)
    add_model(database)
    good: dict[str, Any] = {"problem_set": set_id, "language_model": "tiny"}
    answer = client.post("/v1/evaluations", json={**good, "config": {"limit": 2}, "name": "e"})
    assert (answer.status_code, answer.json()["progress"]["problems_total"]) == (202, 2)
    assert len(hints.hints) == 1
    url = answer.headers["location"]
    assert client.get(f"{url}/events").json()["data"][0]["type"] == "queued"
    assert client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{url}/cancel").status_code == 409
    refused: list[tuple[dict[str, Any], str]] = [
        ({"language_model": "x"}, "language_model"),
        ({"problem_set": "eval_x"}, "problem_set"),
        ({"config": {"samples": 0}}, "config.samples"),
        ({"config": {"temperature": 3}}, "config.temperature"),
        ({"config": {"samples": 4}}, "config.samples"),
        ({"config": {"seeds": 1}}, "config.seeds"),
    ]
    for change, field in refused:
        bad = client.post("/v1/evaluations", json={**good, **change})
        assert (bad.status_code, [e["field"] for e in bad.json()["errors"]]) == (422, [field]), change
