"""Properties over generated arithmetic: judged as an independent evaluation judges it, at the right offsets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from errata.arithmetic import find_equations, strip_marks
from errata.proof import prove_contradiction


@dataclass(frozen=True)
class Expression:
    """Text and its value, computed beside the text and not from it."""

    text: str
    value: Fraction
    is_number: bool = False


_NUMBERS = st.one_of(
    st.integers(1, 20_000).map(lambda n: Expression(f"{n:,}" if n % 2 else str(n), Fraction(n), True)),
    st.integers(1, 9999).map(lambda n: Expression(f"{n / 100:.2f}", Fraction(n, 100), True)),
    st.integers(1, 500).map(lambda n: Expression(f"${n}", Fraction(n), True)),
)
_SIGNS = {"+": ("+",), "-": ("-", "−"), "*": ("*", "x", "×", r"\times"), "/": ("/", "÷", r"\div")}


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Expression:
    """Trees of the four operations, fully bracketed inside, written in one of many ways."""
    left, right = (
        draw(expressions(depth - 1)) if depth > 1 and draw(st.booleans()) else draw(_NUMBERS) for _ in range(2)
    )
    operation = draw(st.sampled_from("+-*/"))
    assume(operation != "/" or right.value != 0)
    value = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
    }[operation](left.value, right.value)
    unit = draw(st.sampled_from(["", "", " apples", " red apples"]))
    sides = [e.text + unit if e.is_number else f"({e.text})" for e in (left, right)]
    return Expression(f"{sides[0]} {draw(st.sampled_from(_SIGNS[operation]))} {sides[1]}", value)


_BEFORE = st.sampled_from(
    ["", "So ", "In total she has ", "Step 3: He pays ", "- ", "3. ", "Then, after 2 days, it is "]
)
_AFTER = st.sampled_from(["", ".", " apples", " apples in total.", " dollars and that is all", "\n", ", so 5 are left"])


@settings(max_examples=300)
@given(_BEFORE, expressions(), st.integers(-20_000, 20_000), _AFTER)
def test_a_whole_result_is_exact_unless_the_text_rounds(before: str, e: Expression, shown: int, after: str) -> None:
    for result in (shown, round(e.value)):
        near = abs(e.value - result) <= Fraction(1, 2)
        (equation,) = find_equations(f"{before}{e.text} = {result}{after}")
        assert equation.sides[0].value == e.value
        # Counted things are whole, and what was computed with rounded decimals may be off as they are.
        loose = near and ("apples" in after or re.search(r"\.\d\d", e.text) is not None)
        assert equation.holds is (True if e.value == result else None if near else False) or loose
        assert not equation.rounds or (equation.holds is None and near)
        (said,) = find_equations(f"{before}{e.text} = {result}{after} (to the nearest whole number)")
        assert said.holds is near


@settings(max_examples=150)
@given(expressions(), st.integers(1, 3))
def test_decimals_are_judged_by_half_a_unit(e: Expression, places: int) -> None:
    shown = round(e.value, places)
    text = f"{float(shown):.{places}f}"
    assume(Fraction(text) == shown and e.value > 0)
    for by in (0, 1, -1, 3):
        result = shown + Fraction(by, 10**places)
        assume(result > 0)
        (equation,) = find_equations(f"{e.text} = {float(result):.{places}f}")
        assert equation.holds is (abs(e.value - result) <= Fraction(1, 2 * 10**places))


@settings(max_examples=150)
@given(expressions(), expressions())
def test_two_computed_sides_are_judged_exactly(left: Expression, right: Expression) -> None:
    (equation,) = find_equations(f"{left.text} = {right.text}")
    if left.value == right.value:
        assert equation.holds is True
    else:
        assert equation.holds in (False, None)
    (same,) = find_equations(f"{left.text} = {left.text}")
    assert same.holds is True


@settings(max_examples=150)
@given(_BEFORE, expressions(), st.integers(-500, 500).filter(bool), _AFTER)
def test_a_contradiction_is_proven_from_text_and_marks_alike(before: str, e: Expression, by: int, after: str) -> None:
    true, wrong = round(e.value), round(e.value) + by
    assume(abs(e.value - wrong) > Fraction(1, 2))
    after += " (to the nearest whole number)"
    original, edited = (f"{before}{e.text} = <<1+1=3>>{result}{after}" for result in (true, wrong))
    evidence = prove_contradiction(original, edited)
    assert evidence is not None
    assert Fraction(evidence.detail["left"]) == e.value
    assert Fraction(evidence.detail["right"]) == wrong
    assert prove_contradiction(original, original) is None
    assert prove_contradiction(strip_marks(original), strip_marks(edited)) is not None


_ALPHABET = "0123456789+-*/=()., $%x\\frac{}^<>!≈½:\nab½²⁹٣²𝟙"


@settings(max_examples=500)
@given(st.text(_ALPHABET, max_size=60) | st.text(max_size=60))
def test_any_text_is_read_without_error_and_with_true_offsets(text: str) -> None:
    for equation in find_equations(text):
        assert 0 <= equation.start < equation.end <= len(text)
        assert (equation.broken is not None) == (equation.holds is False)
        for side in equation.sides:
            assert text[side.start : side.end] == side.text
            assert all(text[t.start : t.end] == t.text for t in side.tokens)
    assert set(strip_marks(text)) <= set(text)
