"""Equations as mathematics writes them: LaTeX, symbols beside numbers, Chinese; and what must stay unjudged there."""

from __future__ import annotations

import pytest

from errata.arithmetic import find_equations
from errata.proof import is_consistent, prove_contradiction

TRUE = [
    r"There are $\frac{99}{3}=33$ multiples.",
    r"There are \(\frac{84}{7} = 12\) of them",
    r"The price is $(0.10)(1200) = 120$.",
    "-(-34) = 34",
    r"$5-(-3) = 8$",
    r"$\binom{9}{2} = \frac{9 \times 8}{2 \times 1} = 36$",
    r"$\dbinom{5}{2}\cdot 3! = 60$",
    r"$${10 \choose 3} = 120$$",
    r"$\frac{5!}{3!2!} = 10$",
    r"$24 = 4!$.",
    r"$ 6 = 3!, $ so",
    r"$f(2) = 2^3 + 4 - 1 = 11$",
    r"$g(f(-1)) = g(-2) = (-2)^2 - 2 = 2$",
    r"$y^3 = 6^3 = 216$",
    r"$\sin 30^\circ = \frac{3}{6} = \frac12$",
    r"$\alpha + \beta = 3 + 4 = 7$",
    r"$a+b=3+4=7$ and $ab = 3 \cdot 4 = 12$",
    r"$78 \times 48 = 3,\!744$",
    r"$1{,}200 \cdot 2 = 2{,}400$",
    "27 \\cdot\n5 = 135",
    "\\[27 \\cdot\n5 = 135\\]",
    r"$5\left(\frac{3 \cdot 4}{2}\right) = 30$",
    r"$\left( 3 + 4 \right) 2 = 14$",
    r"$\sqrt[4]{16} = 2$",
    r"$\sqrt[3]{-8} = -2$",
    r"$2\sqrt{9} = 6$",
    r"$2(3)(4) = 24$",
    r"$3\frac{1}{2} + 1 = 4.5$",
    r"\[\begin{aligned} x &= 3 + 4 \\ &= 7 \end{aligned}\]",
    r"The number is more than $3 + 4 = 7$.",
    r"leaving a remainder of $56-56=0$ here",
    r"adding $2\cdot 55=110$ to the right-hand side gives $r\equiv 26\pmod{55}$",
    r"$x = 3 \qquad 4 + 5 = 9$",
    r"$12\text{ cm} \cdot 3\text{ cm} = 36 \text{ cm}^2$",
    r"$\$5 + \$3 = \$8$",
    "2^{100} = 1267650600228229401496703205376",
    "30! = 265252859812191058636308480000000",
    "1/3 = 0." + "3" * 31,
    "步骤2：27 − 2 = 25。",
    "27 - 2 = 25 个",
    "9×3＝27",
    "２７－２＝２５",
    "小明有12个苹果，吃了3个，还剩12-3=9个苹果。",
    "3元+5角=3.5元",
]
FALSE = [
    r"There are $\frac{99}{3}=36$ multiples.",
    r"The price is $(0.10)(1200) = 130$.",
    r"$\binom{9}{2} = \frac{9 \times 8}{2 \times 1} = 35$",
    r"$f(2) = 2^3 + 4 - 1 = 12$",
    r"$78 \times 48 = 3,\!754$",
    r"$\sqrt[4]{16} = 4$",
    r"$24 = 5!$.",
    "$5\\left(\\frac{3 \\cdot 4}{2}\\right) = 5$",
    "先算9×3=28。再算27-2=25。",
    "3元+5元=9元",
]
# Nothing here may count as true or as false: a letter is no unit, a half-read side no side.
UNJUDGED = [
    "$2k - 1 = 1$",
    "3k = 3",
    "10k^3 - 8k - 2 = 0",
    "10k^3 / 8k - 2 = 0",
    "$3a + 2 = 8$",
    "3g + 2 = 8",
    "$x^2+3=7$",
    "$x_1 + 2 = 5$",
    "3 : 4 = 6 : 8",
    "3：4 = 6：8",
    r"$\frac13 = 0.\overline{3}$",
    r"$9 \choose 2 = 36$",
    r"$3\cdot4 = 12 = 5 \pmod{7}$",
    r"$3\cdot4 = 19 = 5 \pmod{7}$",
    "$5!!=15$",
    r"$2^03^1 = 3$",
    r"In base $7$ we have $44 \times 55 = 3506$.",
    r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} + 1 = 5$",
    r"\begin{align*} 12 &= 3 + 4 \\ &+ 5 \end{align*}",
    r"$\boxed{11} = 2$",
    r"She won exactly .$500 = \tfrac{1}{2},$ so",
    "half of $20 + 5 = 15$",
    "一半的20+5=15",
    "Great, 5! She has 3 + 4 = 7!",
    r"$1234,\!567 + 1 = 1,\!234,\!568$",
]


def _verdicts(text: str) -> list[bool | None]:
    return [equation.holds for equation in find_equations(text)]


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    verdicts = _verdicts(text)
    assert True in verdicts
    assert False not in verdicts


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert False in _verdicts(text)


@pytest.mark.parametrize("text", UNJUDGED)
def test_unjudged(text: str) -> None:
    assert set(_verdicts(text)) <= {None}, find_equations(text)


def test_a_mixed_number_is_also_read_as_a_product() -> None:
    assert _verdicts(r"$2\frac{1}{2} \cdot 4 = 10$") == [True]
    assert _verdicts(r"$2\frac{1}{2} \cdot 4 = 4$") == [True]
    assert _verdicts(r"$2\frac{1}{2} \cdot 4 = 9$") == [False]


def test_a_whole_number_that_rounds_without_a_word_is_no_chosen_side() -> None:
    for text in ("7/2 = 3", "11/5 = 2", "So 10/4 = 3."):
        (equation,) = find_equations(text)
        assert equation.holds is None
        assert equation.rounds
        assert not is_consistent(text)
        assert is_consistent(f"{text} (rounded)")
    assert prove_contradiction("7/2 = 3.5", "7/2 = 3") is None


def test_a_variable_proves_nothing() -> None:
    assert prove_contradiction("10k^3 - 8k - 2 = 0", "10k^3 / 8k - 2 = 0") is None
    assert prove_contradiction("$2a + 3 = 7$", "$2a + 3 = 8$") is None


def test_a_number_of_any_length_is_read_without_error() -> None:
    for digits in (31, 64, 65, 5000):
        for text in (
            f"1 + 1 = {'9' * digits}",
            f"1/3 = 0.{'3' * digits}",
            f"{'9' * digits}! = 2",
            f"2^{'9' * digits} = 1",
        ):
            find_equations(text)
