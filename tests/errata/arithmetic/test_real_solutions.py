"""Real GSM8K solutions: what is found in them, and an independent check of what is judged and proven."""

from __future__ import annotations

import ast
import json
import operator
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from errata.arithmetic import calculator_marks, find_equations, marks_agree
from errata.proof import is_consistent, prove_contradiction

_PLAIN = re.compile(
    r"(?<![\w.,)/*+%:-])(?P<left>\$?\d[\d.,]*(?: ?[-+*/x] ?\$?\d[\d.,]*)+) = \$?(?P<right>\d[\d,]*(?:\.\d+)?)"
)
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _independent(text: str) -> Fraction:
    """The value of plain arithmetic by Python's own parser: nothing of the product is used."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return Fraction(_OPERATORS[type(node.op)](value(node.left), value(node.right)))
        assert isinstance(node, ast.Constant)
        segment = ast.get_source_segment(plain, node)
        assert segment is not None
        return Fraction(segment)

    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"[$,]", "", text).replace("x", "*"))
    return value(ast.parse(plain, mode="eval").body)


@pytest.fixture(scope="module")
def solutions(shared_data: Path) -> list[tuple[str, bool]]:
    """Text and published label of all 1,600 solutions."""
    lines = (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines()
    given = [value for line in lines for value in json.loads(line).values() if isinstance(value, dict)]
    return [(value["solution"], value["is_correct"]) for value in given]


def test_nearly_every_correct_solution_is_consistent(solutions: list[tuple[str, bool]]) -> None:
    correct = [text for text, label in solutions if label]
    assert len(correct) == 615
    # Seven with a wrong or contradictory line, one with a fraction cut, one with 450/70 = 6: all read by eye.
    assert len([text for text in correct if not is_consistent(text)]) == 9
    assert len([text for text in correct if not marks_agree(text)]) == 8
    assert sum(bool(calculator_marks(text)) for text in correct) == 614


def test_nearly_every_equation_of_correct_solutions_is_judged(solutions: list[tuple[str, bool]]) -> None:
    counts = Counter(e.holds for text, label in solutions if label for e in find_equations(text))
    assert counts[True] > 1700
    assert counts[None] < 0.01 * counts[True]


def test_plain_equations_are_judged_as_python_judges_them(solutions: list[tuple[str, bool]]) -> None:
    checked = 0
    for text, _ in solutions:
        bare = re.sub(r"<<[^<>\n]*>>", "", text)
        for match in _PLAIN.finditer(bare):
            found = [e for e in find_equations(bare) if (e.sides[0].start, len(e.sides)) == (match.start(), 2)]
            if not found or found[0].holds is None or found[0].sides[1].text.strip("$") != match["right"]:
                continue
            shown = match["right"].replace(",", "")
            decimals = len(shown.partition(".")[2])
            half = Fraction(1, 2 * 10**decimals)
            gap = abs(_independent(match["left"].rstrip(".,")) - Fraction(shown))
            if not decimals and 0 < gap <= half:
                assert found[0].holds is not False  # whether a whole number rounds here is a matter of words
                continue
            assert found[0].holds is (gap <= half), match[0]
            checked += 1
    assert checked > 2000


def test_proven_changes_of_a_digit_are_false_in_fact(solutions: list[tuple[str, bool]]) -> None:
    rng = random.Random(0)
    proven = 0
    for text, label in solutions:
        places = [m.start() for m in re.finditer(r"\d", text)] if label else []
        for at in rng.sample(places, min(4, len(places))):
            edited = text[:at] + str((int(text[at]) + rng.randint(1, 9)) % 10) + text[at + 1 :]
            evidence = prove_contradiction(text, edited)
            match = evidence and _PLAIN.fullmatch(evidence.detail["equation"])
            if not match:
                continue
            shown = match["right"].replace(",", "")
            half = Fraction(1, 2 * 10 ** len(shown.partition(".")[2]))
            assert abs(_independent(match["left"]) - Fraction(shown)) > half, edited
            proven += 1
    assert proven > 500
