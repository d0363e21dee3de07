"""Several golds, a tolerance, an order that does not matter and an own pattern: per problem, and for a whole upload."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import CheckedClient
from tests.api.problem_sets.uploading import lines, upload

ROW = {"question": "q", "gold_answer": "1"}


def _metas(client: CheckedClient, set_id: str) -> list[dict[str, Any]]:
    return [row["meta"] for row in client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"]]


def test_a_problem_says_what_decides_besides_its_gold_answer(client: CheckedClient) -> None:
    criteria = {"golds": ["1.0", "one"], "tolerance": {"rel": 0.01}, "unordered": True, "extract": r"= (\d+)"}
    answer = client.post("/v1/problem-sets", json={"name": "s", "problems": [{**ROW, **criteria}, ROW]})
    assert answer.status_code == 201
    assert _metas(client, answer.json()["id"]) == [criteria, {}]


def test_a_table_holds_them_as_json(client: CheckedClient) -> None:
    table = b'question,gold_answer,golds,tolerance,unordered\nq,1,"[2, ""3""]","{""abs"": 0.5}",true\nq,1,,,\n'
    answer = upload(client, table, "text/csv").json()
    assert _metas(client, answer["id"]) == [{"golds": ["2", "3"], "tolerance": {"abs": 0.5}, "unordered": True}, {}]


def test_an_upload_has_defaults_that_a_problem_may_override(client: CheckedClient) -> None:
    rows = lines({**ROW, "tolerance": {"abs": 2}}, {"question": "q", "answer": "#### 3"})
    query = "&unordered=true&tolerance=%7B%22rel%22%3A%200.5%7D&extract=is%20(.%2B)"
    answer = upload(client, rows, query=query).json()
    shared = {"unordered": True, "extract": "is (.+)"}
    assert _metas(client, answer["id"]) == [
        {**shared, "tolerance": {"abs": 2}},
        {**shared, "tolerance": {"rel": 0.5}, "format": "gsm8k"},
    ]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("golds", "5", "golds must be a list of texts"),
        ("golds", [""], "golds must be a list of texts"),
        ("golds", "[5", "not acceptable JSON"),
        ("tolerance", {"rel": 5}, "tolerance.rel must be below 1"),
        ("unordered", 1, "unordered must be true or false"),
        ("extract", "(a+)+", "extract repeats a group"),
    ],
)
def test_a_faulty_field_is_named_with_the_remedy(client: CheckedClient, field: str, value: Any, told: str) -> None:
    answer = client.post("/v1/problem-sets", json={"name": "s", "problems": [{**ROW, field: value}]})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert told in error["message"]
    assert "; give " in error["message"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (r'["\ud800"]', "a lone surrogate"),
        (r'["\u0000"]', "a NUL character"),
        ("[" * 50_000, "nested deeper than"),
        (f'["{"9" * 100_001}"]', "longer than 100000 characters"),
    ],
)
def test_a_cell_of_json_holds_only_what_can_be_stored_and_told(client: CheckedClient, cell: str, told: str) -> None:
    quoted = cell.replace('"', '""')
    table = f'question,gold_answer,golds\nq,1,2\nq,1,"{quoted}"\n'.encode().replace(b",2\n", b",\n")
    answer = upload(client, table, "text/csv")
    assert answer.status_code == 201
    [refused] = answer.json()["rejected"]
    assert refused["line"] == 3
    assert told in refused["reason"]


@pytest.mark.parametrize("value", ["[" * 50_000, r'{"question": "\ud800", "gold_answer": "b"}', "{", "[NaN]"])
def test_a_form_field_of_json_is_refused_like_a_body(client: CheckedClient, value: str) -> None:
    file = {"file": ("a.jsonl", b'{"question": "q", "gold_answer": "1"}')}
    answer = client.post("/v1/problem-sets", files=file, data={"name": "s", "mapping": value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "mapping")
    assert "not acceptable JSON" in answer.json()["errors"][0]["message"]


def test_a_field_given_twice_is_refused(client: CheckedClient) -> None:
    row = {**ROW, "golds": ["2"], "meta": {"golds": ["3"]}}
    answer = client.post("/v1/problem-sets", json={"name": "s", "problems": [row]})
    assert "give it once" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(("field", "value"), [("tolerance", {}), ("tolerance", {"rel": 2}), ("extract", "(a+)+")])
def test_faulty_defaults_are_refused_by_name(client: CheckedClient, field: str, value: Any) -> None:
    answer = client.post("/v1/problem-sets", json={"name": "s", "problems": [ROW], field: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)


def test_several_boxes_are_told_and_the_last_one_is_used(client: CheckedClient) -> None:
    rows = [
        {"problem": "p", "solution": "First \\boxed{1}. So $\\boxed{2}$."},
        {"problem": "p", "solution": "$\\boxed{2}$"},
        {"problem": "p", "solution": "\\boxed{1}. \\boxed{2}.", "answer": "1"},
    ]
    answer = upload(client, lines(*rows)).json()
    assert [(note["line"], note["note"][:7]) for note in answer["notes"]] == [(1, "2 boxes")]
    assert answer["rejected"] == []
    problems = client.get(f"/v1/problem-sets/{answer['id']}/problems").json()["data"]
    assert [row["gold_answer"] for row in problems] == ["2", "2", "1"]
    assert problems[0]["meta"] == {"format": "math", "boxes": 2}
