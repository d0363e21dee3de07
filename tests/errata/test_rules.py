"""Rule-made edits on real solutions, checked by an evaluator that shares no code with the proof."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from errata.arithmetic import calculator_marks, marks_agree
from errata.config import ScreeningConfig
from errata.kinds import Site, kinds_of
from errata.proof import is_consistent
from errata.screening import screen
from errata.steps import split_steps
from errata.types import Domain, Problem, Reason, Step

pytestmark = pytest.mark.timeout(900)  # every step of 1,600 solutions; a loaded machine takes its time
KINDS = ["calculation", "substitution", "omission", "operator", "order"]
STEP = "Step 1: She pays 3 * 4 + 5 = 17 dollars.\n"
MARKED = "He earns 9 * 2 = $<<9*2=18>>18 a day.\n"


def false_edits(
    step: str, kind: str, question: str = "", most: int = 24, rng: random.Random | None = None
) -> list[str]:
    """The kind's rule-made edits of a step that stands alone."""
    site = Site(step, (Step(0, 0, len(step), 0),), 0, Problem(question, ""))
    return kinds_of(Domain.MATH)[kind].twin(site, most, rng)


class _Unreadable(Exception):
    """The independent evaluator cannot read this expression."""


def _value(expression: str) -> Fraction:
    """Value of ``+ - * / ( )`` over decimals by recursive descent, in fractions."""
    tokens = re.findall(r"\d+(?:\.\d+)?|\.\d+|[-+*/()]", expression)
    if "".join(tokens) != expression.replace(" ", "") or not tokens:
        raise _Unreadable(expression)
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    def atom() -> Fraction:
        nonlocal at
        token = peek()
        at += 1
        if token == "(":
            value = total()
            if peek() != ")":
                raise _Unreadable(expression)
            at += 1
            return value
        if token == "-":
            return -atom()
        if not token or token in "+*/)":
            raise _Unreadable(expression)
        return Fraction(token)

    def product() -> Fraction:
        nonlocal at
        value = atom()
        while peek() in ("*", "/"):
            sign = tokens[at]
            at += 1
            other = atom()
            if sign == "/" and other == 0:
                raise _Unreadable(expression)
            value = value * other if sign == "*" else value / other
        return value

    def total() -> Fraction:
        nonlocal at
        value = product()
        while peek() in ("+", "-"):
            sign = tokens[at]
            at += 1
            value = value + product() if sign == "+" else value - product()
        return value

    value = total()
    if at != len(tokens):
        raise _Unreadable(expression)
    return value


_EQUATION = re.compile(
    r"(?=(?:^|[^\d.)*/+%\-\s]\s*|[.,:]\s+)([\d(][\d.()*/+\s-]*)=\s*(-?\d+(?:\.\d+)?)(?![\d%]|\.\d|\s*[-*/+(:]))"
)


def _read(step: str) -> dict[str, bool]:
    """The plain numeric equations of a step that this evaluator can read, and whether each is true."""
    text = re.sub(r"<<[^<>]*>>", "", step)
    text = re.sub(r"(?<=\d)[, ](?=\d{3}(?!\d))", "", text).replace("$", "").replace("×", "*").replace("÷", "/")
    text = re.sub(r"(?<=[\d)])\s*x\s*(?=[\d(.])", "*", text)
    found: dict[str, bool] = {}
    for match in _EQUATION.finditer(text):
        left, right = match[1].strip(), match[2]
        try:
            value = _value(left)
        except _Unreadable:
            continue
        if re.search(r"[-+*/]", left):
            places = len(right.partition(".")[2])
            half = Fraction(1, 2 * 10**places) if places else 0
            found[f"{left} = {right}"] = abs(value - Fraction(right)) <= half
    return found


