"""What is read as an equation, and whether it holds: a table of the ways people and models write arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest

from errata.arithmetic import find_equations

TRUE = [
    "12 apples * 3 = 36 apples",
    "$5 x 3 = $15",
    "She pays $5x3=$15 a day.",
    "He has 2 dozen + 4 = 28 eggs",
    "2 dozen * 12 = 24",
    "200 GB * 40% = 80 GB",
    "100% - 60% = 40% is the remaining portion",
    "80 + 25% = 100",
    "12/20 = 60%",
    "20% of 50 = 10",
    "1/2 of the 20 girls = 10 girls",
    "3 * 4 = 12 + 5 = 17",
    "200/3 = 66.67 = 67",
    r"\frac{1}{2} \times 20 = 10",
    r"$2\frac{1}{2} \cdot 4 = 10$",
    r"\frac12 \cdot 8 = 4",
    r"\left( 3 + 4 \right) \div 7 = 1",
    r"9 \times 2 = \boxed{18}",
    r"5 \text{ apples} + 3 \text{ apples} = 8 \text{ apples}",
    r"x &= 5 \times 3 \\ &= 15",
    "2 1/2 * 4 = 10",
    "2½ * 4 = 10",
    "6 × 7 = 42",
    "84 ÷ 2 = 42",
    "2^3 + 1 = 9",
    "2^3^2 = 512",
    "3² = 9",
    "5! = 120",
    r"\sqrt{49} + 1 = 8",
    "2(3 + 4) = 14",
    "−3 + 5 = 2",
    "3 - 10 = -7",
    "1,250 + 750 = 2,000",
    "10{,}000 + 1 = 10{,}001",
    "$409500 - $400 000 = $9500 more",
    "200 x 2/3 = 133 girls",
    "2/3 = 0.67",
    "1/3 = 0.333...",
    "22/7 ≈ 3.14",
    "12340 * 1 ≈ 12,000",
    "1.0 x 7 = 7.0 kg of rice",
    "2 hours + 30 minutes = 150 minutes",
    "4 hours * 60 minutes/hour = 240 minutes",
    "5 feet + 3 inches = 63 inches",
    "500 * $0.10 = 5000 cents",
    "900 stitches / 10 stitches/inch = 90 stitches",
    "60g * 4/5 = 240g/5 = 48 grams",
    "- 5 + 3 = 8",
    "2. 5 + 3 = 8",
    "5 + 3\n= 8\n= 8.0",
    "5 times 3 = 15 and that is all",
    "4 teams * 5 players each = 20 players",
    "[(3 + 4) * 2] - 1 = 13",
    "**3 + 4 = 7**",
    "10 - 3 = <<10-3=8>>7",
    "It rang 4 * 3 = 12 times.",
    "24 x 1/2 = 12 cards with the letter B.",
    "7 / 2 = 4, to the nearest whole number",
    "66.67 * 3 = 200",
    "about 200/3 = 67",
]
FALSE = [
    "12 apples * 3 = 35 apples",
    "3 * 4 = 13 + 5 = 18",
    "3 * 4 = 12 + 5 = 18",
    "3 * 4 = 12 + 5",
    "10 - <<10-3=7>>3 = 8",
    "200 x 2/3 = 134 girls",
    "7/2 = 5",
    "2/3 = 0.66",
    "20/3 = 6.66",
    "$4.20 + $9.45 + $1.35 = $14.99",
    "200 GB * 40% = 90 GB",
    "2 hours + 30 minutes = 160 minutes",
    "80 + 25% = 110",
    "18 = 19",
    "1,250 + 750 = 20,000",
    "22/7 ≈ 2",
    r"\frac{3}{4} + \frac{1}{4} = 2",
    "5 + 3\n= 9",
    "2 dozen + 4 = 27 eggs",
    "−3 + 5 = -2",
]
UNJUDGED = [
    "x - 25% = 19.50",
    "2x = 10",
    "half of 20 + 5 = 15",
    "twice 4 + 1 = 9",
    "a square of side 4 = 16",
    "1 gallon = 8 bottles",
    "f(2) = 2",
    "5:00 - 1:00 = 4 hours",
    "1,5 * 2 = 3",
    "17 / 5 = 3 remainder 2",
    "17 mod 5 = 2",
    "the price - 5 = 3",
    "5 + 3 = 8 - x",
    r"\sum_{i=1}^{3} i = 7",
    r"\pi \cdot 2 = 6",
    "x_{1} = 5",
    "the average of 3 + 5 = 4",
    "1 + 2 + ... + 10 = 55",
    "10 / 0 = 5",
    "2^99999 = 7",
    "3 apples and the total = 8",
    "-> 12 + = 3",
    "log 100 = 2",
    "P(A) = 0.5",
    "12/4(3) = 1",
    "7/2 = 3",
    "7/2 = 3 cars",
    "11/5 = 2",
    "7 / 2 = 4",
    "12.75 * 3 = 38",
    "0.4 * 1 = 0",
]


def _verdicts(text: str) -> list[bool | None]:
    return [equation.holds for equation in find_equations(text)]


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    verdicts = _verdicts(text)
    assert verdicts
    assert all(verdicts), verdicts


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert False in _verdicts(text)


@pytest.mark.parametrize("text", UNJUDGED)
def test_unjudged(text: str) -> None:
    assert set(_verdicts(text)) <= {None}, find_equations(text)


def test_offsets_refer_to_the_original_text() -> None:
    text = "So 48/2 = <<48/2=24>>24 and then 24 apples * $3 = <<24*3=72>>$72."
    first, second = find_equations(text)
    assert [text[s.start : s.end] for s in first.sides] == ["48/2", "24"]
    assert [s.text for s in second.sides] == ["24 apples * $3", "$72"]
    assert text[second.start : second.end] == "24 apples * $3 = <<24*3=72>>$72"
    for side in (*first.sides, *second.sides):
        assert all(text[t.start : t.end] == t.text for t in side.tokens)


def test_tokens_carry_values_without_unit_percent_and_currency() -> None:
    (equation,) = find_equations("$1,200 * 5% = 3 eggs/day * 20")
    left, right = equation.sides
    assert [(t.kind, t.symbol) for t in left.tokens] == [("number", ""), ("operator", "*"), ("number", "")]
    assert left.tokens[0].value == Fraction(1200)
    assert left.tokens[2].value == 5
    assert left.text == "$1,200 * 5%"
    assert right.tokens[0].value == 3
    assert left.is_expression
    assert right.value == left.value == 60


def test_a_broken_chain_names_its_first_broken_side() -> None:
    (equation,) = find_equations("2 + 3 = 5 = 6 = 7")
    assert (equation.holds, equation.broken) == (False, 2)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3000 + "1" + ")" * 3000 + " = 1",
        "9^9^9^9^9 = 1",
        "1 + " * 20000 + "1 = 5",
        "= " * 20000,
        "1 = " * 20000,
        "-" * 5000 + "1 = 1",
        r"\frac{1}{" * 2000 + "1" + "}" * 2000 + " = 1",
        "9" * 5000 + " + 1 = 2",
        "99! = 1",
        "a " * 20000 + "= 3",
        "3 apples " * 5000 + "= 3",
        "<<" * 10000,
        "100^200 * 100^200 * 100^200 = 1",
    ],
)
def test_hostile_text_never_proves_and_ends(text: str) -> None:
    equations = find_equations(text)
    assert len(equations) <= 500
