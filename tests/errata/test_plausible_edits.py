"""Rule-made edits are plausible and written as the solution writes: numbers, signs, marks, brackets."""

from __future__ import annotations

import random
import re

import pytest

from errata.arithmetic import find_equations, marks_agree, tokens_of
from errata.kinds import Site, kinds_of
from errata.kinds.slips import other_numbers
from errata.rule_edits import rule_edits
from errata.steps import split_steps
from errata.types import Domain, Form, Problem, Step
from errata.units import units_of


def edits(step: str, kind: str, solution: str = "", question: str = "") -> list[str]:
    """Up to 24 edits of a step that opens its solution."""
    whole = step + solution
    site = Site(whole, (Step(0, 0, len(step), 0),), 0, Problem(question, ""))
    return kinds_of(Domain.MATH)[kind].twin(site, 24, random.Random(0))


def _slips(number: str) -> list[str]:
    (equation,) = find_equations(f"0 + {number} = {number}")
    return [text for text, _ in other_numbers(tokens_of(equation)[-1])]


@pytest.mark.parametrize(
    "number", ["7", "10", "36", "1,250", "1{,}250", r"3,\!744", "0.75", "12.50", ".5", "100", "2" * 40]
)
def test_other_numbers_keep_sign_decimals_and_thousands(number: str) -> None:
    slips = _slips(number)
    assert slips
    for slip in slips:
        assert re.sub(r"\d", "", slip) in (re.sub(r"\d", "", number), "") or len(slip) < len(number)
        assert len(slip.partition(".")[2]) == len(number.partition(".")[2])
        value = float(re.sub(r"[^\d.]", "", slip))
        assert value > 0
        assert "-" not in slip


def test_a_single_digit_stays_near() -> None:
    assert set(_slips("7")) == {"5", "6", "8", "9"}


def test_no_fraction_takes_the_place_of_a_whole_number() -> None:
    made = edits("So 720 * 480 = 345600.", "substitution", question="Each costs 2.5 dollars, or 35 for all.")
    assert not any("2.5" in edited for edited in made)
    assert any("35 " in edited for edited in made)


def test_no_result_is_calculated_with_before_it_is_known() -> None:
    made = edits("They have 36 + 9 = <<36+9=45>>45 books, and half is 45 / 5 = <<45/5=9>>9.", "substitution")
    assert not any("+ 45" in edited or "45 + 9" in edited for edited in made)
    later = edits("So 18 * 3 = 54 and 54 + 7 = 61 eggs.", "substitution")
    assert not any("54 *" in edited or "* 54" in edited or "61 +" in edited or "+ 61" in edited for edited in later)
    assert any("54 + 18" in edited for edited in later)  # what an earlier calculation has used may be taken
    given = edits("So 18 * 3 = 54 eggs.", "substitution", question="He wants 54 eggs and has 18 times 3.")
    assert any("18 * 54" in edited for edited in given)


def test_no_number_is_divided_by_itself_or_taken_from_itself() -> None:
    made = edits("So S = 847 / 7 = <<847/7=121>>121 people.", "substitution", question="He ate 847 people in 7 days.")
    assert made
    assert not any(" 7 / 7 " in edited or "847 / 847" in edited for edited in made)
    taken = edits("So 10 - 3 = 7 eggs.", "substitution", question="He had 10 eggs and ate 3.")
    assert taken
    assert not any("3 - 3" in edited or "10 - 10" in edited for edited in taken)
    twice = edits("So 16 - 4 - 3 = 9 eggs.", "substitution")
    assert any("16 - 4 - 4" in edited for edited in twice)


def test_a_count_agrees_with_its_word() -> None:
    assert not any(" 1 slices" in edited for edited in edits("So 2 slices * 3 = 6 pieces.", "substitution"))
    assert not any(" 1 pieces" in edited for edited in edits("So 1 * 2 = 2 pieces.", "calculation"))
    assert not any("2 apple " in edited for edited in edits("So 1 apple + 3 pears = 4 fruits.", "substitution"))
    assert any("1 * 3" in edited for edited in edits("So 2 * 3 = <<2*3=6>>6 pieces.", "substitution"))
    assert "So 2 pears + 4 nuts = 7 fruits." in edits("So 1 apple + 2 pears + 4 nuts = 7 fruits.", "omission")