def _steps(folder: Path) -> list[tuple[str, str]]:
    """(question, step) of every offered step of the 1,600 real solutions, each distinct text once."""
    found: dict[str, str] = {}
    for line in (folder / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines():
        row = json.loads(line)
        for solution in (value["solution"] for value in row.values() if isinstance(value, dict)):
            for step in split_steps(solution):
                text = solution[step.start : step.end]
                if not step.is_answer and is_consistent(text):
                    found.setdefault(text, row["question"])
    return [(question, text) for text, question in found.items()]


@pytest.fixture(scope="module")
def edits(shared_data: Path) -> list[tuple[str, str, list[str]]]:
    """(kind, step, its edits) of every real step."""
    rng = random.Random(0)
    return [(kind, step, false_edits(step, kind, q, 2, rng)) for q, step in _steps(shared_data) for kind in KINDS]


def test_no_edit_of_a_real_step_is_in_fact_true(edits: list[tuple[str, str, list[str]]]) -> None:
    checked = unread = 0
    for _kind, step, made in edits:
        before = _read(step)
        for edited in made:
            new = {equation: true for equation, true in _read(edited).items() if equation not in before}
            checked += bool(new)
            unread += not new
            assert not new or not all(new.values()), (step, edited)
    assert checked > 0.6 * (checked + unread)
    assert checked > 10_000


def test_every_kind_yields_what_real_steps_allow(edits: list[tuple[str, str, list[str]]]) -> None:
    """Eligible by an independent count: plain true equations, with what the kind needs on their left side."""
    allowed: Counter[str] = Counter()
    yielded: Counter[str] = Counter()
    for kind, step, made in edits:
        if not _eligible(step, kind):
            continue
        allowed[kind] += 1
        yielded[kind] += bool(made)
    for kind in KINDS:
        assert allowed[kind] > 100
        assert yielded[kind] >= 0.8 * allowed[kind], (kind, yielded[kind], allowed[kind])


def _eligible(step: str, kind: str) -> bool:
    text = re.sub(r"<<[^<>]*>>", "", step).replace("$", "")
    read = _read(step)
    if not read or not all(read.values()):
        return False
    number = r"\d+(?:\.\d+)?"
    if kind == "order":
        return bool(re.search(rf"(?<![-+*/\d.] )(?<![\d.])({number}) ?[-/] ?(?!\1\b){number} ?= ?", text))
    if kind == "omission":
        return bool(re.search(rf"(?<![\d.]){number} ?[+-] ?{number} ?[+-] ?{number} ?= ?", text))
    return True


def test_every_real_edit_passes_screening_and_keeps_its_marks_in_step(
    edits: list[tuple[str, str, list[str]]],
) -> None:
    reasons: Counter[Reason | None] = Counter()
    for _kind, step, made in edits:
        for edited in made[:1]:
            reasons[screen(step, edited, "", ScreeningConfig()).reason] += 1
            if marks_agree(step):
                assert marks_agree(edited), (step, edited)
            assert len(calculator_marks(edited)) == len(calculator_marks(step))
    assert reasons[None] > 0.97 * reasons.total(), reasons


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("calculation", "= 18 dollars"),
        ("substitution", "3 * 5 + 5 = 17"),
        ("omission", "pays 3 * 4 = 17"),
        ("operator", "3 + 4 + 5 = 17"),
    ],
)
def test_each_kind_changes_what_its_name_says(kind: str, expected: str) -> None:
    assert any(
        expected in edited for edited in false_edits(STEP, kind, "She buys 3 pens at 4 dollars and pays 5 more.")
    )


def test_order_is_only_offered_where_order_matters() -> None:
    assert false_edits(STEP, "order") == ["Step 1: She pays 3 * 5 + 4 = 17 dollars.\n"]
    assert false_edits("So 3 + 4 = 7.\n", "order") == []
    assert false_edits("So 9 - 4 = 5.\n", "order") == ["So 4 - 9 = 5.\n"]


def test_dropping_one_of_two_terms_leaves_no_calculation() -> None:
    assert false_edits("So 3 + 4 = 7.\n", "omission") == []


def test_a_step_without_a_true_equation_has_no_false_edit() -> None:
    for step in ("She is happy.\n", "So 3 + 4 = 8.\n", "Let x = y + 2.\n"):
        assert all(false_edits(step, kind) == [] for kind in KINDS)


def test_marks_are_edited_with_their_text() -> None:
    assert "He earns 9 * 2 = $<<9*2=19>>19 a day.\n" in false_edits(MARKED, "calculation")
    assert "He earns 9 + 2 = $<<9+2=18>>18 a day.\n" in false_edits(MARKED, "operator")
    assert all(marks_agree(edited) for kind in KINDS for edited in false_edits(MARKED, kind))


def test_the_registry_knows_when_the_papers_rule_applies() -> None:
    kinds = kinds_of(Domain.MATH)
    assert [k.name for k in kinds.values() if k.applies("She has 3 pens.")] == ["calculation"]
    assert [k.name for k in kinds.values() if k.applies("She is happy.")] == ["misreading"]
    assert set(KINDS) == {k.name for k in kinds.values() if k.applies("3 + 4 = 7")}
