"""Uploads of more than one piece: stored while they are read, seen when they are whole."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from api.problem_sets import ingest
from models.receiving import Receiving
from models.session import Database
from models.workspaces import DELETED_WORKSPACE, BroughtSolution, ProblemRow, ProblemSet
from tests.api.conftest import CheckedClient
from tests.api.problem_sets.uploading import csv_of, lines, upload

ROWS = [
    {"question": f"What is {n}\t+ é{n}?", "answer": f"{n}+{n}\\\n={2 * n}\n#### {2 * n}", "id": f"r{n}"}
    for n in range(3000)
]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_PIECE_BYTES", 20_000)


def sets(database: Database) -> dict[str, str]:
    """Workspace by id of every set there is."""
    with database.read() as session:
        return {row.id: row.workspace_id for row in session.scalars(select(ProblemSet))}


def test_others_write_and_see_nothing_while_an_upload_is_stored(
    client: CheckedClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, seen = Receiving.add, []

    def add_and_look(receiving: Receiving, data: bytes) -> None:
        add(receiving, data)
        if len(seen) < 3:
            seen.append(client.get("/v1/problem-sets").json()["data"])
            small = {"name": f"small {len(seen)}", "problems": [{"question": "q", "gold_answer": "1"}]}
            assert client.post("/v1/problem-sets", json=small).status_code == 201

    monkeypatch.setattr(Receiving, "add", add_and_look)
    answer = upload(client, lines(*ROWS), query="&solutions=reference")
    assert answer.status_code == 201, answer.text
    assert answer.json()["problem_count"] == len(ROWS)
    assert [len(rows) for rows in seen] == [0, 1, 2], "the small ones, and nothing of the large one"
    with database.read() as session:
        stored = session.scalars(
            select(ProblemRow).where(ProblemRow.problem_set_id == answer.json()["id"]).order_by(ProblemRow.position)
        ).all()
        brought = session.scalar(select(func.count()).select_from(BroughtSolution))
    assert [row.external_id for row in stored] == [row["id"] for row in ROWS]
    assert (stored[7].question, stored[7].gold_solution) == ("What is 7\t+ é7?", "7+7\\\n=14")
    assert brought == len(ROWS)


def test_what_was_stored_and_is_not_shown_is_deleted(client: CheckedClient, database: Database) -> None:
    first = upload(client, lines(*ROWS))
    again = upload(client, b" " + lines(*ROWS))  # other bytes, the same problems
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    # What is refused after some of it was stored leaves nothing to be seen either.
    table = csv_of([{"question": f"q{n}", "gold_answer": n, "id": n} for n in range(3000)])
    answer = upload(client, table + b'"cut off', "text/csv")
    assert answer.status_code == 400
    bad: Any = upload(client, lines(*ROWS, {"question": "no answer"}), query="&on_bad_row=refuse")
    assert bad.json()["errors"][0]["field"] == "line 3001"
    left = sets(database)
    assert left.pop(first.json()["id"]) != DELETED_WORKSPACE
    assert list(left.values()) == [DELETED_WORKSPACE] * 3
    assert [row["id"] for row in client.get("/v1/problem-sets").json()["data"]] == [first.json()["id"]]
