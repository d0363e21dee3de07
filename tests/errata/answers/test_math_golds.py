"""The 1,000 MATH golds written otherwise (never judged wrong) and spoiled (never accepted). All of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from errata.answers import judge
from errata.answers.boxes import final_boxes
from errata.types import Domain, Problem, Verdict
from tests.errata.answers.respelled import REFORMATS, spoilings


@pytest.fixture(scope="module")
def golds(shared_data: Path) -> list[str]:
    """The distinct answers of MATH, as intake reads them."""
    lines = (shared_data / "math" / "test-1000.jsonl").read_text().splitlines()
    boxes = [final_boxes(json.loads(line)["solution"]) for line in lines]
    assert len(boxes) == 1000
    return list(dict.fromkeys(box.content for box in boxes if box is not None))


def test_reference_solutions_state_their_own_answers(shared_data: Path) -> None:
    for line in (shared_data / "math" / "test-1000.jsonl").read_text().splitlines():
        solution = json.loads(line)["solution"]
        box = final_boxes(solution)
        assert box is not None
        assert judge(Problem("?", box.content), solution, Domain.MATH).verdict is Verdict.CORRECT, line


def test_the_same_answer_in_other_spelling_is_right(golds: list[str]) -> None:
    tried, wrong = Counter[str](), []
    for gold in golds:
        for kind, respelled in REFORMATS.items():
            answer = respelled(gold)
            if answer == gold:
                continue
            tried[kind] += 1
            if _verdict(gold, answer) is not Verdict.CORRECT:
                wrong.append((kind, gold, answer))
    assert len(tried) == len(REFORMATS)
    assert len(wrong) <= 0.005 * tried.total(), wrong


def test_a_spoiled_answer_is_never_right(golds: list[str]) -> None:
    tried, accepted = Counter[str](), []
    for gold in golds:
        for kind, answer in spoilings(gold):
            if not differs(gold, answer):
                continue
            tried[kind] += 1
            if _verdict(gold, answer) is Verdict.CORRECT:
                accepted.append((kind, gold, answer))
    assert accepted == []
    assert tried.total() > 1000
    assert {"digit", "sign", "bracket", "exponent", "base", "unit power", "swapped", "lost"} <= set(tried)


def _verdict(gold: str, answer: str) -> Verdict:
    return judge(Problem("?", gold), f"So it is $\\boxed{{{answer}}}$.", Domain.MATH).verdict


def differs(gold: str, answer: str) -> bool:
    """A check apart from the product: other characters, and other values wherever Python can compute both."""
    if _bare(gold) == _bare(answer):
        return False
    values = [_value(gold), _value(answer)]
    if values[0] is not None and values[1] is not None:
        return values[0] != values[1]
    parts = [[_part(piece) for piece in _bare(text).split(",")] for text in (gold, answer)]
    return parts[0] != parts[1]


def _part(piece: str) -> Fraction | str:
    value = _value(piece)
    return piece if value is None else value


def _bare(text: str) -> str:
    return re.sub(r"\\left|\\right|\s", "", text)


def _value(text: str) -> Fraction | None:
    """The value of a fraction, integer or decimal, times an integer in front of brackets."""
    plain = re.sub(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", _bare(text))
    factor = re.fullmatch(r"(-?\d+)\((-?\d+(?:/\d+)?)\)", plain)
    if factor:
        return int(factor[1]) * Fraction(factor[2])
    return Fraction(plain) if re.fullmatch(r"-?\d+(?:\.\d+|/[1-9]\d*)?", plain) else None
