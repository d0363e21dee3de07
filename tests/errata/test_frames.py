"""Frames: every rule-made edit of the kind passes, the original never does, and neither number nor sign is given."""

from __future__ import annotations

import re

import pytest

from errata.arithmetic import strip_marks
from errata.config import resolve
from errata.frames import framing_of_attempt, unit_frame
from errata.kinds import Site, kinds_of
from errata.kinds.custom import CustomKind
from errata.rule_edits import rule_edit
from errata.steps import split_steps
from errata.types import Domain, Form, Problem
from errata.unit_edits import splice_unit
from errata.units import units_of, whole_unit

KINDS = kinds_of(Domain.MATH)
SOLUTION = (
    "Step 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nStep 2: That is 1,200 / 8 x 2 = $300.50 - 0.50 in all.\n"
    "Step 3: So $12 \\times 5 = 60$ hold.\nStep 4: (48 + 2) * 3 = 150 and so on.\nStep 5: 0.2 * 50 = $10.\n"
    "Step 6: First we look at the largest one.\nStep 7: The answer is \\boxed{18}."
)
STEPS = split_steps(SOLUTION)
PROBLEM = Problem("q", "18")


def site(step: int) -> Site:
    return Site(SOLUTION, STEPS, step, PROBLEM)


def equations() -> list[tuple[int, str]]:
    return [
        (s.index, kind) for s in STEPS[:5] for kind in ("calculation", "substitution", "operator", "omission", "order")
    ]


@pytest.mark.parametrize(("step", "kind"), equations())
def test_rule_made_edits_pass_and_the_original_does_not(step: int, kind: str) -> None:
    unit = units_of(SOLUTION, STEPS[step], 4)[0]
    assert unit.kind == "equation"
    frame = re.compile(unit_frame(site(step), unit, KINDS[kind]))
    made = {rule_edit(SOLUTION, STEPS, step, kind, seed, Domain.MATH, PROBLEM, unit, Form.STANDS) for seed in range(20)}
    at = STEPS[step]
    texts = {strip_marks(e[unit.start - at.start : len(e) - (at.end - unit.end)]) for e in made if e is not None}
    # A frame keeps a number's notation; rules may take one of another notation from the step or the question.
    grouped = SOLUTION[unit.start : unit.end].count(",")
    texts = {text for text in texts if text.count(",") <= grouped}
    assert all(frame.fullmatch(text) for text in texts), frame.pattern
    if texts:
        assert not frame.fullmatch(strip_marks(SOLUTION[unit.start : unit.end]))


@pytest.mark.parametrize(
    ("kind", "passing", "failing"),
    [
        (
            "calculation",
            ["16 - 3 - 4 = 8", "16 - 3 - 4 = 13", "16 - 3 - 4 = 123"],
            ["16 + 3 - 4 = 9", "17 - 3 - 4 = 9"],
        ),
        ("substitution", ["17 - 3 - 4 = 9", "16 - 3 - 12 = 9", "6 - 3 - 4 = 9"], ["16 - 3 - 4 = 8", "17 - 4 - 4 = 9"]),
        ("operator", ["16 + 3 - 4 = 9", "16 - 3 * 4 = 9"], ["16 + 3 + 4 = 9", "16 - 3 - 4 = 8", "16 ^ 3 - 4 = 9"]),
        ("omission", ["16 - 3 = 9", "16 - 4 = 9"], ["16 - 5 = 9", "16 - 3 - 4 = 9"]),
        ("order", ["3 - 16 - 4 = 9"], ["16 - 3 - 4 = 9", "3 - 16 - 5 = 9"]),
    ],
)
def test_a_frame_opens_one_place_and_leaves_the_choice_to_the_model(
    kind: str, passing: list[str], failing: list[str]
) -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[0]
    frame = re.compile(unit_frame(site(0), unit, KINDS[kind]))
    for text in passing:
        assert frame.fullmatch(text)
        assert splice_unit(SOLUTION, STEPS[0], unit, text, KINDS[kind]).reason is None
    assert not [text for text in failing if frame.fullmatch(text)]
    for text in ("", "16 - 3 - 4 = 9\n", "So 16 - 3 - 4 = 8", "16 - 3 - 4 = 8 eggs"):
        assert not frame.fullmatch(text)


def test_decimals_and_thousands_stay_as_they_are_written() -> None:
    unit = units_of(SOLUTION, STEPS[4], 4)[0]
    frame = re.compile(unit_frame(site(4), unit, KINDS["substitution"]))
    assert frame.fullmatch("0.3 * 50 = $10")
    assert frame.fullmatch("1.2 * 50 = $10")
    assert not frame.fullmatch("0.25 * 50 = $10")
    assert not frame.fullmatch("00.2 * 50 = $10")


def test_words_are_held_to_their_line_and_bring_no_numbers_in() -> None:
    unit = units_of(SOLUTION, STEPS[5], 4)[0]
    frame = re.compile(unit_frame(site(5), unit, KINDS["misreading"]))
    assert frame.fullmatch("First we look at the smallest one.")
    assert not frame.fullmatch("First 3 + 4 = 7.")
    assert not frame.fullmatch("First we look.\nThen not.")
    own = CustomKind(name="own_kind", instruction="Write it in another way.", check="divergence").kind()
    assert re.fullmatch(unit_frame(site(5), unit, own), "Any 3 words.")


def test_a_unit_of_several_lines_is_held_to_its_fence() -> None:
    text = "Step 1: So 3 + 4\n= 7 pens.\nStep 2: The answer is 7."
    steps = split_steps(text)
    frame = unit_frame(Site(text, steps, 0, PROBLEM), whole_unit(text, steps[0]), KINDS["operator"])
    assert re.fullmatch(frame, "So 3 - 4\n= 7 pens.")
    assert not re.fullmatch(frame, "So\n```")


def test_a_space_that_the_opening_leaves_to_the_model_may_come_first() -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[0]
    frame = unit_frame(site(0), unit, KINDS["calculation"], spaced=True)
    assert re.fullmatch(frame, " 16 - 3 - 4 = 8")
    assert re.fullmatch(frame, "16 - 3 - 4 = 8")


def test_the_setting_says_which_attempt_is_framed() -> None:
    def framed(structured: str, layout: str = "errata") -> list[str]:
        editing = resolve("errata", {"editing": {"structured": structured, "layout": layout}}).editing
        return [framing_of_attempt(editing, attempt) for attempt in range(3)]

    assert framed("never") == framed("always", "paper") == ["free"] * 3
    assert framed("retry") == ["free", "framed", "framed"]
    assert framed("always") == ["framed"] * 3
