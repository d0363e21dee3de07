"""The run on a real model: which problems and solutions it reads, and how counts of several sources become figures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.real_data import read
from bench.real_model import figures
from errata.answers import judge
from errata.types import Domain, Problem, Verdict


def rows(tmp_path: Path, *values: dict[str, Any] | str) -> Path:
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(value if isinstance(value, str) else json.dumps(value) for value in values))
    return file


GSM8K = {"question": "q1", "answer": "Half is 48/2 = <<48/2=24>>24.\nAll is 48+24 = <<48+24=72>>72.\n#### 72"}


def test_gsm8k_as_published_gives_solutions_whose_answer_is_read(tmp_path: Path) -> None:
    [problem], [solution] = read(rows(tmp_path, GSM8K, {**GSM8K, "question": "q2"}), 1)
    assert (problem["question"], problem["gold_answer"]) == ("q1", "72")
    assert "####" not in solution["text"]
    assert judge(Problem("q1", "72"), solution["text"], Domain.MATH).verdict is Verdict.CORRECT


def test_rows_of_ones_own_may_lack_a_solution(tmp_path: Path) -> None:
    own = {"question": "q", "gold_answer": 5, "solution": "It is 2 + 3 = 5."}
    problems, solutions = read(rows(tmp_path, own, {**own, "solution": ""}), 9)
    assert [problem["gold_answer"] for problem in problems] == ["5", "5"]
    assert [(solution["problem"], solution["text"]) for solution in solutions] == [(0, "It is 2 + 3 = 5.")]


@pytest.mark.parametrize("bad", ["{", {"question": "q"}, {"question": "q", "answer": "no gold"}, {"answer": "#### 1"}])
def test_a_line_that_cannot_be_read_is_named_with_what_it_needs(tmp_path: Path, bad: dict[str, Any] | str) -> None:
    file = rows(tmp_path, GSM8K, bad)
    with pytest.raises(ValueError, match=r"problems\.jsonl line 2: give question and answer, or gold_answer"):
        read(file, 9)


def test_without_a_file_problems_are_made() -> None:
    problems, solutions = read(None, 5)
    assert len(problems) == len(solutions) == 5
    for problem, solution in zip(problems, solutions, strict=True):
        judged = judge(Problem(problem["question"], problem["gold_answer"]), solution["text"], Domain.MATH)
        assert judged.verdict is Verdict.CORRECT


def part(**values: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("edits", "kept", "solved", "with_pair", "pairs", "generated", "prompt", "seconds"), 0)
    return {**counts, "by_kind": {}, "rejected": Counter(), "by_editor": {}, **values}


def test_sources_add_up_to_one_row() -> None:
    order = {"order": Counter(edits=4, kept=1)}
    both = figures(
        [
            part(
                edits=10, kept=6, pairs=6, generated=60, solved=3, with_pair=3, by_kind=order, rejected=Counter(empty=4)
            ),
            part(
                edits=10, kept=3, pairs=3, generated=30, solved=3, with_pair=1, by_kind={**order, "operator": Counter()}
            ),
        ]
    )
    assert both["kept_share"] == 0.45
    assert both["solved_with_pair"] == 0.6667
    assert both["generated_tokens_per_pair"] == 10.0
    assert both["by_kind"] == {"operator": {"edits": 0, "kept": 0}, "order": {"edits": 8, "kept": 2}}
    assert both["rejected"] == {"empty": 4}
    nothing = figures([part()])
    assert (nothing["kept_share"], nothing["prompt_tokens_per_pair"]) == (None, None)
