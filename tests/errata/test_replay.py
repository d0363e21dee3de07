"""Values carried by program, and the evidence ``replay``: what it proves, and all that it leaves open."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.carrying import carry, carry_step, edit_at, write_like
from errata.dataflow import read_flow
from errata.proof import Outcome, prove_edit
from errata.replay import Replay, ReplayOutcome, prove_replay, replay
from errata.steps import split_steps
from errata.types import EvidenceKind, Verdict

QUESTION = "Janet's ducks lay 16 eggs per day. She eats three, bakes with four, and sells the rest at $2 each."
SOLUTION = (
    "Step 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs, and 9 eggs are left.\n"
    "Step 2: So she makes 9 * 2 = $<<9*2=18>>18, which is $18.\n"
    "Step 3: The answer is \\boxed{18}."
)


def edited(index: int, old: str, new: str, solution: str = SOLUTION) -> str:
    step = split_steps(solution)[index]
    text = solution[step.start : step.end]
    assert old in text
    return text.replace(old, new, 1)


def carried(index: int, old: str, new: str, reach: str = "step", solution: str = SOLUTION) -> str | None:
    found = carry_step(
        QUESTION, solution, index, edited(index, old, new, solution), "end" if reach == "end" else "step"
    )
    return None if found is None else (found.solution if reach == "end" else found.step)


def test_the_result_is_computed_anew_and_written_wherever_the_step_says_it() -> None:
    assert carried(0, "16 - 3", "15 - 3") == "Step 1: She sells 15 - 3 - 4 = <<15-3-4=8>>8 eggs, and 8 eggs are left.\n"
    assert carried(1, "9 * 2", "9 + 2") == "Step 2: So she makes 9 + 2 = $<<9+2=11>>11, which is $11.\n"


def test_a_result_that_was_changed_is_carried_as_it_is() -> None:
    assert carried(1, "$<<9*2=18>>18", "$<<9*2=19>>19") == "Step 2: So she makes 9 * 2 = $<<9*2=19>>19, which is $19.\n"


def test_to_the_end_the_answer_follows() -> None:
    assert carried(0, "16 - 3", "15 - 3", "end") == (
        "Step 1: She sells 15 - 3 - 4 = <<15-3-4=8>>8 eggs, and 8 eggs are left.\n"
        "Step 2: So she makes 8 * 2 = $<<8*2=16>>16, which is $16.\n"
        "Step 3: The answer is \\boxed{16}."
    )


@pytest.mark.parametrize(
    ("solution", "old", "new"),
    [
        ("Step 1: So 8 * 2 = 16 eggs, and 16 eggs.\n", "8 *", "7 *"),  # 16 is the question's number, too
        ("Step 1: So 9 * 2 = 18 eggs.\nStep 2: The 18th egg.", "9 *", "8 *"),  # to the end: what is "18th"?
        ("Step 1: So 5 + 5 = 10 eggs, and 5 are red.\n", "5 +", "6 +"),  # which 5?
        ("Step 1: So 9 - 2 = 7, seven eggs.\n", "9 -", "8 -"),  # a number in words
        ("Step 1: The ten eggs cost 5 * 10 = 50 cents.\n", "* 10", "* 20"),  # the changed number in words
        ("Step 1: 20% fewer, so .20 * 30 = 6 eggs.\n", ".20 *", ".10 *"),  # the changed number as a percentage
        ("Step 1: So 9 / 3 = 3 eggs.\n", "9 /", "8 /"),  # no whole number
        ("Step 1: So 9 - 5 = 4 eggs, and 4 more.\n", "9 -", "5 -"),  # nothing is left
    ],
)
def test_an_ambiguous_or_implausible_place_is_not_carried(solution: str, old: str, new: str) -> None:
    assert carried(0, old, new, "end", solution) is None


def test_a_changed_number_can_be_named_by_its_offsets() -> None:
    """As an editor does that has no reply: one wrong token of a result."""
    flow = read_flow(SOLUTION, QUESTION)
    at = SOLUTION.index(">>9 eggs") + 2
    edit = edit_at(flow, at, at + 1, "7")
    assert edit is not None
    found = carry(flow, edit, "end")
    assert found is not None
    assert found.step == "Step 1: She sells 16 - 3 - 4 = <<16-3-4=7>>7 eggs, and 7 eggs are left.\n"
    assert "Step 2: So she makes 7 * 2 = $<<7*2=14>>14, which is $14.\n" in found.solution
    assert found.solution.endswith("\\boxed{14}.")
    assert edit_at(flow, 0, 4, "7") is None


@pytest.mark.parametrize(
    ("value", "like", "written"),
    [
        (Fraction(1500), "1,200", "1,500"),
        (Fraction(1500), "1{,}200", "1{,}500"),
        (Fraction(1500), "1200", "1500"),
        (Fraction(37), "36.0", "37.0"),
        (Fraction(33, 4), "7.50", "8.25"),
        (Fraction(1, 4), ".5", ".25"),
        (Fraction(17, 2), "4.00", "8.50"),
        (Fraction(17, 2), "4.0", None),
        (Fraction(17, 2), "8", None),
        (Fraction(1, 3), "0.5", None),
        (Fraction(-3), "8", None),
        (Fraction(0), "8", None),
    ],
)
def test_values_are_written_as_the_old_ones_were(value: Fraction, like: str, written: str | None) -> None:
    assert write_like(value, like) == written


def shown(index: int, step: str | None, solution: str = SOLUTION, gold: str = "18", question: str = QUESTION) -> Replay:
    assert step is not None
    return replay(question, gold, solution, index, step)


def test_a_wrong_number_correctly_computed_is_proven_with_the_verifiers_word() -> None:
    step = carried(0, "16 - 3", "15 - 3")
    found = shown(0, step)
    assert (found.outcome, found.answer) == (ReplayOutcome.MISSES, 16)
    assert str(found.text).endswith("\\boxed{16}.")
    original = SOLUTION[: len("Step 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs, and 9 eggs are left.\n")]
    proof = prove_edit(original, str(step), replayed=prove_replay(found, Verdict.INCORRECT))
    assert (proof.outcome, proof.evidence.kind) == (Outcome.PROVEN, EvidenceKind.REPLAY)
    assert proof.evidence.detail == {
        "original": "16 - 3 - 4 = 9",
        "equation": "15 - 3 - 4 = 8",
        "answer": "16",
    }
    assert prove_replay(found, None).outcome is Outcome.UNPROVEN
    assert prove_replay(found, Verdict.TIMEOUT).outcome is Outcome.UNPROVEN
    assert prove_replay(found, Verdict.CORRECT).outcome is Outcome.FALSE_NEGATIVE


def test_an_edit_that_still_comes_to_gold_is_a_false_negative() -> None:
    """Another true decomposition must not be called wrong."""
    solution = "Step 1: They are 24 + 72 = 96 in total.\nStep 2: So 96 - 1 = 95 remain.\nStep 3: The answer is 95."
    found = shown(0, "Step 1: They are 48 + 48 = 96 in total.\n", solution, "95", "24 and 72, 1 less.")
    assert found.outcome is ReplayOutcome.REACHES
    assert prove_replay(found, Verdict.CORRECT).outcome is Outcome.FALSE_NEGATIVE


@pytest.mark.parametrize(
    ("step_one", "rest", "why"),
    [
        ("15 - 3 - 4 = 8", "So 9 / 4 = 2.25, about 2.\n", "not read"),  # rounded
        ("15 - 3 - 4 = 8", "So half of them cost $18.\n", ""),  # the last calculation is not gold
        ("15 - 3 - 4 = 8", "As 9 > 8 she makes 9 * 2 = 18.\n", "not read"),  # compared
        ("15 - 3 - 4 = 8", "The larger of 9 and 5, the maximum, is 9. So 9 * 2 = 18.\n", "not read"),
        ("15 - 3 - 4 = 8", "So 9 * x = 18, and 9 * 2 = 18.\n", "not read"),  # algebra
        ("15 - 3 - 4 = 8", "That makes 27 with tax. So 9 * 2 = 18.\n", "from nowhere"),
        ("15 - 3 - 4 = 8", "So 7 + 2 = 9. Then 9 * 2 = 18.\n", "more than one source"),
        ("16 - 4 - 3 = 9", "So 9 * 2 = 18.\n", ""),  # another order, the same result
        ("20 - 3 - 8 = 9", "So 9 * 2 = 18.\n", ""),  # another decomposition
        ("16 - 2 - 4 = 10", "So 9 * 2 = 18.\n", "a source, too"),  # 2 is the question's
    ],
)
def test_what_is_open_stays_unproven(step_one: str, rest: str, why: str) -> None:
    solution = f"Step 1: Of them 16 - 3 - 4 = 9.\nStep 2: {rest}Step 3: The answer is 18."
    found = shown(0, f"Step 1: Of them {step_one}.\n", solution)
    assert found.outcome is not ReplayOutcome.MISSES
    assert why in found.why
    assert prove_replay(found, Verdict.INCORRECT).outcome is not Outcome.PROVEN


def test_a_sign_counts_only_where_a_word_still_names_the_old_one() -> None:
    plain = "Step 1: Now 16 - 3 = 13.\nStep 2: The answer is 13."
    named = plain.replace("Now", "There remain")
    for solution, outcome in ((plain, ReplayOutcome.OPEN), (named, ReplayOutcome.MISSES)):
        step = edited(0, "16 - 3 = 13", "16 + 3 = 19", solution)
        assert shown(0, step, solution, "13").outcome is outcome


def test_a_place_that_keeps_the_old_value_is_no_consistent_edit() -> None:
    step = edited(0, "16 - 3 - 4 = <<16-3-4=9>>9", "15 - 3 - 4 = <<15-3-4=8>>8")
    assert "carry" in shown(0, step).why


def test_the_unedited_solution_must_come_to_gold() -> None:
    assert shown(0, carried(0, "16 - 3", "15 - 3"), gold="20").outcome is ReplayOutcome.OPEN
    assert shown(0, carried(0, "16 - 3", "15 - 3"), gold="x + 1").outcome is ReplayOutcome.OPEN


@given(st.text(alphabet="S1234 +-*/=.,%$x\n<>(){}\\", max_size=80), st.text(alphabet="1234 +-*=.\n<>", max_size=40))
def test_any_text_is_replayed_without_raising(solution: str, step: str) -> None:
    for index in range(len(split_steps(solution))):
        replay("3 of 4", "7", solution, index, step)
        carry_step("3 of 4", solution, index, step, "end")


@pytest.mark.parametrize("like", [r"3,\!744", r"3\,744", "3{,}744", "3,744", "3744"])
def test_a_value_is_written_with_the_thousands_sign_of_the_text(like: str) -> None:
    assert write_like(Fraction(4745), like) == like.replace("3", "4").replace("744", "745")
