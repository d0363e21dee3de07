"""A model's own likeliest errors, from what it would have written in place of a solution's numbers and signs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from errata.arithmetic import strip_marks
from errata.slips import Begun, Slip, SlipsConfig, completed, find_slips, in_drawn_order, in_marked
from errata.steps import split_steps

SOLUTION = "Step 1: She has 12 - 3 = 9 apples.\nStep 2: She buys 100 more: 9 + 100 = 109.\nTherefore, it is 109."
STEPS = split_steps(SOLUTION)


class Token(NamedTuple):
    """A token as engines score it."""

    start: int
    end: int
    alternatives: Sequence[tuple[str, float]]


def tokens(at: str, piece: str, *alternatives: tuple[str, float], solution: str = SOLUTION) -> list[Token]:
    """One token: the first ``piece`` at or behind the text ``at``, with other texts and their probabilities."""
    start = solution.index(piece, solution.index(at))
    return [Token(start, start + len(piece), [(text, math.log(p)) for text, p in alternatives])]


def found(scored: Sequence[Token], solution: str = SOLUTION, **settings: object) -> list[tuple[str, str, str, float]]:
    """Old, new, kind and probability of the slips that are whole."""
    slips = find_slips(solution, split_steps(solution), scored, SlipsConfig.model_validate(settings))
    return [(s.old, s.new, s.kind, round(s.probability, 6)) for s in slips if isinstance(s, Slip)]


def test_the_position_is_the_kind() -> None:
    result = tokens("= 9", "9", ("8", 0.2), ("nine", 0.3), ("10", 0.1))
    assert found(result) == [("9", "8", "calculation", 0.2), ("9", "10", "calculation", 0.1)]
    assert found(tokens("3 =", "3", ("4", 0.2))) == [("3", "4", "substitution", 0.2)]
    assert found(tokens("- 3", "-", ("+", 0.2), ("–", 0.1))) == [("-", "+", "operator", 0.2)]


@pytest.mark.parametrize(("piece", "text"), [(" 9", " 8"), ("9 ", "8 "), ("= 9", "= 8")])
def test_a_token_that_holds_more_than_the_number_changes_the_number_alone(piece: str, text: str) -> None:
    scored = tokens("= 9", piece, (text, 0.2), ("8,", 0.1), (" no", 0.1))
    assert found(scored) == [("9", "8", "calculation", 0.2)]


def test_the_last_digit_is_changed_and_an_earlier_one_begins_a_number_that_the_model_completes() -> None:
    start = SOLUTION.index("109.")
    digits = [
        Token(start, start + 1, [("2", math.log(0.1)), ("0", math.log(0.1)), (" ", math.log(0.1))]),
        Token(start + 1, start + 2, [("1", math.log(0.2))]),
        Token(start + 2, start + 3, [("8", math.log(0.3))]),
    ]
    slips = find_slips(SOLUTION, STEPS, digits, SlipsConfig())
    assert [s.new for s in slips if isinstance(s, Slip)] == ["108"]
    begun = {s.slip.new: s for s in slips if isinstance(s, Begun)}
    assert set(begun) == {"2", "11"}
    assert begun["11"].opening == SOLUTION[:start] + "11"
    whole = completed(SOLUTION, STEPS, begun["11"], "8.\nTherefore")
    assert whole is not None
    assert (whole.new, whole.kind, whole.probability) == ("118", "calculation", pytest.approx(0.2))
    assert completed(SOLUTION, STEPS, begun["2"], " apples") == Slip(
        1, start, start + 3, "109", "2", "result", begun["2"].slip.probability
    )
    again = Begun(begun["2"].slip.__class__(1, start, start + 3, "109", "10", "result", 0.1), "")
    assert completed(SOLUTION, STEPS, again, "9") is None  # the right number after all


@pytest.mark.parametrize("text", ["0", "00", "03", "3.0", "3", "abc", ""])
def test_what_nobody_writes_and_what_changes_no_value_is_out(text: str) -> None:
    assert found(tokens("3 =", "3", (text, 0.4))) == []


def test_probabilities_and_positions_are_bounded() -> None:
    scored = tokens("3 =", "3", ("4", 0.6), ("5", 0.2), ("6", 0.001))
    assert [new for _, new, _, _ in found(scored, min_probability=0.01, max_probability=0.5)] == ["5"]
    assert found(scored, positions=("sign",)) == []


def test_a_sign_keeps_to_the_signs_of_the_solution() -> None:
    solution = "Step 1: 4 × 3 = 12.\nStep 2: 12 + 5 = 17."
    scored = tokens("12 +", "+", ("*", 0.3), ("×", 0.2), ("÷", 0.1), ("/", 0.1), ("-", 0.05), solution=solution)
    assert [new for _, new, _, _ in found(scored, solution)] == ["×", "÷", "-"]


def test_a_change_that_leaves_the_calculation_true_is_no_slip() -> None:
    solution = "Step 1: 2 + 2 = 4."
    assert found(tokens("+ 2", "+", ("*", 0.3), ("-", 0.1), solution=solution), solution) == [
        ("+", "-", "operator", 0.1)
    ]


def test_steps_that_calculate_nothing_and_false_ones_have_none() -> None:
    solution = "Step 1: She has 12 apples.\nStep 2: 3 + 4 = 8."
    assert found(tokens("12", "12", ("13", 0.3), solution=solution), solution) == []
    assert found(tokens("8", "8", ("9", 0.3), solution=solution), solution) == []


def test_a_slip_of_a_text_without_marks_has_its_place_in_the_text_with_them() -> None:
    solution = "She sold 48/2 = <<48/2=24>>24 clips, 48+24 = <<48+24=72>>72 in all."
    plain = strip_marks(solution)
    for at, old, new in (("2 =", "2", "3"), ("24 clips", "24", "25"), ("72 in", "72", "73")):
        [slip] = find_slips(plain, split_steps(plain), tokens(at, old, (new, 0.5), solution=plain), SlipsConfig())
        assert isinstance(slip, Slip)
        moved = in_marked(solution, slip)
        assert solution[moved.start : moved.end] == old
        assert strip_marks(solution[: moved.start]) == plain[: slip.start]
        assert ">>" not in solution[moved.end :][:2]


def test_slips_are_drawn_by_their_probability() -> None:
    slips = find_slips(SOLUTION, STEPS, tokens("3 =", "3", ("4", 0.6), ("5", 0.3), ("7", 0.1)), SlipsConfig())
    first = Counter(in_drawn_order(slips, SlipsConfig(), seed)[0].new for seed in range(3000))  # type: ignore[union-attr]
    assert [round(first[new] / 3000, 1) for new in "457"] == [0.6, 0.3, 0.1]
    assert in_drawn_order(slips, SlipsConfig(), 7) == in_drawn_order(slips, SlipsConfig(), 7)
    greedy = in_drawn_order(slips, SlipsConfig(temperature=0), 7)
    assert [s.new for s in greedy if isinstance(s, Slip)] == ["4", "5", "7"]