def test_a_result_that_is_carried_agrees_with_its_word() -> None:
    solution = "So 5 - 3 = <<5-3=2>>2 hours.\nThen 2 * 30 = <<2*30=60>>60 pages.\n#### 60"
    steps, kind = split_steps(solution), kinds_of(Domain.MATH)["substitution"]
    site = Site(solution, steps, 0, Problem("He has 5 hours and needs 3 of them. He reads 30 pages an hour.", "60"))
    unit = next(unit for unit in units_of(solution, steps[0], None) if unit.kind == "equation")
    made = set(rule_edits(kind, site, unit, Form.CONSISTENT, "step", random.Random(0)))
    assert "So 6 - 3 = <<6-3=3>>3 hours.\n" in made
    assert not any("1 hours" in edited for edited in made)


def test_signs_are_those_of_the_solution() -> None:
    latex = edits(r"Then $7 \cdot 3 + 2 = 23$.", "operator")
    assert latex
    assert not any(sign in edited for edited in latex for sign in ("*", "/", r"\div", "×"))
    times = edits("Then $7 + 3 = 10$. ", "operator", r"And $2 \times 5 = 10$, $2 \div 1 = 2$.")
    assert any(r"7 \times 3" in edited for edited in times)
    assert any(r"7 \div 3" in edited for edited in times)
    assert edits("So 7 + 3 = 10.", "operator") == ["So 7 - 3 = 10."]
    assert edits("So 7 times 3 = 21.", "operator")[0].split()[2] in ("plus", "minus", "divided")
    assert "So 7 − 3 = 10." in edits("So 7 + 3 = 10.", "operator", " Then 9 − 2 = 7.")


def test_omission_keeps_powers_and_brackets() -> None:
    assert set(edits("So 3 * 10^8 * 1 = 300000000.", "omission")) == {
        "So 10^8 * 1 = 300000000.",
        "So 3 * 1 = 300000000.",
    }
    made = edits("So 2 + (4/3) + 1 = 13/3.", "omission")
    assert "So (4/3) + 1 = 13/3." in made
    assert "So 2 + 1 = 13/3." in made
    for edited in edits(r"$2 \left( 3 + 4 \right) - 5 + 1 = 10$", "omission"):
        assert edited.count(r"\left") == edited.count(r"\right")
        assert edited.count("(") == edited.count(")")


def test_omission_takes_the_unit_along() -> None:
    assert "So 3 apples + 2 pears = 9 fruits." in edits("So 3 apples + 4 apples + 2 pears = 9 fruits.", "omission")


def test_order_swaps_whole_terms() -> None:
    assert "So 2^3 - 3^2 = 1." in edits("So 3^2 - 2^3 = 1.", "order")
    assert r"$\frac{3}{99}=33$" in edits(r"$\frac{99}{3}=33$", "order")
    assert not any("24" in edited for edited in edits("So 2(3) - 4 = 2.", "order"))


@pytest.mark.parametrize(
    ("step", "pattern"),
    [
        ("So 12 * 3 = <<12*3=36.0>>36 apples.", r"<<12\*3=(\d+)\.0>>\1 apples"),
        ("So 5 * .5 = $<<5*.5=2.5>>2.50.", r"<<5\*\.5=(\d\.\d[1-9]?)>>\1"),
        ("So 1,000 * 3 = <<1000*3=3000>>3,000.", r"<<1000\*3=\d{4}>>\d,\d{3}\."),
    ],
)
def test_calculation_keeps_the_marks_way_of_writing(step: str, pattern: str) -> None:
    made = edits(step, "calculation")
    assert made
    for edited in made:
        assert re.search(pattern, edited), edited
        assert marks_agree(edited)


def test_a_mark_keeps_plain_signs() -> None:
    made = edits("So 12 - 3 = <<12-3=9>>9. ", "operator", "Then 2 x 3 = <<2*3=6>>6.")
    assert "So 12 x 3 = <<12*3=9>>9. " in made


def test_a_rounded_mark_moves_with_its_text() -> None:
    made = edits("So 20 / 3 = <<20/3=6.666666666666667>>6.67.", "calculation")
    assert made
    assert all(marks_agree(edited) for edited in made)
    assert all(re.search(r"=\d+\.\d{15}>>", edited) for edited in made)
