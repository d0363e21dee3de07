"""Units of an edit: where they stand, how they are asked for, what a reply becomes, and which replies are refused."""

from __future__ import annotations

import pytest

from errata.arithmetic import apply_changes, find_equations
from errata.kinds import kinds_of
from errata.prompts import edit_prompt, parse_unit_reply
from errata.steps import split_steps
from errata.types import Domain, Form, Reason
from errata.unit_edits import splice_unit, step_is_of_kind, token_changes
from errata.units import units_of, whole_unit

SOLUTION = (
    "Step 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs. She is glad. Then 9 * 2 = $<<9*2=18>>18 every day.\n"
    "Step 2: The answer is \\boxed{18}."
)
STEPS = split_steps(SOLUTION)
KINDS = kinds_of(Domain.MATH)


def texts(solution: str, sentences: int | None = 4) -> list[str]:
    step = split_steps(solution)[0]
    return [solution[unit.start : unit.end] for unit in units_of(solution, step, sentences)]


def test_units_are_the_equations_then_the_sentences() -> None:
    assert texts(SOLUTION) == [
        "16 - 3 - 4 = <<16-3-4=9>>9",
        "9 * 2 = $<<9*2=18>>18",
        "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.",
        "She is glad.",
        "Then 9 * 2 = $<<9*2=18>>18 every day.",
    ]
    assert texts(SOLUTION, 1) == ["9 * 2 = $<<9*2=18>>18", "Then 9 * 2 = $<<9*2=18>>18 every day."]


def test_equations_that_are_false_unread_or_compute_nothing_are_no_units() -> None:
    assert texts("So 3 + 4 = 8.") == ["So 3 + 4 = 8."]
    assert texts("So x + 4 = 8.") == ["So x + 4 = 8."]
    assert texts("So 8 = 8.") == ["So 8 = 8."]


def test_a_code_line_is_one_unit() -> None:
    solution = "So:\n```python\ndef f(x):\n    return x + 1\n```\n"
    step = split_steps(solution, Domain.CODE)[1]
    [unit] = units_of(solution, step, 4, Domain.CODE)
    assert solution[unit.start : unit.end] == "return x + 1"
    assert unit.one_line


def test_the_prompt_asks_for_the_unit_and_the_reply_opens_right_before_it() -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[1]
    prompt = edit_prompt("q", SOLUTION, STEPS, 0, "operator", unit=unit)
    assert "Rewrite this part of step [1]: 9 * 2 = $18\n" in prompt.messages[0].content
    assert prompt.assistant_prefix == "```\n" + SOLUTION[: unit.start]
    assert prompt.stop == ("\n",)


def test_a_unit_of_several_lines_ends_at_the_fence() -> None:
    solution = "Step 1: So 3 + 4\n= 7 pens.\nStep 2: The answer is 7."
    steps = split_steps(solution)
    prompt = edit_prompt("q", solution, steps, 0, "operator", unit=whole_unit(solution, steps[0]))
    assert prompt.stop == ("\n```",)
    assert "Rewrite this part of step [1]: \n```\nSo 3 + 4\n= 7 pens.\n```\n" in prompt.messages[0].content


@pytest.mark.parametrize(
    "completion",
    [
        "9 + 2 = $18",
        "9 + 2 = $18\n```",
        "<think>\n9 * 2 is 18\n</think>\n\n9 + 2 = $18",
        "9 + 2 = $18```",
        "9 + 2 = $18 every day.",
        "9 + 2 = $18 every day, and that is wrong.",
        "9 + 2 = $<<9+2=18>>18 every day.",
        "Step 1: She sells 16 - 3 - 4 = 9 eggs. She is glad. Then 9 + 2 = $18",
    ],
)
def test_a_reply_is_cut_to_its_unit_and_spliced_in(completion: str) -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[1]
    reply = parse_unit_reply(completion, SOLUTION, STEPS[0], unit)
    assert reply.text == "9 + 2 = $18"
    made = splice_unit(SOLUTION, STEPS[0], unit, str(reply.text), KINDS["operator"])
    original = SOLUTION[STEPS[0].start : STEPS[0].end]
    assert made.text == original.replace("9 * 2 = $<<9*2=18>>18", "9 + 2 = $<<9+2=18>>18")


def test_an_empty_reply_is_told() -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[1]
    assert parse_unit_reply("\n```", SOLUTION, STEPS[0], unit).reason is Reason.EMPTY


@pytest.mark.parametrize(
    ("kind", "reply", "accepted"),
    [
        ("operator", "209 - 10 = 219", True),
        ("operator", "209 - 10 = 199", True),  # computed anew, as a careful model does: results are the program's
        ("operator", "209 - 10 = 198", True),
        ("operator", "209 - 11 = 219", False),
        ("operator", "10 - 5 = 3", False),
        ("calculation", "209 + 10 = 229", True),
        ("calculation", "209 + 10 = 229 + 1", False),
        ("calculation", "10 - 5 = 3", False),
        ("calculation", "10 + 5 = 3", False),
        ("substitution", "290 + 10 = 219", True),
        ("substitution", "290 + 10 = 300", True),
        ("substitution", "290 + 11 = 219", False),
        ("substitution", "10 - 5 = 3", False),
        ("order", "10 + 209 = 219", True),  # of the kind; that it is still true is for proof to find
        ("order", "209 + 10 = 219 pens", False),
        ("omission", "209 = 219", False),
        ("operator", "It costs 219", False),
        ("operator", "209 - 10 = 219 and 3 + 4 = 8", False),
    ],
)
def test_an_edited_equation_is_its_original_but_for_the_kinds_change(kind: str, reply: str, accepted: bool) -> None:
    solution = "Step 1: So 209 + 10 = 219 pens.\n"
    step = split_steps(solution)[0]
    unit = units_of(solution, step, 4)[0]
    made = splice_unit(solution, step, unit, reply, KINDS[kind])
    assert (made.text is not None) is accepted, made
    assert made.reason is (None if accepted else Reason.NOT_THE_KIND)
    if accepted:
        kept = reply if kind == "calculation" else f"{reply.partition(' = ')[0]} = 219"
        assert made.text == solution.replace("209 + 10 = 219", kept)


