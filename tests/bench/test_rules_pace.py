"""``bench.rules_pace`` on a few solutions: both sides work, and equal checkouts make equal things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.rules_pace import ROOT, measure, solutions, worked

REFERENCE = {
    "question": "48 and half of it?",
    "answer": "Half is 48/2 = <<48/2=24>>24.\nSo 48+24 = <<48+24=72>>72.\n#### 72",
}
MODELS = {
    "question": "2 and 3?",
    "ground_truth": "2+3 = 5\nA: 5",
    "a": {"solution": "So 2 + 3 = 5.\nA: 5"},
    "b": {"solution": "A: 6"},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train-1000.jsonl").write_text(json.dumps(REFERENCE))
    (tmp_path / "model-solutions-400.jsonl").write_text(json.dumps(MODELS))
    return tmp_path


def test_a_solution_is_judged_planned_edited_and_proven(data: Path) -> None:
    first, *others = solutions(data, 10)
    assert [gold for _, gold, _ in (first, *others)] == ["72", "5", "5"]
    verdict, steps, _, *edits = worked(*first, {})
    assert verdict == "correct"
    assert len(steps) == 3
    assert {edit[4] for edit in edits} == {"proven"}
    assert worked(*others[1], {})[0] == "incorrect"


def test_a_checkout_compared_with_itself_makes_the_same(data: Path) -> None:
    found = measure(ROOT, data, 3, 2)
    assert found["same_outputs"] is True
    assert found["ratio"] > 0
    assert all(seconds > 0 for form in ("default", "stands") for seconds in found[form]["seconds"])
