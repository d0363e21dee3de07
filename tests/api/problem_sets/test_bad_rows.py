"""Rows that cannot be used: told by reason, with their count and first lines; and all or nothing where wanted."""

from __future__ import annotations

from sqlalchemy import func, select

from models.session import Database
from models.workspaces import ProblemRow
from tests.api.conftest import PROBLEMS, CheckedClient
from tests.api.problem_sets.uploading import lines, upload


def test_every_bad_row_is_reported_with_its_line(client: CheckedClient) -> None:
    data = lines(
        {"question": "good", "gold_answer": "1", "id": "a"},
        b"{not json\n",
        b"\n",
        [1],
        {"question": "no answer"},
        {"question": "q", "gold_answer": "1", "colour": "red"},
        {"question": "q", "gold_answer": "1", "id": "a"},
        b'{"question": "q", "gold_answer": NaN}\n',
        b'{"question": "a\\ud800", "gold_answer": "1"}\n',
        b'{"question": "a\\u0000", "gold_answer": "1"}\n',
        b'{"question": "q", "gold_answer": ' + b"9" * 5000 + b"}\n",
        b'{"question": "q", "gold_answer": "1", "meta": ' + b"[" * 500 + b"]" * 500 + b"}\n",
        b'{"question": "\xff", "gold_answer": "1"}\n',
        {"question": "   ", "gold_answer": "1"},
        {"question": "q", "gold_answer": True},
        {"question": "q", "answer": "long\ntext without the mark"},
        {"problem": "p", "solution": "no box"},
        {"question": "x" * 100_001, "gold_answer": "1"},
        b'{"question": "q", "question": "r", "gold_answer": "1"}\n',
        {"question": "last", "gold_answer": "2"},
    )
    answer = upload(client, data)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["problem_count"] == 2
    assert body["rejected_count"] == 17
    assert [bad["line"] for bad in body["rejected"]] == [2, 4, 5, 6, *range(8, 20), 7]
    reasons = {bad["line"]: bad["reason"] for bad in body["rejected"]}
    assert "column 2" in reasons[2]
    assert "'gold_answer' is missing" in reasons[5]
    assert "unknown field 'colour'" in reasons[6]
    assert "was used on line 1" in reasons[7]
    assert "####" in reasons[16]
    assert "\\boxed" in reasons[17]
    assert client.get(f"/v1/problem-sets/{body['id']}").json()["rejected"] == body["rejected"]


def test_faulty_criteria_of_an_answer_are_refused_by_name(client: CheckedClient) -> None:
    metas = [{"golds": "5"}, {"tolerance": {"rel": 5}}, {"unordered": 1}, {"extract": "(a+)+"}, {"extract": r"= (\d+)"}]
    answer = upload(client, lines(*({"question": "q", "gold_answer": "1", "meta": meta} for meta in metas)))
    assert answer.status_code == 201, answer.text
    reasons = [bad["reason"] for bad in answer.json()["rejected"]]
    assert [reason.split()[0] for reason in reasons] == [
        "meta.golds",
        "meta.tolerance.rel",
        "meta.unordered",
        "meta.extract",
    ]


def test_a_document_is_all_or_nothing_and_a_file_is_not(client: CheckedClient, database: Database) -> None:
    rows = [PROBLEMS[0], {"question": 5, "gold_answer": "1"}]
    refused = client.post("/v1/problem-sets", json={"name": "x", "problems": rows})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {
            "field": "problems[1]",
            "message": "'question' must be a string",
            "remedy": "correct the row, or send on_bad_row=report to take the others",
        }
    ]
    assert upload(client, lines(*rows), query="&on_bad_row=refuse").json()["errors"][0]["field"] == "line 2"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ProblemRow)) == 0
    taken = client.post("/v1/problem-sets?on_bad_row=report", json={"name": "x", "problems": rows})
    assert (taken.status_code, taken.json()["problem_count"]) == (201, 1)
    assert upload(client, lines(*rows)).status_code == 201
