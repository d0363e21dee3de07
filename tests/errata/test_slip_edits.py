"""Slips written into steps: alone or carried, marks included; and what is known against an edit before its proof."""

from __future__ import annotations

from typing import Any

import pytest

from errata.arithmetic import marks_agree, strip_marks
from errata.carrying import carry, edit_at
from errata.config import resolve
from errata.dataflow import read_flow
from errata.early_check import reason_against
from errata.injection import PlannedEdit, plan_edits
from errata.kinds import kinds_of
from errata.slip_edits import may_follow, may_stand, slip_edit
from errata.slips import Begun, Slip
from errata.steps import split_steps
from errata.types import Domain, Form, Problem, Reason

QUESTION = "She has 31 pears and buys 12 more. She then gives 8 away. How many are left?"
PROBLEM = Problem(QUESTION, "35")
SOLUTION = (
    "Step 1: In all she has 31 + 12 = <<31+12=43>>43 pears.\n"
    "Step 2: She gives 8 away, so 43 - 8 = <<43-8=35>>35 are left.\n"
    "Step 3: The answer is 35."
)
STEPS = split_steps(SOLUTION)
PLAIN = strip_marks(SOLUTION)


def slip(at: str, old: str, new: str, position: Any, probability: float = 0.2) -> Slip:
    """The first ``old`` at or behind the text ``at`` of the solution without marks becomes ``new``."""
    start = PLAIN.index(old, PLAIN.index(at))
    step = next(s.index for s in split_steps(PLAIN) if s.start <= start < s.end)
    return Slip(step, start, start + len(old), old, new, position, probability)


def written(found: Slip, form: Form) -> str | None:
    return slip_edit(PROBLEM, SOLUTION, STEPS[found.step], found, form, "step")


@pytest.mark.parametrize(
    ("found", "form", "body"),
    [
        (slip("= 43", "43", "44", "result"), "stands", "In all she has 31 + 12 = <<31+12=44>>44 pears."),
        (slip("12", "12", "13", "operand"), "stands", "In all she has 31 + 13 = <<31+13=43>>43 pears."),
        (slip("12", "12", "13", "operand"), "consistent", "In all she has 31 + 13 = <<31+13=44>>44 pears."),
        (slip("- 8", "-", "+", "sign"), "stands", "She gives 8 away, so 43 + 8 = <<43+8=35>>35 are left."),
        (slip("- 8", "8", "9", "operand"), "consistent", "She gives 9 away, so 43 - 9 = <<43-9=34>>34 are left."),
        # Words name the addition, so that another sign, correctly computed, contradicts them.
        (slip("31 +", "+", "-", "sign"), "consistent", "In all she has 31 - 12 = <<31-12=19>>19 pears."),
        # Nothing repeats the result: both forms are the same edit, which counts as one that stands.
        (slip("= 43", "43", "44", "result"), "consistent", None),
        # No word says that something is taken away: it may as well be another true way.
        (slip("8 =", "8", "12", "operand"), "consistent", None),
    ],
)
def test_a_slip_is_written_in_its_form_with_its_mark(found: Slip, form: str, body: str | None) -> None:
    edited = written(found, Form(form))
    assert edited == (None if body is None else f"Step {found.step + 1}: {body}\n")
    assert edited is None or marks_agree(edited)


def test_what_is_likelier_than_a_half_never_stands() -> None:
    likely, other = (slip("12", "12", "13", "operand", p) for p in (0.51, 0.5))
    assert (may_stand(likely), may_stand(other)) == (False, True)
    assert not may_stand(Begun(likely, ""))


def test_a_number_is_completed_only_where_it_could_be_carried() -> None:
    assert may_follow(PROBLEM, SOLUTION, Begun(slip("12", "12", "2", "operand"), ""))
    elsewhere = Problem(QUESTION, "36")  # the solution does not come to this
    assert not may_follow(elsewhere, SOLUTION, Begun(slip("12", "12", "2", "operand"), ""))


