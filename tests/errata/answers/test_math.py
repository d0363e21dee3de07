"""Truth table of the ``math`` verifier: extraction, typed comparison, and the traps of symbolic comparison."""

from __future__ import annotations

import pytest

from errata.answers import extract_answer, judge
from errata.types import Domain, Problem, Verdict

EXTRACTED = [
    ("So 9 * 2 = 18.\nA: 18", "18"),
    ("#### 18", "18"),
    ("work #### 1,080", "1,080"),
    ("work\n#### 1,080", "1,080"),
    ("The answer is 18.", "18"),
    ("So, the final answer is: $18 dollars. Done.", "$18 dollars"),
    ("**Answer:** 18", "18"),
    ("Final Answer: $x = 5$", "x = 5"),
    (r"Thus \boxed{18}.", "18"),
    (r"\boxed{3} and then \boxed{5}", "5"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed 7", "7"),
    (r"\boxed{5} but then \boxed{6", "5"),
    (r"\boxed{18}" + "\nA: 20", "18"),
    ("A: <<3+4=7>>7", "7"),
    ("He has 18 eggs", None),
    ("", None),
    (r"\boxed{}", None),
    ("A:", None),
]
CORRECT = [
    ("18", "18"),
    ("18", "18.0"),
    ("18", "$18"),
    ("18", "18 dollars"),
    ("18", "18%"),
    ("1080", "$1,080"),
    ("1080", "1{,}080"),
    ("-5", "−5"),
    ("0.5", r"\frac{1}{2}"),
    ("1/2", "0.50"),
    ("50%", "0.5"),
    ("50%", "50"),
    ("2.5", "2 1/2"),
    ("2.5", r"2\frac{1}{2}"),
    ("120", "5!"),
    ("1024", "2^{10}"),
    ("100 cm", "1 m"),
    ("90", r"90^\circ"),
    ("3 and 5", "5, 3"),
    (r"\{3, 5\}", "3 and 5"),
    ("(1, 2)", "( 1,2 )"),
    ("(1, 2]", r"\left(1, 2\right]"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty) \cup (-\infty, 2)"),
    ("x = 1, y = 2", "y = 2, x = 1"),
    ("x=3", "3"),
    (r"1 \pm \sqrt{2}", r"1-\sqrt{2}, 1+\sqrt{2}"),
    (r"2\sqrt{3}", r"\sqrt{12}"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\frac{3\pi}{4}", r"3\pi/4"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ("y=2x+3", "2x-y+3=0"),
    (r"\text{even}", "Even"),
    ("3+4i", "4i+3"),
    ("n!", "n!"),
    ("2 million", "2,000,000"),
]
INCORRECT = [
    ("18", "19"),
    ("18", "-18"),
    ("18", "180"),
    ("18", "18!"),
    ("18", "18 squared"),
    ("1,234", "1, 234"),
    ("0.5", "0.5%"),
    ("1 m", "1 km"),
    ("3 and 5", "3"),
    ("3 and 5", "5"),
    ("3", "3 and 5"),
    ("3 and 5", "3 and 6"),
    (r"\{1, 2\}", r"\{1, 2, 3\}"),
    (r"\{1, 2, 3\}", r"\{1, 2\}"),
    (r"\{1, 2\}", "(1, 2)"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2]", "[1, 2)"),
    ("120", "4!"),
    ("n!", "(n+1)!"),
    ("6", "6!"),
    (r"\frac{1}{3}", "0.333333"),
    (r"\sqrt{2}", "1.414214"),
    (r"\pi", "3.14159"),
    ("x = 3", "y = 3"),
    ("x = 1, y = 2", "x = 2, y = 1"),
    ("x^2", "y^2"),
    ("y=2x+3", "y=2x+4"),
    ("x > 5", "x < 5"),
    ("x > 5", r"x \ge 5"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}"),
    ("even", "odd"),
    ("5", "blue"),
    ("2", "2x"),
]
UNPARSABLE = ["I do not know.", r"\boxed{" + "(" * 100 + "1" + ")" * 100 + "}", r"\boxed{" + "1+" * 600 + "1}"]


@pytest.mark.parametrize(("text", "answer"), EXTRACTED)
def test_extraction(text: str, answer: str | None) -> None:
    assert extract_answer(text, Domain.MATH) == answer


@pytest.mark.parametrize(("gold", "answer"), CORRECT)
def test_correct(gold: str, answer: str) -> None:
    judged = judge(Problem("?", gold), rf"\boxed{{{answer}}}", Domain.MATH)
    assert (judged.verdict, judged.verifier) == (Verdict.CORRECT, "math/2"), judged


@pytest.mark.parametrize(("gold", "answer"), INCORRECT)
def test_incorrect(gold: str, answer: str) -> None:
    judged = judge(Problem("?", gold), rf"\boxed{{{answer}}}", Domain.MATH)
    assert judged.verdict is not Verdict.CORRECT, judged


@pytest.mark.parametrize("text", UNPARSABLE)
def test_unparsable(text: str) -> None:
    assert judge(Problem("?", "5"), text, Domain.MATH).verdict is Verdict.UNPARSABLE


@pytest.mark.parametrize(
    "text",
    [r"\boxed{" * 20000, "the answer is " * 10000, "A:" * 50000, "the" + " " * 100_000, "```\n" * 20000, "{" * 90000],
)
def test_hostile_texts_are_read_in_linear_time(text: str) -> None:
    for domain in (Domain.MATH, Domain.CHOICE, Domain.LOGIC, Domain.CODE):
        extract_answer(text, domain)


def test_plain_answers_need_no_library_of_reals() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from errata.answers import judge; from errata.types import *;"
        "p = Problem('?', '18'); judge(p, 'A: $18.00', Domain.MATH); judge(p, 'A: 19 eggs', Domain.MATH);"
        "judge(Problem('?', '3 and 5'), 'A: 5, 3', Domain.MATH);"
        "sys.exit('mpmath' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
