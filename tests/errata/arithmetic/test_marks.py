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