def test_an_omission_takes_its_sign_and_its_marks_along() -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[0]
    made = splice_unit(SOLUTION, STEPS[0], unit, "16 - 3 = 9", KINDS["omission"])
    assert "16 - 3 = <<16-3=9>>9 eggs." in str(made.text)


def test_words_are_misread_in_words_alone() -> None:
    solution = "Step 1: He buys more. He is glad.\n"
    step = split_steps(solution)[0]
    unit = units_of(solution, step, 4)[1]
    assert (
        splice_unit(solution, step, unit, "He is sad.", KINDS["misreading"]).text
        == "Step 1: He buys more. He is sad.\n"
    )
    assert splice_unit(solution, step, unit, "So 1 = 2.", KINDS["misreading"]).reason is Reason.NOT_THE_KIND


@pytest.mark.parametrize("kind", ["operator", "calculation", "substitution", "omission", "order"])
@pytest.mark.parametrize(
    "reply", ["9 * 2 = $18 + 1", "9 * 2 = $18 * 9 + 2", "9 = $18", "2 + 9 * 2 = $18", "9 * 2 * 3 = $18"]
)
def test_an_equation_with_other_tokens_on_a_side_is_refused_and_nothing_breaks(reply: str, kind: str) -> None:
    unit = units_of(SOLUTION, STEPS[0], 4)[1]
    made = splice_unit(SOLUTION, STEPS[0], unit, reply, KINDS[kind])
    assert (made.text, made.reason) == (None, Reason.NOT_THE_KIND)


def test_a_term_added_behind_a_single_number_is_one_change() -> None:
    for original, edited in (("3 + 4 = 7", "3 + 4 = 7 + 1"), ("3 + 4 = 7", "3 + 4 = 2 + 7"), ("3 + 4 = 7", "3 = 7")):
        [old], [new] = find_equations(original), find_equations(edited)
        changes = token_changes(old, new, edited)
        assert changes is not None
        assert apply_changes(original, old, changes) == edited


STEP = "She sells 16 - 3 - 4 = 9 eggs. Then 9 * 2 = $18 every day.\n"
STANDS, CONSISTENT = Form.STANDS, Form.CONSISTENT


@pytest.mark.parametrize(
    ("kind", "form", "edited", "fits"),
    [
        ("operator", STANDS, "She sells 16 - 3 + 4 = 9 eggs. Then 9 * 2 = $18 every day.\n", True),
        ("operator", STANDS, "She sells 16 - 5 - 4 = 9 eggs. Then 9 * 2 = $18 every day.\n", False),
        ("substitution", STANDS, "She sells 16 - 5 - 4 = 9 eggs. Then 9 * 2 = $18 every day.\n", True),
        ("calculation", STANDS, "She sells 16 - 3 - 4 = 9 eggs. Then 9 * 2 = $19 every day.\n", True),
        ("calculation", STANDS, "She sells 16 - 3 - 4 = 8 eggs. Then 9 * 2 = $19 every day.\n", False),
        ("calculation", STANDS, "She sells 16 - 3 - 4 = 8 eggs. Then 8 * 2 = $16 every day.\n", False),
        ("calculation", CONSISTENT, "She sells 16 - 3 - 4 = 8 eggs. Then 8 * 2 = $16 every day.\n", True),
        ("calculation", CONSISTENT, "She sells 16 - 3 - 4 = 8 eggs. Then 8 + 2 = $10 every day.\n", False),
        ("calculation", STANDS, "She sells 16 - 3 - 4 = 9 ducks. Then 9 * 2 = $18 every day.\n", False),
        ("calculation", STANDS, "She sells 16 - 3 - 4 = 9 eggs.\n", False),
        ("misreading", STANDS, "She buys 16 - 3 - 4 = 9 eggs. Then 9 * 2 = $18 every day.\n", True),
        ("misreading", STANDS, "She buys 16 - 3 - 5 = 8 eggs. Then 9 * 2 = $18 every day.\n", False),
    ],
)  # fmt: skip
def test_a_whole_step_is_of_the_kind_that_was_asked(kind: str, form: Form, edited: str, fits: bool) -> None:
    assert step_is_of_kind(KINDS[kind], STEP, edited, form) is fits


def test_a_step_whose_equations_cannot_be_read_is_left_to_proof() -> None:
    assert step_is_of_kind(KINDS["calculation"], "That leaves nine.\n", "That leaves eight.\n", Form.STANDS)
