"""Every pure function of a text takes time near-linear in it, whatever the text repeats.

To 40,000 characters here, and to 100,000 by ``make test-long``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from api.pages.diff import diff, excerpt, plain
from errata.answers.extraction import extract_answer
from errata.arithmetic import calculator_marks, find_equations, marks_agree, strip_marks
from errata.audit import style
from errata.calculations import calculations
from errata.carrying import carry_step
from errata.config import InjectionConfig, ScreeningConfig
from errata.dataflow import read_flow
from errata.identity import Context, prove_identity
from errata.injection import plan_edits
from errata.json_cells import find_json
from errata.kinds import Site, kinds_of
from errata.profile import error_profile
from errata.prompts import parse_reply
from errata.proof import is_consistent, prove_contradiction
from errata.replay import replay
from errata.rule_edits import random_token_edit
from errata.screening import screen
from errata.selection import Sample, admits_mistake
from errata.steps import offered_span, split_steps
from errata.thoughts import thought_spans, without_thoughts
from errata.types import Domain, Problem, Step, Verdict
from errata.unit_edits import splice_unit
from errata.units import Unit, units_of
from tests.errata.growing import grows_linearly

SIZES = (10_000, 20_000, 40_000)
LONG_SIZES = (25_000, 50_000, 100_000)
SHAPES = {
    "fences": "```\n",
    "environments": "\\begin{a}",
    "ends": "\\begin{a}\\begin{b}\\end{a}",
    "marks": "<<1+1=2>>2 ",
    "open marks": "<<",
    "brackets": "(",
    "digits": "9",
    "grouped digits": "1,",
    "boxes": "\\boxed{",
    "dollars": "$",
    "bold": "**",
    "newlines": "\n",
    "blank lines": " \n",
    "equality signs": "=",
    "chain": "1 + 1 = ",
    "equations": "3 + 4 = 7. ",
    "false equations": "3 + 4 = 8. ",
    "fractions": "\\frac{",
    "quotes": '"',
    "table": "| a | b |\n",
    "chinese": "先算9×3=27。",
    "spaces": " ",
    "titles": "# a\n",
    "bullets": "- a\n  - b\n",
    "list": "1. a\n2. b\n",
    "labels": "Step 1: a\n",
    "thoughts": "<think>",
    "closed thoughts": "<think>a</think>b ",
    "admissions": "wait, ",
    "words": "so on and ",
    "json": '{"a": [1, ',
}


def _screened(text: str) -> None:
    middle = len(text) // 2
    edited = f"{text[:7]}5{text[7:middle]}6{text[middle:]}7"
    screen(text, edited, text, ScreeningConfig())
    screen(text, edited, "", ScreeningConfig(distance_unit="tokens"))


def _diffed(text: str) -> None:
    middle = len(text) // 2
    runs = diff(text, f"5{text[:middle]}6{text[middle:]}7")
    excerpt(runs.chosen)
    diff(text, text[:middle])
    plain(text)


def _offered(text: str) -> None:
    offered_span(text, Step(0, 0, len(text), 0), 4)


def _planned(text: str) -> None:
    config = InjectionConfig.model_validate({"editing": {"editor": "rules"}})
    plan_edits(text, split_steps(text)[:1] or (Step(0, 0, len(text), 0),), config, Domain.MATH, 0, Problem("?", "1"))


def _twins(text: str) -> None:
    site = Site(text, (Step(0, 0, len(text), 0),), 0, Problem(text[:1000], "1"))
    for domain in (Domain.MATH, Domain.LOGIC):
        for kind in kinds_of(domain).values():
            kind.twin(site, 1, random.Random(0))


def _proved(text: str) -> None:
    prove_contradiction(text + " 1 + 1 = 2.", text + " 1 + 1 = 3.")


def _spliced(text: str) -> None:
    step = Step(0, 0, len(text), 0)
    unit = Unit(0, len("3 + 4 = 7"), "equation", one_line=True)
    for reply in ("3 + 5 = 7", text):
        splice_unit(text, step, unit, reply, kinds_of(Domain.MATH)["substitution"])


def _profiled(text: str) -> None:
    error_profile(
        [([Sample(0, text, Verdict.CORRECT, "1"), Sample(1, text + " 1 + 1 = 3", Verdict.INCORRECT, "3")], None)]
    )


OWN: dict[str, Callable[[str], object]] = {
    "steps": split_steps,
    "steps of logic": lambda text: split_steps(text, Domain.LOGIC),
    "steps of code": lambda text: split_steps(text, Domain.CODE),
    "steps of code in a fence": lambda text: split_steps(f"```python\n{text}", Domain.CODE),
    "offered": _offered,
    "json": find_json,
    "thoughts": lambda text: (thought_spans(text), without_thoughts(text)),
    "reply": lambda text: parse_reply(text, original_step="Step 2: " + text, label="Step 2: "),
    "reply behind a fence": lambda text: parse_reply("```\n" + text, original_step=text, label=""),
    "answer": lambda text: [extract_answer(text, domain) for domain in Domain],
    "style": style,
    "admits": lambda text: admits_mistake(text, text[::-1] + text),
    "random token": lambda text: random_token_edit(text, (Step(0, 0, len(text), 0),), 0, 1),
    "diff": _diffed,
}
ARITHMETIC: dict[str, Callable[[str], object]] = {
    "strip marks": strip_marks,
    "marks agree": marks_agree,
    "equations": find_equations,
    "consistent": is_consistent,
    "contradiction": _proved,
    "rules": _twins,
    "screening": _screened,
    "plan": _planned,
    "calculations": calculations,
    "profile": _profiled,
    "calculator marks": calculator_marks,
    "units": lambda text: units_of(text, Step(0, 0, len(text), 0), None),
    "replay": lambda text: replay(text, "7", text, 0, text.replace("3 + 4 = 7", "3 + 5 = 8", 1)),
    "carry": lambda text: carry_step(text, text, 0, text.replace("3 + 4 = 7", "3 + 5 = 8", 1), "end"),
    "unit edit": _spliced,
    "identity": lambda text: prove_identity(
        f"2x = x + x, {text}", f"3x = x + x, {text}", Context("", f"2x = x + x, {text}", 0)
    ),
}


#: Shapes of mathematics, which say nothing to those that read no arithmetic.
MATHEMATICS = {
    "matrices": "\\begin{pmatrix}",
    "displays": "\\[",
    "line breaks": "\\\\[",
    "inline": "$1$",
    "nested equations": "((1+1)=2)",
    "marked equations": "1 + 1 = <<1+1=2>>2 ",
    "sum": "1 + ",
    "nested fractions": "\\frac{1}{",
    "left": "\\left(1",
    "units": "3 apples + ",
    "thousands": "1,111",
    "long numbers": f"{'9' * 70} + 1 = 2, ",
    "chinese words": "是3",
    "roots": "3\\sqrt{4}=6 ",
    "steps": "Step 1: 3 + 4 = 7.\n",
    "deep": f"{'(' * 30}3 + 4{')' * 30} = 7, ",
    "open and shut": "(1 + 2) * (",
}
#: Shapes that say nothing to the reader of arithmetic, which is slower than all else.
BRIEF = (
    "grouped digits",
    "ends",
    "blank lines",
    "table",
    "titles",
    "bullets",
    "list",
    "labels",
    "closed thoughts",
    "words",
)
CASES = [(name, SHAPES[shape]) for name in OWN for shape in SHAPES] + [
    (name, shape)
    for name in ARITHMETIC
    for shape in [*(text for shape, text in SHAPES.items() if shape not in BRIEF), *MATHEMATICS.values()]
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_time_is_near_linear_in_the_text(name: str, shape: str) -> None:
    _assert_linear(name, shape, SIZES)


@pytest.mark.long
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_time_is_near_linear_in_a_long_text(name: str, shape: str) -> None:
    _assert_linear(name, shape, LONG_SIZES)


def _assert_linear(name: str, shape: str, sizes: Sequence[int]) -> None:
    # Whole repeats: one that is cut may be refused at once, and sizes would not compare.
    texts = ["3 + 4 = 7. " + shape * (size // len(shape)) for size in sizes]
    assert grows_linearly(_fresh((OWN | ARITHMETIC)[name]), texts)


def _fresh(function: Callable[[str], object]) -> Callable[[str], object]:
    """The function without what an earlier call remembered."""

    def call(text: str) -> None:
        for known in (find_equations, marks_agree, read_flow):
            known.cache_clear()
        function(text)

    return call
