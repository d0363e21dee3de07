"""The same problems again are the set that is there; and the solutions that problems come with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from models.session import Database
from models.workspaces import BroughtSolution, ProblemRow, ProblemSet
from tests.api.conftest import CheckedClient
from tests.api.problem_sets.uploading import JSONL, lines, parquet, upload

ROWS = [{"question": f"What is {n} + {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"} for n in range(30)]


def count(database: Database, table: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_the_same_content_name_and_domain_are_one_set(client: CheckedClient, database: Database) -> None:
    first = upload(client, lines(*ROWS))
    assert first.status_code == 201
    for again in (
        upload(client, lines(*ROWS)),  # the same bytes
        upload(client, parquet(ROWS), "application/vnd.apache.parquet"),  # the same problems
        upload(client, lines(*ROWS, b"{broken\n")),
    ):
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert again.headers["location"] == first.headers["location"]
    assert [bad["line"] for bad in again.json()["rejected"]] == [31], "what is told is about this upload"
    assert (count(database, ProblemSet), count(database, ProblemRow)) == (1, 30)
    others = [
        upload(client, lines(*ROWS[:-1])),
        upload(client, lines(*reversed(ROWS))),
        upload(client, lines(*ROWS), query="&domain=logic"),
        upload(client, lines(*ROWS), query="&unordered=true"),
        client.post("/v1/problem-sets?name=other", content=lines(*ROWS), headers=JSONL),
    ]
    assert {answer.status_code for answer in others} == {201}
    assert len({answer.json()["id"] for answer in others} | {first.json()["id"]}) == 6


def test_equal_uploads_at_once_make_one_set(client: CheckedClient, database: Database) -> None:
    client.get("/v1/problem-sets")  # the workspace
    app: Any = client.app
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload(CheckedClient(app), lines(*ROWS)), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(database, ProblemRow) == 30


def test_any_text_comes_back_as_it_was_sent(client: CheckedClient) -> None:
    odd = "tab\t, line\r\nbreak, \\n and \\\\, \\. and \\N, \u2028 \u00a0é 太 😀 '\"%s"
    row = {"question": f"q{odd}q", "gold_answer": "\\frac{1}{2}", "gold_solution": f" {odd}\n", "meta": {"k": odd}}
    answer = client.post("/v1/problem-sets", json={"name": "x", "problems": [row, {**row, "question": "\\N"}]})
    problem, null = client.get(answer.headers["location"] + "/problems").json()["data"]
    assert {key: problem[key] for key in row} == row
    assert (null["question"], null["subject"]) == ("\\N", None)


def test_reference_solutions_come_with_their_problems(client: CheckedClient, database: Database) -> None:
    rows = [ROWS[3], {"question": "no solution", "answer": "5"}]
    first = upload(client, lines(*rows))
    assert count(database, BroughtSolution) == 0
    again = upload(client, lines(*rows), query="&solutions=reference")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    upload(client, lines(*rows), query="&solutions=reference")
    math = upload(client, lines({"problem": "p", "solution": "So $\\boxed{5}$."}), query="&solutions=reference")
    assert math.status_code == 201
    with database.read() as session:
        brought = {(row.source, row.text, row.label) for row in session.scalars(select(BroughtSolution))}
    assert brought == {("reference", "3+3=6\n#### 6", None), ("reference", "So $\\boxed{5}$.", None)}
    wrong = upload(client, lines(*rows), query="&solutions=all")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "solutions")


def test_complaints_stay_few_whatever_the_file(client: CheckedClient) -> None:
    bad = [{"question": "q"}] * 700 + [{"question": "q", "gold_answer": "1", "id": "same"}] * 500
    answer = upload(client, lines(ROWS[0], *bad))
    missing, used = answer.json()["rejected"]
    assert (missing["line"], missing["count"], missing["lines"]) == (2, 700, list(range(2, 12)))
    assert (used["reason"], used["count"]) == ("id 'same' was used on line 702", 499)
    assert (answer.json()["rejected_count"], answer.json()["problem_count"]) == (1199, 2)
    assert client.get(answer.headers["location"]).json() == answer.json()
