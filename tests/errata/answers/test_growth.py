"""Reading takes time near-linear in the text, whatever it repeats; comparing ends soon, whatever the answers are."""

from __future__ import annotations

import time

import pytest

from errata.answers import extract_answer, judge
from errata.answers.boxes import final_boxes, find_boxes
from errata.answers.criteria import find_by_pattern, read_criteria
from errata.thoughts import without_thoughts
from errata.types import Domain, Problem

SIZES = (25_000, 50_000, 100_000)
SHAPES = [
    "\\boxed{", "\\boxed{1} ", "\\boxed 5 ", "$\\boxed{2}$ and ", "\\fbox{\\boxed{", "{", "}", "(", "[", "{}", "\\",
    "$", "$$ ", "```\n", "```python\nx\n", "\\begin{a}", "\\begin{aligned} ", "the answer is ", "The answer is 5. ",
    "the answer to ", "The answer is\n", "Final Answer: ", "Final Answer\n", "A:\n", "A: 5\n", "A:", "Answer",
    "#### ", "#### 5\n", "#", "####", "* ", "**", "*_", " ", "\t", "\n", " \n", "9", "1,", "1,234,", "a", "a ", "A",
    "<think>", "</think>", "<think></think>", "<<1+1=2>>2 ", "<<", "<", "<|", "答案：", "答：有5个。", "。",
    "Therefore ",
    "So x = 5. ", "is ", "= ", "option (A) ", '{"a": 1} ', "[1, ", "my answer for a ",
    "the                                                  ", "5 p.m. ", "½", "√",
]  # fmt: skip


def _seconds(text: str) -> float:
    """CPU seconds of every reader on ``text``."""
    start = time.process_time()
    for domain in Domain:
        extract_answer(text, domain)
    find_boxes(text)
    final_boxes(text)
    without_thoughts(text)
    return time.process_time() - start


def _grows_linearly(shape: str) -> bool:
    """Four times the text takes a quadratic reader 16 times as long. The constants are far above any clock's noise."""
    texts = [(shape * (size // len(shape) + 1))[:size] + " The answer is 5." for size in SIZES]
    small, middle, large = (_seconds(text) for text in texts)
    return large < 9 * small + 0.3 and middle < 5 * small + 0.3 and large < 3


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_is_near_linear(shape: str) -> None:
    assert any(_grows_linearly(shape) for _ in range(3))


@pytest.mark.parametrize(
    "pattern", [r"(?:is|=)\s*(-?\d+(?:\.\d+)?)", r"answer:\s*(.*)", r"x.*y(.+)z", r"\s*\S+=(\S+)$"]
)
@pytest.mark.parametrize("shape", ["x", " ", "9", "9.", "= ", "xy", "answer: ", "x\n", "= 9\n"])
def test_a_problems_own_pattern_ends_soon(pattern: str, shape: str) -> None:
    compiled = read_criteria({"extract": pattern}).pattern
    assert compiled is not None
    start = time.process_time()
    find_by_pattern(compiled, (shape * 100_000)[:100_000])
    assert time.process_time() - start < 5


HOSTILE = [
    "9^{9^9}", "9^{9^{9^9}}", "9^{9^{9^{9^{9^9}}}}", "(9^9)!", "((9!)!)!", "(10^{10})!", r"\binom{10^9}{5 \cdot 10^8}",
    r"\sqrt[10^9]{2}", r"2^{\sqrt{2}^{\sqrt{2}^{\sqrt{2}}}}", "e^{e^{e^{e^{e}}}}", r"\sin(10^{100})",
    r"\sin\sin\sin\sin 1", "(" * 20 + "x" + ")^2" * 20, "x^{x^{x^x}}", "n!!!!!!", r"\frac{1}{" * 20 + "x" + "}" * 20,
    "1+" * 400 + "1", "x+" * 300 + "x", r"\sqrt{1+" * 20 + "2" + "}" * 20, "(x+1)^{5000}-(x-1)^{5000}",
    "10^{-400000000}", r"\log(9^{9^9})", "0." + "3" * 390, "1,2,3," * 100 + "4", r"\{" * 12 + "1" + r"\}" * 12,
    r"\pm" * 100 + "1", r"x<1 \text{ or } " * 20 + "x<1", "1=" * 300 + "1", r"(1,2)\cup" * 30 + "(3,4)",
    r"\sqrt{2}<x<" * 20 + "3", "a" * 999, "1 " * 499, "9" * 999, "1_2" * 300, ".1" * 400, r"\overline{" * 20,
    r"\text{" * 100 + "a" + "}" * 100, r"\begin{pmatrix}" + "1 & " * 200 + r"1\end{pmatrix}", r"\left(" * 50,
    "|" * 500, "|x" * 300, "'" * 500, "^" * 500, r"\lfloor " * 100, "1e999999999", "0.1...", "f(" * 20 + "x" + ")" * 20,
]  # fmt: skip
GOLDS = [
    "5",
    "x",
    "e^{-60}",
    r"\sqrt{2}",
    "(1,2)",
    r"x \ge 3",
    r"\{1,2,3\}",
    "150_7",
    "2^x",
    "n!",
    "5 cm",
    "a=2, b=3",
    "y=2x+3",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_comparing_ends_soon(answer: str) -> None:
    for gold in (*GOLDS, answer):
        for one, other in ((gold, answer), (answer, gold)):
            start = time.process_time()
            judge(Problem("?", one), rf"\boxed{{{other}}}", Domain.MATH)
            assert time.process_time() - start < 5, (one, other)
