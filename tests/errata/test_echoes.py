"""Replies that repeat their prompt are rejected by name; edits that use the prompt's words rightly are not."""

from __future__ import annotations

from typing import Any

import pytest

from errata.config import resolve
from errata.echoes import echo
from errata.prompts import edit_prompt, parse_unit_reply
from errata.steps import split_steps
from errata.types import Domain, Reason
from errata.units import Unit, units_of

QUESTION = "Ann buys 4 pens for $3 each and gives the rest of her $20 to Ben, who then has the larger part. How much?"
SOLUTION = (
    "Step 1: We look for what the pens cost Ann.\nStep 2: The pens cost 4 * 3 = $12 in all.\n"
    "Step 3: Ben gets 20 - 12 = $8.\nStep 4: The answer is \\boxed{8}."
)
STEPS = split_steps(SOLUTION)
TEMPLATE = "Aufgabe: {question}\n{solution}\nSchreibe diesen Teil mit einem Fehler neu: {unit}\n{instruction}"


def found(reply: str, kind: str = "operator", step: int = 1, **editing: Any) -> Reason | None:
    config = resolve("errata", {"editing": {"few_shot": 3, "context": "solution", **editing}}).editing
    units = [u for u in units_of(SOLUTION, STEPS[step], 4) if (u.kind == "equation") is (kind == "operator")]
    unit: Unit = units[0]
    examples = config.examples_for(Domain.MATH, QUESTION)
    prompt = edit_prompt(QUESTION, SOLUTION, STEPS, step, kind, unit=unit, config=config, examples=examples)
    read = parse_unit_reply(reply, SOLUTION, STEPS[step], unit)
    assert read.text is not None
    return echo(read.text, prompt, QUESTION, SOLUTION, SOLUTION[unit.start : unit.end])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("4 + 3 = $12", None),
        ("4 * 5 = $12 in all.", None),
        ("4 * 3 = 12", None),
        ("[2] Step 2: The pens cost 4 + 3 = $12", Reason.ECHOES_MARKER),
        ("Change one operation sign in this step. 4 + 3 = $12", Reason.ECHOES_INSTRUCTION),
        ("Rewrite this part of step 2 so: 4 + 3 = $12", Reason.ECHOES_INSTRUCTION),
        ("The boxes held 14 * 6 = 74 muffins", Reason.ECHOES_EXAMPLE),
        ("50 + 35 = $15", Reason.ECHOES_EXAMPLE),
        ("Here is the step with an error: 4 + 3 = $12", Reason.ANNOUNCES),
        ("Der Schritt lautet nun 4 + 3 = $12", Reason.ANNOUNCES),
        ("The modified version: 4 + 3 = $12", Reason.ANNOUNCES),
    ],
)
def test_echoes_of_an_equation(reply: str, reason: Reason | None) -> None:
    assert found(reply) is reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("We look for what the pens cost Ben.", None),
        ("We look for what the rest costs Ann.", None),  # a word of the instruction that the question says too
        ("We look for the wrong pens.", None),  # screening knows words that admit an error
        ("We look for what the pens cost Ann, with one subtle error.", Reason.ANNOUNCES),
        ("The rewritten part contains what the pens cost Ben.", Reason.ANNOUNCES),
        ("Sure! Here you go: We look for what the pens cost Ben.", Reason.ANNOUNCES),
        ("Change a few words in this step so that it misreads.", Reason.ECHOES_INSTRUCTION),
    ],
)
def test_echoes_of_a_sentence(reply: str, reason: Reason | None) -> None:
    assert found(reply, "misreading", 0) is reason


def test_what_counts_is_what_the_prompt_itself_said() -> None:
    told = "Schreibe diesen Teil neu: 4 + 3 = $12"
    assert found(told, template=TEMPLATE) is Reason.ANNOUNCES
    assert found("Schreibe diesen Teil mit einem 4 + 3 = $12", template=TEMPLATE) is Reason.ECHOES_INSTRUCTION
    assert (
        found("You are a careful teacher 4 + 3 = $12", system="You are a careful teacher.") is Reason.ECHOES_INSTRUCTION
    )
    assert found("50 + 35 = $15", few_shot=0) is None  # no example said it: another equation, but no echo
