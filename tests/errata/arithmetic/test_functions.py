"""Roots, pi, functions and matrices: valued rigorously, so that what is false is false for certain."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from mpmath import mp

from errata.arithmetic import find_equations
from errata.arithmetic.enclosures import Enclosure, enclosed, logarithm, pi, power, root, trigonometric
from errata.proof import is_consistent, prove_contradiction

TRUE = [
    r"$\sqrt{50} = 5\sqrt{2}$",
    r"$\sqrt{2}\cdot\sqrt{8} = 4$",
    r"$\frac{1}{\sqrt{2}} = \frac{\sqrt{2}}{2}$",
    r"$\sqrt[3]{54} = 3\sqrt[3]{2}$",
    r"$8^{2/3} = 4$",
    r"$2^{1/2} \cdot 2^{3/2} = 4$",
    r"$(1+\sqrt{5})(1-\sqrt{5}) = -4$",
    r"$\sqrt{3 + 2\sqrt{2}} = 1 + \sqrt{2}$",
    r"$\sqrt{(3-1)^2 + (4-2)^2} = \sqrt{8} = 2\sqrt{2}$",
    r"$\sqrt{2} \approx 1.41$",
    r"$\sqrt{5} + 1 \approx 3.236$",
    r"$\pi(5)^2 = 25\pi$",
    r"$5\pi - 3\pi = 2\pi$",
    r"$\frac{4}{3}\pi(3)^3 = 36\pi$",
    r"$25\pi \approx 78.54$",
    r"$10 \cdot 3 + 5 \cdot \pi = 30 + 5\pi$",
    r"$\sin 30^\circ = \frac{1}{2}$",
    r"$\sin(90^\circ - 60^\circ) = \frac{1}{2}$",
    r"$\cos \frac{\pi}{3} = \frac{1}{2}$",
    r"$\sin^2 60^\circ = \frac{3}{4}$",
    r"$2\sin 15^\circ \cos 15^\circ = \sin 30^\circ = \frac{1}{2}$",
    r"$10 \cdot \tan 45^\circ = 10$",
    r"$\cos 60^\circ \cdot 10 = 5$",
    r"$\cos 0 = 1$",
    r"$\log_2 8 + 1 = 4$",
    r"$\log_{10} 1000 = 3$",
    r"$\log_8 4 = \frac{2}{3}$",
    r"$\log 100 = 2$",
    r"$\log 2 + \log 5 = \log 10$",
    r"$\log 8 = 3$",
    r"$\ln 6 - \ln 2 = \ln 3$",
    r"$|3-5| = 2$",
    r"$|{-3}| + |4 - 6| = 5$",
    r"$\left|3 - 8\right| = 5$",
    r"$|x| = |-3| = 3$",
    r"$\lfloor 7/2 \rfloor = 3$",
    r"$\left\lceil \sqrt{10} \right\rceil = 4$",
    r"$\lfloor 10\pi \rfloor = 31$",
    r"$\gcd(12,18) = 6$",
    r"$\text{lcm}(4, 6) = 12$",
    r"$\gcd(180, 168) = \gcd(12, 168) = 12$",
    r"$\max(3, 8) = 8$",
    r"\[⟦1; 2⟧ + 2 ⟦3; 4⟧ = ⟦7; 10⟧.\]",
    r"\[⟦1 2; 3 4⟧ ⟦5; 6⟧ = ⟦17; 39⟧\]",
    r"$⟦1; 2⟧ \cdot ⟦3; 4⟧ = (1)(3) + (2)(4) = 11$",
    r"\[⟦1; 0; 0⟧ \times ⟦0; 1; 0⟧ = ⟦0; 0; 1⟧\]",
    r"$\begin{vmatrix} 1 & 3 \\ 5 & 2 \end{vmatrix} = 2 - 15 = -13$",
    r"\[⟦0 1; 1 0⟧^2 = ⟦1 0; 0 1⟧\]",
]  # fmt: skip
FALSE = [
    r"$\sqrt{50} = 5\sqrt{3}$",
    r"$\sqrt{2}\cdot\sqrt{8} = 5$",
    r"$\sqrt{2} \approx 2.41$",
    r"$\sqrt{3 + 2\sqrt{2}} = 2 + \sqrt{2}$",
    r"$\pi(5)^2 = 26\pi$",
    r"$\frac{4}{3}\pi(3)^3 = 27\pi$",
    r"$\sin 30^\circ = \frac{1}{3}$",
    r"$\cos \frac{\pi}{3} = \frac{\sqrt{3}}{2}$",
    r"$\log_2 8 + 1 = 5$",
    r"$\log 2 + \log 5 = \log 11$",
    r"$|3-5| = 3$",
    r"$\lfloor 7/2 \rfloor = 4$",
    r"$\gcd(12,18) = 4$",
    r"$\begin{vmatrix} 1 & 3 \\ 5 & 2 \end{vmatrix} = 2 + 15$",
    r"\[⟦1; 2⟧ + ⟦3; 4⟧ = ⟦4; 7⟧.\]",
    r"\[2 ⟦3 1; 0 1⟧ = ⟦6 2; 1 2⟧\]",
]
UNJUDGED = [
    r"$\sin 30 = \frac{1}{2}$",  # degrees or radians
    r"$\cos \pi / 3 = \frac{1}{3}$",  # of what?
    r"$\log_2 8 \cdot 4 = 13$",
    r"$\sin^{-1} 1 = 90$",
    r"$\arctan 1 = 45^\circ$",
    r"$\sin A + 1 = 3$",
    r"$\sin 2x = 1$",
    r"$\gcd(120,144) = 24$",  # two numbers, or one with a comma in it
    r"$\gcd(a, 12) = 5$",
    r"$|x - 3| = 2$",
    r"$P(A|B) = 3$",
    r"$⟦1 2; 3 4⟧ + 1 = 5$",
    r"$⟦a; 2⟧ + ⟦1; 2⟧ = ⟦3; 4⟧$",
    r"$⟦1 2⟧ + ⟦1; 2⟧ = ⟦3; 4⟧$",
    r"$\left. 3 + 4 \right|_0^1 = 8$",
    r"$\lfloor 3 = 4$",
    r"$\pi \cdot 7^2 = \frac{22}{7} \cdot 49 = 154$",  # pi as the question gives it
    "With π as 3, the area is π·25 = 3·25",
    r"$\sqrt{-4} + 1 = 3$",
    r"$\tan 90^\circ = 5$",
]


_GRID = re.compile(r"⟦([^⟧]*)⟧")  # here "⟦1 2; 3 4⟧" stands for a matrix in LaTeX


def _written(text: str) -> str:
    def latex(found: re.Match[str]) -> str:
        rows = r" \\ ".join(" & ".join(row.split()) for row in found[1].split(";"))
        return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"

    return _GRID.sub(latex, text)


def _verdicts(text: str) -> list[bool | None]:
    return [equation.holds for equation in find_equations(_written(text))]


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
    assert set(_verdicts(text)) <= {None}, find_equations(_written(text))


@pytest.mark.parametrize(
    ("text", "computes"),
    [
        (r"$\pi(5)^2 = 25\pi$", [True, False]),
        (r"$\sqrt{50} = 5\sqrt{2}$", [True, False]),
        (r"$\frac{2\sqrt{3}}{4} = \frac{\sqrt{3}}{2}$", [True, False]),
        (r"$\frac{2 + \sqrt{8}}{2} = 1 + \sqrt{2}$", [True, False]),
        (r"$\frac{-1 + \sqrt{5}}{2} = \frac{\sqrt{5} - 1}{2}$", [False, False]),
        (r"$5\pi - 3\pi = 2\pi$", [True, False]),
    ],
)
def test_an_irrational_number_in_its_usual_form_is_a_result(text: str, computes: list[bool]) -> None:
    (equation,) = find_equations(text)
    assert [side.is_expression for side in equation.sides] == computes


@pytest.mark.parametrize(
    "text",
    [
        r"$2^{1/2}" + "^{200}" * 40 + " = 3$",
        r"$(\sqrt{2})^{250}" + "^{250}" * 5 + " = 3$",
        r"$\sin (10^{200} \pi) = 3$",
        r"$\sqrt{10^{1000}} + \sqrt{2} = 3$",
        "$" + r"\left|" * 200 + "3" + r"\right|" * 200 + " = 4$",
        "$" + "|" * 500 + "3" + "|" * 500 + " = 4$",
        "$" + r"\gcd(" * 300 + "4, 6" + ")" * 300 + " = 2$",
        "$" + r"\begin{pmatrix} 1" * 60 + r"\end{pmatrix}" * 60 + " = 2$",
    ],
)
def test_what_is_too_large_or_too_deep_is_not_judged(text: str) -> None:
    assert True not in _verdicts(text)


def test_evidence_shows_the_values_of_irrational_sides_and_of_matrices() -> None:
    found = prove_contradiction(r"So $\sqrt{50} = 5\sqrt{2}$.", r"So $\sqrt{50} = 5\sqrt{3}$.")
    assert found is not None
    assert (found.detail["left"], found.detail["right"]) == ("7.071067811865...", "8.660254037844...")
    grid = r"$\begin{pmatrix} 1 \\ 2 \end{pmatrix} \cdot 2 = \begin{pmatrix} 2 \\ %d \end{pmatrix}$"
    found = prove_contradiction(grid % 4, grid % 5)
    assert found is not None
    assert (found.detail["left"], found.detail["right"]) == ("(2; 4)", "(2; 5)")


def test_a_rounded_irrational_number_may_stand_for_it() -> None:
    assert is_consistent(r"$10\sqrt{3} = 17.3$")
    assert not is_consistent(r"$10\sqrt{3} = 17.4$")
    assert is_consistent(r"about $\sqrt{10} \approx 3$ steps")


@pytest.mark.parametrize("digits", range(1, 40))
def test_enclosures_hold_what_mpmath_finds_to_more_digits(digits: int) -> None:
    value = Fraction(digits * 7 + 1, 13)
    with mp.workdps(90):
        real = mp.mpf(value.numerator) / value.denominator
        for found, expected in (
            (root(2, value), mp.sqrt(real)),
            (root(3, value), mp.cbrt(real)),
            (logarithm(value, Fraction(3)), mp.log(real, 3)),
            (power(value, Fraction(2, 7)), real ** (mp.mpf(2) / 7)),
            (trigonometric("sin", enclosed(value)), mp.sin(real)),
            (trigonometric("tan", pi() * value), mp.tan(mp.pi * real)),
        ):
            assert isinstance(found, Enclosure)
            ends = [mp.mpf(end.numerator) / end.denominator for end in (found.low, found.high)]
            assert ends[0] <= expected <= ends[1]
            assert ends[1] - ends[0] < mp.mpf(10) ** -45
