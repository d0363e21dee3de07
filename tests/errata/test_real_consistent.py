"""Consistent edits of real GSM8K solutions: nearly every problem has some, each replays to a wrong answer.

The answers are computed once more here, from calculator marks alone, with nothing of the product.
"""

from __future__ import annotations

import ast
import json
import operator
import random
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from errata.answers import judge
from errata.config import resolve
from errata.injection import plan_edits
from errata.proof import Outcome, prove_edit
from errata.replay import prove_replay, replay
from errata.rule_edits import rule_edit
from errata.seeds import derive_seed
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem

_MARK = re.compile(r"<<([^<>\n]*)=([^<>=\n]*)>>")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
CONFIG = resolve("rules", {"editing": {"form": {"consistent": 1.0}, "kinds": {"substitution": 3.0, "operator": 1.0}}})


@dataclass(frozen=True)
class Edit:
    """One consistent edit of a real solution, and what its replay found."""

    problem: Problem
    solution: str
    original: str
    edited: str
    start: int
    kind: str
    evidence: EvidenceKind

    @property
    def whole(self) -> str:
        """The solution with the edited step; later steps as they were."""
        return self.solution[: self.start] + self.edited + self.solution[self.start + len(self.original) :]


def _value(text: str) -> Fraction:
    """Plain arithmetic by Python's own parser, exactly."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return Fraction(_OPERATORS[type(node.op)](value(node.left), value(node.right)))
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        segment = ast.get_source_segment(plain, node)
        assert segment is not None
        return Fraction(segment)

    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", text.replace(",", "").replace("%", "/100").strip())
    return value(ast.parse(plain, mode="eval").body)


def _result(text: str) -> Fraction:
    """A mark's result; calculators that wrote some of these used floats (99.00000000000001)."""
    return round(Fraction(text.replace(",", "")), 6)


def recomputed(edit: Edit) -> tuple[Fraction, bool] | None:
    """The last mark's value when the edited one is carried on, and whether a later step uses what was changed.

    None where the edited calculation has no mark.
    """
    marks = _MARK.findall(edit.solution)
    edited = _MARK.findall(edit.whole)
    first = next((at for at, (old, new) in enumerate(zip(marks, edited, strict=True)) if old != new), None)
    if first is None:
        return None
    changed = {_result(marks[first][1]): _result(edited[first][1])}
    last = changed[next(iter(changed))]
    used = False
    inside = len(_MARK.findall(edit.solution[: edit.start] + edit.edited))
    for at, (expression, result) in enumerate(marks[first + 1 :], start=first + 1):

        def carried(number: re.Match[str]) -> str:
            value = Fraction(number[0])
            return f"({changed[value]})" if value in changed else number[0]

        written = _NUMBER.sub(carried, expression.replace(",", ""))
        used = used or (written != expression.replace(",", "") and at >= inside)
        last = _value(written)
        if round(last, 6) != _result(result):
            changed[_result(result)] = last
    return last, used


@pytest.fixture(scope="module")
def edits(shared_data: Path) -> tuple[int, list[Edit]]:
    """How many problems have a correct solution of two or more calculations, and all consistent edits of these."""
    calculating, made = 0, []
    for line in (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines():
        row = json.loads(line)
        right = {v["solution"] for v in row.values() if isinstance(v, dict) and v["is_correct"]}
        if not right:
            continue
        problem = Problem(row["question"], row["ground_truth"].rpartition("A: ")[2].strip())
        solution = random.Random(row["question"]).choice(sorted(right))
        if len(_MARK.findall(solution)) < 2:
            continue
        calculating += 1
        made += _edits(problem, solution)
    return calculating, made


def _edits(problem: Problem, solution: str) -> list[Edit]:
    steps, found = split_steps(solution), []
    plan = plan_edits(solution, steps, CONFIG, Domain.MATH, derive_seed("plan", problem.question), problem)
    for planned in plan.edits:
        original = solution[steps[planned.step].start : steps[planned.step].end]
        seed, place = derive_seed("rule", original), (planned.unit, planned.form)
        edited = rule_edit(solution, steps, planned.step, planned.kind, seed, Domain.MATH, problem, *place)
        assert edited is not None
        replayed = replay(problem.question, problem.gold_answer, solution, planned.step, edited)
        assert replayed.text is not None
        proof = prove_edit(
            original, edited, replayed=prove_replay(replayed, judge(problem, replayed.text, Domain.MATH).verdict)
        )
        assert proof.outcome is Outcome.PROVEN
        start = steps[planned.step].start
        found.append(Edit(problem, solution, original, edited, start, planned.kind, proof.evidence.kind))
    return found


def test_nearly_every_calculating_problem_has_a_consistent_edit_proven_by_replay(edits: tuple[int, list[Edit]]) -> None:
    calculating, made = edits
    assert calculating >= 250
    assert Counter(edit.evidence for edit in made) == {EvidenceKind.REPLAY: len(made)}
    assert len({edit.problem.question for edit in made}) >= 0.8 * calculating


def test_no_consistent_edit_comes_to_gold_by_an_independent_recomputation(edits: tuple[int, list[Edit]]) -> None:
    used = unmarked = 0
    for edit in edits[1]:
        found = recomputed(edit)
        if found is None:
            unmarked += 1
            continue
        answer, later = found
        assert answer != Fraction(edit.problem.gold_answer.replace(",", "")), edit.whole
        used += later
    assert unmarked <= 0.02 * len(edits[1])
    assert used >= len(edits[1]) / 2, "at least half change a result that a later step uses"


def test_an_edited_step_keeps_its_words_and_nothing_in_it_keeps_the_old_value(edits: tuple[int, list[Edit]]) -> None:
    for edit in edits[1]:
        old, new = (re.sub(r"[\d.,]+|[-–−+*/x×÷]", "#", _MARK.sub("", side)) for side in (edit.original, edit.edited))
        assert old == new
        for expression, result in set(_MARK.findall(edit.edited)) - set(_MARK.findall(edit.original)):
            assert _value(expression) == _result(result)
