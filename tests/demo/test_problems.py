"""The word problems: right, varied, reproducible, and split without overlap."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest

from demo.lessons import KINDS, false_edits
from demo.problems import generate, rows, split_of
from demo.stories import Equation

EQUATION = re.compile(r"(\d+(?: [-+*/] \d+)+) = (\d+)")


def exact(left: str) -> Fraction:
    """The value of a left side by Python's own precedence, apart from demo's evaluation."""
    return Fraction(eval(re.sub(r"\d+", r"Fraction(\g<0>)", left), {"Fraction": Fraction}))


def test_same_seed_same_problems_and_longer_lists_extend_shorter_ones() -> None:
    assert generate(50, 3) == generate(80, 3)[:50]
    assert generate(50, 3) != generate(50, 4)


def test_gold_solutions_are_right_step_by_step() -> None:
    for problem in generate(1500, 1):
        assert problem.gold_solution is not None
        preamble, *steps, last = problem.gold_solution.split("\n")
        assert preamble == "Let's think step by step."
        assert 2 <= len(steps) <= 4
        for number, step in enumerate(steps, start=1):
            assert step.startswith(f"Step {number}: ")
            ((left, right),) = EQUATION.findall(step)
            assert exact(left) == int(right)
        assert last == f"Step {len(steps) + 1}: The answer is \\boxed{{{problem.gold_answer}}}."
        assert EQUATION.findall(steps[-1])[0][1] == problem.gold_answer


def test_problems_vary_in_family_length_and_operation() -> None:
    problems = generate(2000, 2)
    families = Counter(p.subject for p in problems)
    lengths = Counter((p.gold_solution or "").count("\n") - 1 for p in problems)
    signs = Counter(sign for p in problems for sign in re.findall(r" ([-+*/]) ", p.gold_solution or ""))
    assert min(families.values()) > 100
    assert len(families) == 6
    assert min(lengths.values()) > 300
    assert min(signs.values()) > 200
    assert set(signs) == set("+-*/")


def test_splits_share_neither_questions_nor_numbers() -> None:
    train, heldout = generate(3000, 5), generate(3000, 5, "heldout")
    assert {split_of(p.question) for p in train} == {"train"}
    assert {split_of(p.question) for p in heldout} == {"heldout"}

    def numbers(question: str) -> tuple[str, ...]:
        return tuple(re.findall(r"\d+", question))

    assert not {numbers(p.question) for p in train} & {numbers(p.question) for p in heldout}


def test_rows_are_a_problem_set() -> None:
    (problem,) = generate(1, 9)
    assert rows([problem]) == [{"question": problem.question, "answer": problem.gold_answer}]


@pytest.mark.parametrize(
    ("equation", "none"),
    [
        (Equation((3, 4), ("+",), 7), {"omission", "order"}),
        (Equation((3, 4), ("*",), 12), {"omission", "order"}),
        (Equation((9, 4), ("-",), 5), {"omission"}),
        (Equation((12, 3), ("/",), 4), {"omission"}),
        (Equation((3, 4, 5), ("+", "+"), 12), {"order"}),
        (Equation((20, 4, 5), ("-", "-"), 11), set()),
        (Equation((2, 4, 5), ("*", "+"), 13), set()),
        (Equation((2, 2), ("+",), 4), {"omission", "order"}),
        (Equation((5, 5), ("-",), 0), {"omission", "order"}),
    ],
)
def test_kinds_offer_false_edits_alone(equation: Equation, none: set[str]) -> None:
    for kind in KINDS:
        edits = [edited for _, edited in false_edits(equation, kind)]
        assert bool(edits) == (kind not in none)
        for edited in edits:
            left, right = str(edited).split(" = ")
            assert "/ 0" in left or exact(left) != int(right)
            assert len(edited.ops) == len(equation.ops) - (kind == "omission")
