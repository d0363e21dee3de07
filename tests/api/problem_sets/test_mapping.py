"""Columns under other names, and what is told where they are not there."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from api.problem_sets.fields import RowError
from api.problem_sets.mapping import ColumnMapping
from tests.api.conftest import CheckedClient
from tests.api.problem_sets.uploading import lines, problems, upload

MAPPING = {"question": "q", "gold_answer": "final"}


def mapped(client: CheckedClient, data: bytes, mapping: Any, content_type: str = "application/jsonl") -> Any:
    return upload(client, data, content_type, f"&mapping={quote(json.dumps(mapping))}")


def test_a_mapping_comes_in_the_address_a_form_or_a_document(local: CheckedClient) -> None:
    rows = [{"q": "What?", "final": 7, "score": None, "lvl": "hard"}]
    mapping = {**MAPPING, "level": "lvl"}
    form = local.post(
        "/v1/problem-sets",
        files={"file": ("a.csv", b"q;final;score;lvl\r\nWhat?;7;;hard\r\n")},
        data={"name": "form", "mapping": json.dumps(mapping)},
    )
    document = local.post("/v1/problem-sets", json={"name": "document", "mapping": mapping, "problems": rows})
    for answer in (mapped(local, lines(*rows), mapping), form, document):
        [problem] = problems(local, answer)
        assert (problem["question"], problem["gold_answer"], problem["level"]) == ("What?", "7", "hard")


def test_a_column_that_is_not_there_is_told_with_those_that_are(local: CheckedClient) -> None:
    table = b"Question,Final,level\nq,7,\n"
    answer = mapped(local, table, {"question": "Question", "gold_answer": "Finale", "level": "level"}, "text/csv")
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "mapping.gold_answer")
    assert error["remedy"] == "did you mean 'Final'? the file has the columns 'Question', 'Final', 'level'"
    nested = mapped(local, lines({"a": {"b": 1}}), {"question": "a.c", "gold_answer": "a.b"})
    assert "the file has the columns 'a'" in nested.json()["errors"][0]["remedy"]


def test_a_column_that_is_empty_at_first_is_there(local: CheckedClient) -> None:
    table = b"q,final,level\n" + b"q,7,\n" * 1500 + b"q,7,hard\n"
    answer = mapped(local, table, {**MAPPING, "level": "level"}, "text/csv")
    assert (answer.status_code, answer.json()["problem_count"]) == (201, 1501)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"question": "q"}, "needs 'question', and 'gold_answer'"),
        ({**MAPPING, "colour": "c"}, "has no field 'colour'"),
        ({"question": 5}, "valid string"),
        ([], "dictionary"),
    ],
)
def test_a_faulty_mapping_is_refused_by_name(local: CheckedClient, mapping: Any, told: str) -> None:
    answer = mapped(local, lines({"q": "a", "final": "b"}), mapping)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["field"].partition(".")[0]) == (422, "mapping")
    assert told in error["message"]


def test_unknown_columns_are_told_with_the_remedy(local: CheckedClient) -> None:
    answer = upload(local, b"prompt_text,target\na,1\nb,2\nc,3\n", "text/csv")
    [error] = answer.json()["errors"]
    assert "unknown field 'prompt_text'" in error["message"]
    assert "(3 rows; the first: 2, 3, 4)" in error["message"]
    assert "'prompt_text', 'target'" in error["remedy"]
    assert "mapping" in error["remedy"]


def test_a_dot_reaches_into_objects_and_lists() -> None:
    mapping = ColumnMapping({"question": "turns.1.content", "gold_answer": "r.truth", "id": "a.b"})
    row = {"turns": [{}, {"content": "Q"}], "r": {"truth": 7}, "a.b": "whole name first"}
    problem = mapping.problem(row, 1000)
    assert (problem["question"], problem["gold_answer"], problem["external_id"]) == ("Q", "7", "whole name first")
    with pytest.raises(RowError, match=r"column 'r\.truth' is missing"):
        mapping.problem({"turns": row["turns"], "r": []}, 1000)


def test_without_a_gold_column_the_solution_states_the_answer() -> None:
    mapping = ColumnMapping({"question": "q", "gold_solution": "s"})
    for solution, gold in (("so\n#### 1,200", "1200"), ("so $\\boxed{5}$.", "5")):
        problem = mapping.problem({"q": "Q", "s": solution}, 1000)
        assert (problem["gold_answer"], problem["gold_solution"]) == (gold, solution)
    with pytest.raises(RowError, match="final answer"):
        mapping.problem({"q": "Q", "s": "no answer"}, 1000)
