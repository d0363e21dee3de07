"""Verdicts on small answers by kind, on whole texts, and on what a problem says about its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from errata.answers import ReadingOptions, UnreadableReason, judge
from errata.answers.criteria import read_criteria
from errata.types import Domain, Problem, Verdict
from tests.errata.answers.verdict_rows import ROWS, TEXTS

ALLOWED = {
    "+": {Verdict.CORRECT},
    "-": {Verdict.INCORRECT},
    "?": {Verdict.UNPARSABLE},
    "x": {Verdict.INCORRECT, Verdict.UNPARSABLE},
}


@pytest.mark.parametrize("kind", ROWS)
def test_answers(kind: str) -> None:
    wrong = []
    for gold, answer, expected in ROWS[kind]:
        judged = judge(Problem("?", gold), rf"So it is $\boxed{{{answer}}}$.", Domain.MATH)
        if judged.verdict not in ALLOWED[expected]:
            wrong.append((gold, answer, expected, str(judged.verdict), judged.report))
    assert not wrong


@pytest.mark.parametrize(("gold", "text", "expected"), TEXTS)
def test_statements(gold: str, text: str, expected: str) -> None:
    judged = judge(Problem("?", gold), text, Domain.MATH)
    assert judged.verdict in ALLOWED[expected], judged
    assert (judged.reason is not None) == (judged.verdict is Verdict.UNPARSABLE)


def test_the_shared_cases(shared_data: Path) -> None:
    lines = (shared_data.parent / "cases" / "verdicts.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines]
    judged = [judge(Problem("?", case["gold"]), case["text"], Domain.MATH).verdict for case in cases]
    assert len(cases) == 48
    assert [c for c, verdict in zip(cases, judged, strict=True) if verdict != c["expected"]] == []


META: list[tuple[str, dict[str, Any], str, str]] = [
    ("5", {"golds": ["6", "x = 7"]}, r"\boxed{6}", "+"),
    ("5", {"golds": ["6", "x = 7"]}, r"\boxed{7}", "+"),
    ("5", {"golds": ["6", "x = 7"]}, r"\boxed{5}", "+"),
    ("5", {"golds": ["6", "x = 7"]}, r"\boxed{8}", "-"),
    ("5", {"golds": [r"\sum_k k"]}, r"\boxed{8}", "?"),
    ("3.14", {"tolerance": {"abs": 0.01}}, r"\boxed{3.15}", "+"),
    ("3.14", {"tolerance": {"abs": 0.01}}, r"\boxed{3.151}", "-"),
    ("3.14", {"tolerance": {"abs": 0.01}}, r"\boxed{\pi}", "+"),
    (r"\pi", {"tolerance": {"rel": 0.001}}, r"\boxed{3.14}", "+"),
    (r"\pi", {"tolerance": {"rel": 0.0001}}, r"\boxed{3.14}", "-"),
    ("200 m", {"tolerance": {"rel": 0.05}}, r"\boxed{209\text{ m}}", "+"),
    ("200 m", {"tolerance": {"rel": 0.05}}, r"\boxed{209\text{ cm}}", "-"),
    ("(1.5, 2)", {"tolerance": {"abs": 0.1}}, r"\boxed{(1.45, 2)}", "+"),
    ("200", {"tolerance": {"rel": 0.05}}, r"\boxed{x}", "x"),
    ("2", {"tolerance": {"abs": 1}}, r"\boxed{2i}", "x"),
    ("(3, 5)", {"unordered": True}, r"\boxed{(5, 3)}", "+"),
    ("(3, 5)", {"unordered": False}, r"\boxed{(5, 3)}", "-"),
    ("(3, 5)", {"unordered": True}, r"\boxed{(5, 5)}", "-"),
    ("(3, 5)", {"unordered": True}, r"\boxed{[5, 3)}", "-"),
    ("42", {"extract": r"RESULT=(\d+)"}, "RESULT=41\nRESULT=42\nThe answer is 7.", "+"),
    ("42", {"extract": r"RESULT=(?P<answer>[^;]+);"}, "RESULT=6 * 7; done", "+"),
    ("42", {"extract": r"RESULT=\d+"}, "The answer is 42.", "?"),
    ("42", {"extract": r"(\d+)$"}, "<think>\n42\n</think>\n43", "-"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "meta", "text", "expected"), META)
def test_what_a_problem_says_about_its_answer(gold: str, meta: dict[str, Any], text: str, expected: str) -> None:
    judged = judge(Problem("?", gold, meta=meta), text, Domain.MATH)
    assert judged.verdict in ALLOWED[expected], judged


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"golds": "5"}, "meta.golds"),
    ({"golds": [5]}, "meta.golds"),
    ({"golds": [" "]}, "meta.golds"),
    ({"golds": ["5"] * 33}, "meta.golds"),
    ({"unordered": "yes"}, "meta.unordered"),
    ({"tolerance": 0.1}, "meta.tolerance"),
    ({"tolerance": {}}, "meta.tolerance"),
    ({"tolerance": {"absolute": 1}}, "meta.tolerance"),
    ({"tolerance": {"abs": -1}}, "meta.tolerance.abs"),
    ({"tolerance": {"abs": True}}, "meta.tolerance.abs"),
    ({"tolerance": {"abs": float("nan")}}, "meta.tolerance.abs"),
    ({"tolerance": {"rel": 5}}, "meta.tolerance.rel"),
    ({"extract": 5}, "meta.extract"),
    ({"extract": ""}, "meta.extract"),
    ({"extract": "("}, "meta.extract"),
    ({"extract": "x" * 301}, "meta.extract"),
    ({"extract": "(a+)+b"}, "meta.extract"),
    ({"extract": "(?:a|aa)*b"}, "meta.extract"),
    ({"extract": "(a*)*"}, "meta.extract"),
    ({"extract": "(?:(?:a?){30}){30}"}, "meta.extract"),
    ({"extract": ".*x.*y.*z"}, "meta.extract"),
    ({"extract": r"(a)\1"}, "meta.extract"),
    ({"extract": "(?=a+)b"}, "meta.extract"),
    ({"extract": "(?P<n>a)(?P=n)"}, "meta.extract"),
    ({"extract": "(?i)answer"}, "meta.extract"),
]
TAKEN = [
    r"answer:\s*(.*)",
    r"^\s*\w+\s*=\s*(\S+)$",
    r"answer: (.+)$",
    r"[Rr]esult = ([^;]+);",
    r"(?:is|=)\s*(-?\d+(?:\.\d+)?)",
    r"\[\[(.{1,50})\]\]",
    "[(a+)+]b",
]


@pytest.mark.parametrize(("meta", "field"), REFUSED)
def test_faulty_criteria_are_named(meta: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} "):
        read_criteria(meta)
    judged = judge(Problem("?", "5", meta=meta), r"\boxed{5}", Domain.MATH)
    assert (judged.verdict, judged.reason) == (Verdict.UNPARSABLE, UnreadableReason.BAD_PROBLEM)


@pytest.mark.parametrize("pattern", TAKEN)
def test_patterns_that_are_taken(pattern: str) -> None:
    assert read_criteria({"extract": pattern}).pattern is not None


REASONS = [
    ("", None, UnreadableReason.EMPTY),
    (" \n", "length", UnreadableReason.EMPTY),
    ("Step 1: 3 + 4", "length", UnreadableReason.CUT),
    ("<think>It is 5, so", "length", UnreadableReason.CUT),
    ("Step 1: 3 + 4", "stop", UnreadableReason.NO_STATEMENT),
    ("Step 1: 3 + 4", None, UnreadableReason.NO_STATEMENT),
    (r"<think>\boxed{5}</think>" + "\n", "stop", UnreadableReason.THOUGHTS_ONLY),
    (r"<think>\boxed{5}", None, UnreadableReason.THOUGHTS_ONLY),
    (r"\boxed{\int x dx}", "length", UnreadableReason.NOT_READ),
    (r"\boxed{5}", "length", None),
]


@pytest.mark.parametrize("domain", [Domain.MATH, Domain.CHOICE, Domain.LOGIC])
@pytest.mark.parametrize(("text", "finish_reason", "reason"), REASONS[:8])
def test_why_nothing_is_read(domain: Domain, text: str, finish_reason: str | None, reason: UnreadableReason) -> None:
    judged = judge(Problem("?", "5"), text, domain, options=ReadingOptions(finish_reason=finish_reason))
    assert (judged.verdict, judged.reason) == (Verdict.UNPARSABLE, reason)


@pytest.mark.parametrize(("text", "finish_reason", "reason"), REASONS)
def test_why_mathematics_is_not_read(text: str, finish_reason: str | None, reason: UnreadableReason | None) -> None:
    judged = judge(Problem("?", "5"), text, Domain.MATH, options=ReadingOptions(finish_reason=finish_reason))
    assert judged.reason is reason


def test_other_markers_of_thoughts() -> None:
    options = ReadingOptions(thoughts=(("◁think▷", "◁/think▷"), ("<reasoning>", "</reasoning>")))
    text = "◁think▷ no ◁/think▷ The answer is 5. <reasoning>\\boxed{3}</reasoning>"
    assert judge(Problem("?", "5"), text, Domain.MATH, options=options).verdict is Verdict.CORRECT
    assert judge(Problem("?", "5"), text, Domain.MATH).verdict is Verdict.INCORRECT
