"""Time grows with the text and not with its square, whatever shape is repeated."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from errata.arithmetic import calculator_marks, find_equations, marks_agree, strip_marks
from errata.kinds import Site, kinds_of
from errata.proof import is_consistent, prove_contradiction
from errata.types import Domain, Problem, Step
from tests.errata.growing import grows_linearly

SIZES = (20_000, 80_000)
SHAPES = [
    "```\n",
    r"\begin{a}",
    r"\begin{pmatrix}",
    r"\[",
    "$1$",
    "<<1+1=2>>2 ",
    "1 + 1 = <<1+1=2>>2 ",
    "<<",
    "(",
    "((1+1)=2)",
    "9",
    "1 = ",
    "1 + ",
    r"\frac{1}{",
    r"\left(1",
    r"\\[",
    "3 apples + ",
    "1,111",
    "是3",
    r"3\sqrt{4}=6 ",
]


def _twins(text: str) -> None:
    site = Site(text, (Step(0, 0, len(text), 0),), 0, Problem("", ""))
    for kind in ("calculation", "substitution", "omission", "operator", "order"):
        kinds_of(Domain.MATH)[kind].twin(site, 1, random.Random(0))


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "find_equations": find_equations,
    "is_consistent": is_consistent,
    "strip_marks": strip_marks,
    "calculator_marks": calculator_marks,
    "marks_agree": marks_agree,
    "prove_contradiction": lambda text: prove_contradiction(f"{text}\n1 + 1 = 2", f"{text}\n1 + 1 = 3"),
    "twins": _twins,
}


def _fresh(function: Callable[[str], object]) -> Callable[[str], object]:
    """The function without what an earlier call remembered."""

    def call(text: str) -> None:
        find_equations.cache_clear()
        function(text)

    return call


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_is_nearly_linear(name: str, shape: str) -> None:
    assert grows_linearly(_fresh(FUNCTIONS[name]), [shape * (size // len(shape)) for size in SIZES])
