"""Calculator marks: found, stripped, and compared with the text they annotate."""

from __future__ import annotations

import pytest

from errata.arithmetic import (
    TokenChange,
    apply_changes,
    calculator_marks,
    find_equations,
    marks_agree,
    strip_marks,
)


def test_closed_marks_are_found() -> None:
    text = "48/2 = <<48/2=24>>24, 5+1 = <<5+1=7>>7, x = <<x=3>>3"
    assert [(m.expression, m.result) for m in calculator_marks(text)] == [("48/2", "24"), ("5+1", "7"), ("x", "3")]


def test_marks_are_stripped() -> None:
    assert strip_marks("a <<1+1=2>>2 b <<2+2=4>>4.") == "a 2 b 4."


@pytest.mark.parametrize(
    "text",
    [
        "48/2 = <<48/2=24>>24",
        "48/2 = <<48/2=25>>25",  # both wrong: they agree
        "20*.20 = $<<20*.2=4.0>>4.00",
        "80,000*1.5 = <<80000*1.5=120000>>120,000",
        "2/3*10 = <<2/3*10=6.666666666666667>>6.67",
        "no marks at all",
        "975-1000 = $<<975-1000=-25>>-25",
        "10/100 = <<10/100=0.1>>",
    ],
)
def test_agreeing(text: str) -> None:
    assert marks_agree(text)


@pytest.mark.parametrize(
    "text",
    [
        "48/2 = <<48/2=24>>25",
        "48/3 = <<48/2=24>>24",
        "48*2 = <<48/2=24>>24",
        "2/3*10 = <<2/3*10=6.666666666666667>>6",
        "6.5 + 1.5 = <<6.5+1.5=8 fries",
    ],
)
def test_disagreeing(text: str) -> None:
    assert not marks_agree(text)


def test_a_mark_that_spells_a_percentage_out_is_never_written_anew() -> None:
    step = "They ate 8000 pounds * 30% = <<8000*30*.01=2400.0>>2400 pounds."
    (equation,) = find_equations(step)
    assert apply_changes(step, equation, [TokenChange(0, 0, "9000")]) is None


@pytest.mark.parametrize(
    ("step", "change", "edited"),
    [
        # A mark in another order keeps its order: nothing but the error may differ.
        ("She needs 1/2*16 = <<16*1/2=8>>8.", TokenChange(5, 5, "9"), "She needs 1/2*16 = <<16*1/2=9>>9."),
        ("She needs 1/2*16 = <<16*1/2=8>>8.", TokenChange(4, 4, "26"), "She needs 1/2*26 = <<26*1/2=8>>8."),
        ("So 3 + 5 = <<5+3=8>>8.", TokenChange(1, 1, "-"), "So 3 - 5 = <<3-5=8>>8."),
        # Two equal numbers: which one is meant is open, so the mark is written as its text is.
        ("So 2*3*2 = <<3*2*2=12>>12.", TokenChange(0, 0, "4"), "So 4*3*2 = <<4*3*2=12>>12."),
        # A mark that writes its number as the text does goes on doing so.
        ("She earned 0.2 x 50 = $<<0.2*50=10>>10.", TokenChange(0, 0, "2"), "She earned 2 x 50 = $<<2*50=10>>10."),
        ("It is 1.5 * 4 = <<1.5*4=6>>6.", TokenChange(0, 0, "2.25"), "It is 2.25 * 4 = <<2.25*4=6>>6."),
        ("It is 20/3 = <<20/3=6.666666>>6.67", TokenChange(3, 3, "7.67"), "It is 20/3 = <<20/3=7.666666>>7.67"),
    ],
)
def test_a_change_is_made_in_the_mark_as_the_mark_is_written(step: str, change: TokenChange, edited: str) -> None:
    (equation,) = find_equations(step)
    assert apply_changes(step, equation, [change]) == edited
