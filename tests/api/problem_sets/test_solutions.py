"""Brought solutions: matched with their problems, taken once, refused by row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from models.session import Database
from models.workspaces import BroughtSolution
from tests.api.conftest import CheckedClient, post_problems
from tests.api.problem_sets.uploading import JSONL, lines


def test_brought_solutions(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    other_id = post_problems(client)
    problem_id = client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"][2]["id"]
    elsewhere = client.get(f"/v1/problem-sets/{other_id}/problems").json()["data"][2]["id"]
    rows: list[Any] = [
        {"problem": 0, "source": "a", "text": "same"},
        {"problem": 0, "source": "b", "text": "same", "label": True},
        {"problem": "sum-1", "source": "a", "text": " kept as it is\n", "label": False},
        {"problem": problem_id, "source": "a", "text": "third"},
        {"problem": 0, "source": "a", "text": "another"},
        {"problem": 99, "source": "a", "text": "t"},
        {"problem": elsewhere, "source": "a", "text": "t"},
        {"problem": True, "source": "a", "text": "t"},
        {"problem": 0, "source": "", "text": "t"},
        {"problem": 0, "source": "c", "text": "t", "label": "yes"},
        {"problem": 0, "source": "c", "text": "t", "is_correct": True},
        b"{broken\n",
    ]
    url = f"/v1/problem-sets/{set_id}/solutions"
    first = client.post(url, content=lines(*rows), headers=JSONL).json()
    assert (first["received"], first["added"], first["existing"], first["rejected_count"]) == (12, 4, 0, 8)
    assert sorted(line for bad in first["rejected"] for line in bad["lines"]) == list(range(5, 13))
    again = client.post(url, content=lines(*rows), headers=JSONL).json()
    assert (again["added"], again["existing"], again["rejected_count"]) == (0, 4, 8)
    with database.read() as session:
        texts = session.scalars(select(BroughtSolution.text).where(BroughtSolution.source == "a")).all()
    assert sorted(texts) == [" kept as it is\n", "same", "third"]


def test_brought_solutions_refused(client: CheckedClient) -> None:
    set_id = post_problems(client)
    url = f"/v1/problem-sets/{set_id}/solutions"
    row = {"problem": 0, "source": "a", "text": "t"}
    assert client.post(url, json={"solutions": []}).json()["errors"][0]["field"] == "solutions"
    assert client.post(url, json={"solutions": [row], "x": 1}).json()["errors"][0]["field"] == "x"
    bad = client.post(url, json={"solutions": [row, {"problem": 77, "source": "a", "text": "t"}]})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "solutions[1]")
    assert (
        client.post(url, content=lines({"problem": 77, "source": "a", "text": "t"}), headers=JSONL).status_code == 422
    )
    assert client.post("/v1/problem-sets/pset_none/solutions", json={"solutions": [row]}).status_code == 404
    assert client.post(url, json={"solutions": [row]}).json()["added"] == 1
