"""What a row means: our fields, and the rows of projects that people use."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from api.problem_sets.formats import RowError, parse_problem
from errata.answers import extract_answer
from tests.api.conftest import CheckedClient
from tests.api.problem_sets.uploading import lines, upload

FORMATS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"question": " q ", "gold_answer": 7}, {"question": "q", "gold_answer": "7"}),
    ({"question": "q", "gold_answer": "x", "meta": {"a": [1, "é"]}}, {"meta": {"a": [1, "é"]}}),
    (
        {"question": "q", "answer": "48/2 = <<48/2=24>>24\n#### 1,024"},
        {"gold_answer": "1024", "gold_solution": "48/2 = <<48/2=24>>24", "meta": {"format": "gsm8k"}},
    ),
    ({"question": "q", "answer": "#### (1,2)"}, {"gold_answer": "(1,2)", "gold_solution": None}),
    ({"question": "q", "answer": "12"}, {"gold_answer": "12", "meta": {"format": "answer"}}),
    (
        {"problem": "p", "solution": "so \\boxed{1} or \\boxed{\\frac{1}{2}}.", "level": "Level 5", "type": "Algebra"},
        {"question": "p", "gold_answer": "1 \\text{ or } \\frac{1}{2}", "level": "Level 5", "subject": "Algebra"},
    ),
    ({"problem": "p", "solution": "First \\boxed{1}. So $\\boxed 2$."}, {"gold_answer": "2"}),
    ({"problem": "p", "solution": "It is $\\fbox{2}$"}, {"gold_answer": "2"}),
    ({"problem": "p", "solution": "s", "answer": "9", "unique_id": "t/1.json"}, {"gold_answer": "9"}),
    ({"problem": "p", "solution": "So \\boxed 5."}, {"gold_answer": "5"}),
    ({"problem": "p", "solution": "So \\fbox{5} it is."}, {"gold_answer": "5"}),
    (
        {"question": "q", "gold_answer": "9", "meta": {"golds": ["8"], "tolerance": {"abs": 0.5}, "unordered": True}},
        {"gold_answer": "9", "meta": {"golds": ["8"], "tolerance": {"abs": 0.5}, "unordered": True}},
    ),
    (
        {"prompt": "q", "chosen": "Step 2", "rejected": "Step 2", "initial_reason_steps": "Step 1", "answer": "5"},
        {"question": "q", "gold_answer": "5", "gold_solution": None, "meta": {"format": "step-dpo"}},
    ),
    (
        {"problem": "p", "solution": "\\boxed{1}", "answer": "1", "subject": "Algebra", "level": 5, "unique_id": "t/1"},
        {"question": "p", "gold_answer": "1", "subject": "Algebra", "level": "5", "external_id": "t/1"},
    ),
]
TURN = {"role": "user", "content": "Q"}
SYSTEM = {"role": "system", "content": "S"}
SAYS = {"role": "assistant", "content": "So \\boxed{5}"}
TURNS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "data_source": "openai/gsm8k",
            "prompt": [TURN],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "1,072"},
            "extra_info": {"split": "train", "index": 0, "answer": "a\n#### 1,072"},
        },
        {"question": "Q", "gold_answer": "1072", "gold_solution": "a\n#### 1,072", "meta": {"format": "verl"}},
    ),
    (
        {"prompt": [SYSTEM, TURN], "reward_model": {"ground_truth": ["7", 7.5]}, "extra_info": {"answer": "7"}},
        {"gold_answer": "7", "gold_solution": None, "meta": {"format": "verl", "golds": ["7.5"], "system": "S"}},
    ),
    ({"prompt": json.dumps([TURN]), "reward_model": '{"ground_truth": "7"}'}, {"question": "Q", "gold_answer": "7"}),
    ({"prompt": "Q", "reward_model": {"ground_truth": 7}}, {"question": "Q", "gold_answer": "7"}),
    ({"messages": [TURN, SAYS]}, {"question": "Q", "gold_answer": "5", "gold_solution": "So \\boxed{5}"}),
    ({"messages": [TURN, SAYS], "answer": 6}, {"gold_answer": "6", "gold_solution": "So \\boxed{5}"}),
    ({"messages": [TURN], "solution": "so $\\boxed{5}$"}, {"gold_answer": "5", "gold_solution": "so $\\boxed{5}$"}),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}], "ground_truth": "5"},
        {"question": "Q", "gold_answer": "5", "meta": {"format": "messages"}},
    ),
    (
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "t\n#### 1,200"}]},
        {"question": "Q", "gold_answer": "1200", "gold_solution": "t\n#### 1,200"},
    ),
    ({"prompt": [TURN], "answer": "5"}, {"question": "Q", "gold_answer": "5"}),
]


@pytest.mark.parametrize(("row", "expected"), TURNS)
def test_conversations(row: dict[str, Any], expected: dict[str, Any]) -> None:
    problem = parse_problem(row, 1000)
    assert {key: problem[key] for key in expected} == expected  # type: ignore[literal-required]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": [TURN], "reward_model": {}}, "'reward_model.ground_truth' is missing"),
        ({"prompt": [TURN], "reward_model": {"ground_truth": ["1", {}]}}, "must be a text or a list of texts"),
        ({"prompt": [SYSTEM], "reward_model": {"ground_truth": "1"}}, "one turn of the user"),
        ({"messages": [TURN, {"role": "assistant", "content": "no"}]}, "no assistant's turn"),
        ({"messages": [TURN, SAYS, TURN], "answer": "1"}, "one turn of the user"),
        ({"messages": "text", "answer": "1"}, "a list of turns"),
        ({"messages": [{"role": "tool", "content": "x"}], "answer": "1"}, "a turn of 'tool'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "answer": "1"}, "is no text"),
        ({"question": "q", "answer": float("nan")}, "'answer' is NaN"),
        ({"question": "q", "gold_answer": float("inf")}, "'gold_answer' is infinite"),
        ({"instruction": "q", "output": "5"}, "unknown field 'instruction'"),
    ],
)
def test_rows_that_cannot_be_used_say_why(row: dict[str, Any], told: str) -> None:
    with pytest.raises(RowError, match=re.escape(told)):
        parse_problem(row, 1000)


SOLUTIONS_WITH_BOXES = [
    "So it is \\boxed{5}.",
    "So it is \\boxed 5.",
    "So it is \\fbox{5}",
    "\\boxed{1}, no: \\boxed{\\text{about } \\frac{1}{2}}",
    "\\boxed{3} and \\boxed{4",
]


@pytest.mark.parametrize("solution", SOLUTIONS_WITH_BOXES)
def test_a_gold_box_is_read_as_grading_reads_it(solution: str) -> None:
    problem = parse_problem({"problem": "p", "solution": solution}, 1000)
    assert problem["gold_answer"] == extract_answer(solution)


@pytest.mark.parametrize("solution", ["The answer is 5.", "\\boxed{}", "\\boxed{ }", "\\boxed{5"])
def test_a_solution_without_a_complete_box_has_no_gold_answer(solution: str) -> None:
    with pytest.raises(RowError, match=r"no .*boxed"):
        parse_problem({"problem": "p", "solution": solution}, 1000)


@pytest.mark.parametrize(("row", "expected"), FORMATS)
def test_known_formats(local: CheckedClient, row: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = upload(local, lines(row))
    assert answer.status_code == 201, answer.text
    problem = local.get(f"/v1/problem-sets/{answer.json()['id']}/problems").json()["data"][0]
    assert {key: problem[key] for key in expected} == expected