def test_a_sign_is_carried_to_the_solutions_end() -> None:
    flow = read_flow(SOLUTION, QUESTION)
    at = SOLUTION.index("+")
    edit = edit_at(flow, at, at + 1, "-")
    assert edit is not None
    carried = carry(flow, edit, "end")
    assert carried is not None
    assert "31 - 12 = <<31-12=19>>19" in carried.solution
    assert "19 - 8 = <<19-8=11>>11 are left" in carried.solution
    assert carried.solution.endswith("The answer is 11.")
    bracket = SOLUTION.index("pears")
    assert edit_at(flow, bracket, bracket + 1, "-") is None


@pytest.mark.parametrize(
    ("edited", "overrides", "reason"),
    [
        ("Step 2: She gives 8 away, so 43 - 8 = <<43-8=36>>36 are left.\n", {}, None),
        ("Step 2: She gives 9 away, so 43 - 9 = <<43-9=34>>34 are left.\n", {}, None),
        ("Step 2: She gives 8 home, so 43 - 8 = <<43-8=35>>35 are left.\n", {}, Reason.UNPROVEN),
        ("Step 2: She gives 8 home, so 43 - 8 = <<43-8=35>>35 are left.\n", {"unproven": "keep"}, None),
        (
            "Step 2: She gives 8 home, so 43 - 8 = <<43-8=35>>35 are left.\n",
            {"continuations": {"when": "always"}},
            None,
        ),
        ("Step 2: She gives 8 away, so 43 + 8 = <<43+8=35>>35 are left.\n", {"mode": "dynamic"}, Reason.NO_REST),
        ("Step 2: She gives 9 away, so 43 - 9 = <<43-9=34>>34 are left.\n", {"mode": "dynamic"}, None),
    ],
)
def test_what_will_be_rejected_is_known_before_its_proof(
    edited: str, overrides: dict[str, Any], reason: Reason | None
) -> None:
    config = resolve("errata", {"proof": overrides})
    assert reason_against(PROBLEM, SOLUTION, STEPS[1], edited, "operator", config, Domain.MATH) is reason
    assert reason_against(PROBLEM, SOLUTION, STEPS[1], edited, "operator", config, Domain.CODE) is None


def test_an_edit_that_leaves_the_answer_as_it_was_is_a_false_negative() -> None:
    solution = "Step 1: She pays 3 + 4 = 7 dollars.\nStep 2: So 10 + 2 = 12 pears are left.\n"
    steps, problem = split_steps(solution), Problem("She pays 3 and 4 dollars. Of 10 pears, 2 more are left.", "12")
    config = resolve("errata", {"proof": {"unproven": "keep"}})
    edited = "Step 1: She pays 3 + 5 = 8 dollars.\n"
    found = reason_against(problem, solution, steps[0], edited, "substitution", config, Domain.MATH)
    assert found is Reason.FALSE_NEGATIVE


def plan(**editing: Any) -> list[PlannedEdit]:
    return list(plan_edits(SOLUTION, STEPS, resolve("slip", {"editing": editing}), Domain.MATH, 3, PROBLEM).edits)


def test_every_step_that_calculates_is_planned_for_slips() -> None:
    assert [edit.step for edit in plan()] == [0, 1]
    assert {edit.kind for edit in plan(slips={"positions": ["sign"]})} == {"operator"}
    assert {edit.kind for edit in plan(kinds={"calculation": 1.0, "misreading": 9.0})} == {"calculation"}
    assert plan(kinds={"misreading": 1.0}) == []
    assert {edit.form for edit in plan(form={"consistent": 1.0, "stands": 0.0})} == {Form.CONSISTENT}
    assert len(plan(edits_per_solution=1)) == 1
    assert set(kinds_of(Domain.MATH)) >= {"calculation", "substitution", "operator"}
