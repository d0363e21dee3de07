"""How a model is asked: bare prompts that never change, examples, system prompts, templates, openings."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from errata.config import InjectionConfig, resolve
from errata.few_shot import edit_examples, example_fault, packaged_edits, packaged_solutions, shown_edit
from errata.kinds import kinds_of
from errata.output_config import EvaluationConfig
from errata.prompt_config import MOST_EXAMPLES, EditExample, SolvePromptConfig
from errata.prompts import FEW_SHOT_VERSION, edit_prompt, edit_version_of, solve_prompt
from errata.proof import Outcome, prove_edit
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Prompt
from errata.units import units_of

SOLUTION = (
    "Let's think step by step.\nStep 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n"
    "Step 2: So 9 * 2 = $<<9*2=18>>18\nevery day.\nStep 3: The answer is \\boxed{18}."
)
STEPS = split_steps(SOLUTION)
UNIT = units_of(SOLUTION, STEPS[0], 4)[0]
MATHS = (Domain.MATH, Domain.CHOICE)


def asked(layout: str = "errata", **editing: Any) -> Prompt:
    config = resolve("errata", {"editing": {"layout": layout, **editing}}).editing
    unit = UNIT if layout == "errata" else None
    examples = config.examples_for(Domain.MATH, "q")
    return edit_prompt(
        "q", SOLUTION, STEPS, 0, "operator", layout=config.layout, unit=unit, config=config, examples=examples
    )


@pytest.mark.parametrize(
    ("layout", "digest"),
    [("errata", "3a6849dc2b9f5b73"), ("paper", "89845fad9c168f13"), ("scripts", "07f7c0adfda5e29e")],
)
def test_bare_prompts_are_those_that_models_were_taught(layout: str, digest: str) -> None:
    """A changed text needs a new version: stored edits and the miniature know these."""
    prompt = asked(layout, few_shot=0)
    assert len(prompt.messages) == 1
    told = json.dumps([prompt.messages[0].content, prompt.assistant_prefix, prompt.version, prompt.stop])
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == digest


def test_the_bare_solving_prompt_is_the_one_that_models_were_taught() -> None:
    prompt = solve_prompt(" q ")
    assert [m.content for m in prompt.messages] == [
        "q\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    ]
    assert prompt.assistant_prefix == "Let's think step by step.\nStep 1: "
    assert prompt.version == "solve/1"


@pytest.mark.parametrize("domain", list(Domain))
def test_our_own_examples_show_an_edit_of_their_kind_that_is_proven(domain: Domain) -> None:
    for example in packaged_edits(domain):
        assert example_fault(example, domain) is None, example
        found = shown_edit(example, domain)
        assert found is not None
        if domain in MATHS and kinds_of(domain)[example.kind].check is EvidenceKind.CONTRADICTION:
            step = found.steps[found.index]
            original = example.solution[step.start : step.end]
            assert prove_edit(original, found.edited_step).outcome is Outcome.PROVEN


@pytest.mark.parametrize("domain", list(Domain))
def test_every_kind_has_an_example_and_the_first_ones_are_of_different_kinds(domain: Domain) -> None:
    kinds = [example.kind for example in packaged_edits(domain)]
    assert set(kinds) == set(kinds_of(domain))
    assert len(set(kinds[: len(set(kinds))])) == len(set(kinds))


@pytest.mark.parametrize("context", ["unit", "solution"])
def test_examples_stand_first_and_are_equal_for_all_problems_and_kinds_of_a_job(context: str) -> None:
    config = resolve("errata", {"editing": {"few_shot": 3, "context": context}}).editing
    heads = set()
    words = units_of(SOLUTION, STEPS[1], 4)[-1]
    for question, step, kind, unit in (
        ("q", 0, "operator", UNIT),
        ("q", 0, "calculation", UNIT),
        ("another", 0, "order", UNIT),
        ("q", 1, "misreading", words),
    ):
        examples = config.examples_for(Domain.MATH, question)
        prompt = edit_prompt(question, SOLUTION, STEPS, step, kind, unit=unit, config=config, examples=examples)
        roles = [m.role for m in prompt.messages]
        assert roles == ["system"] * (context == "unit") + ["user", "assistant"] * 3 + ["user"]
        heads.add(prompt.messages[:-1])
    assert len(heads) == 1
    assert edit_version_of(config) == FEW_SHOT_VERSION == prompt.version


def test_an_equation_is_shown_alone_where_examples_stand_before_it() -> None:
    prompt = asked(few_shot=2)
    assert prompt.messages[-1].content == "Change one operation sign.\nCorrect: 16 - 3 - 4 = 9"
    assert (prompt.assistant_prefix, prompt.stop) == ("Wrong: ", ("\n",))
    assert [m.content for m in prompt.messages[1:3]] == [
        "Change the result to a wrong number.\nCorrect: 14 * 6 = 84",
        "Wrong: 14 * 6 = 74",
    ]
    assert asked(few_shot=2, system="Own.").messages[0].content == "Own."
    assert "Solution:" in asked(few_shot=2, context="solution").messages[-1].content
    assert "Solution:" in asked(few_shot=0).messages[-1].content


def test_sentences_are_shown_with_question_and_solution() -> None:
    config = resolve("errata", {"editing": {"few_shot": 2}}).editing
    words = units_of(SOLUTION, STEPS[1], 4)[-1]
    examples = config.examples_for(Domain.MATH, "q")
    prompt = edit_prompt("q", SOLUTION, STEPS, 1, "misreading", unit=words, config=config, examples=examples)
    assert "Problem:\nq\n\nSolution:\n[1] Step 1" in prompt.messages[-1].content
    assert prompt.assistant_prefix.startswith("```\nStep 2: ")


def test_an_example_replies_as_its_own_prompt_makes_a_reply_open() -> None:
    prompt = asked(few_shot=1, context="solution")
    example = packaged_edits(Domain.MATH)[0]
    found = shown_edit(example, Domain.MATH)
    assert found is not None
    own = edit_prompt(example.question, example.solution, found.steps, found.index, example.kind, unit=found.unit)
    assert prompt.messages[0].content == own.messages[0].content
    assert prompt.messages[1].content == f"{own.assistant_prefix}{found.edited}\n```"


def test_an_example_is_left_out_for_its_own_question() -> None:
    examples = packaged_edits(Domain.MATH)
    first = examples[0]
    chosen = edit_examples(3, Domain.MATH, f"  {first.question}\n")
    assert first.question not in {each.question for each in chosen}
    assert len(chosen) == 3
    solved = solve_prompt(packaged_solutions(Domain.MATH)[0].question, config=SolvePromptConfig(few_shot=8))
    questions = [m.content for m in solved.messages if m.role == "user"]
    assert len(questions) == len(set(questions)) == 8


def test_only_kinds_of_the_job_are_shown() -> None:
    config = resolve("errata", {"editing": {"few_shot": 8, "kinds": {"operator": 1.0, "order": 0.0}}}).editing
    assert {each.kind for each in config.examples_for(Domain.MATH, "q")} == {"operator"}


def test_presets_of_the_paper_show_no_examples_and_a_job_stored_without_a_number_neither() -> None:
    assert resolve("paper").editing.few_shot == resolve("scripts").editing.few_shot == 0
    assert resolve("errata").editing.few_shot is None
    stored = InjectionConfig.model_validate({"editing": {"layout": "errata"}})
    assert stored.editing.examples_for(Domain.MATH, "q") == ()


OWN = {
    "question": "Ann has 3 bags of 4 pens. How many pens?",
    "solution": "Step 1: Ann has 3 * 4 = 12 pens.\nStep 2: The answer is \\boxed{12}.",
    "step": 1,
    "kind": "operator",
    "edited": "Ann has 3 + 4 = 12 pens.",
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"edited": "Step 1: Ann has 3 + 4 = 12 pens."}, None),
        ({"kind": "calculation", "edited": "Ann has 3 * 4 = 13 pens."}, None),
        ({"kind": "misspelt"}, "kind"),
        ({"step": 7}, "step"),
        ({"edited": "Ann has 3 * 4 = 12 pens."}, "edited"),  # nothing is changed
        ({"edited": "Ben has 3 + 4 = 12 pens."}, "edited"),  # two places
        ({"edited": "Ann has 3 * 5 = 12 pens."}, "edited"),  # another kind
        ({"kind": "substitution", "edited": "Ann has 3 * 5 = 15 pens."}, "edited"),  # true in itself
        ({"kind": "misreading", "edited": "Ann has 3 + 4 = 12 pens."}, "edited"),
    ],
)
def test_an_own_example_has_to_show_what_it_says(change: dict[str, Any], field: str | None) -> None:
    fault = example_fault(EditExample(**{**OWN, **change}), Domain.MATH)
    assert (fault and fault[0]) == field


def test_own_examples_take_the_place_of_ours() -> None:
    prompt = asked(few_shot=2, examples=[OWN], context="solution")
    assert len(prompt.messages) == 3
    assert "Ann has 3 bags" in prompt.messages[0].content
    assert prompt.messages[1].content.endswith("3 + 4 = 12\n```")


def test_whole_step_layouts_show_whole_steps() -> None:
    prompt = asked("paper", few_shot=1, examples=[OWN])
    assert prompt.messages[1].content == "```\nStep 1: Ann has 3 + 4 = 12 pens.\n```"
    assert "Current step:" in prompt.messages[0].content


def test_system_prompts_stand_first() -> None:
    prompt = asked(few_shot=1, system="You are a teacher.")
    assert [m.role for m in prompt.messages] == ["system", "user", "assistant", "user"]
    solved = solve_prompt("q", config=SolvePromptConfig(system="Be brief.", few_shot=2))
    assert solved.messages[0].content == "Be brief."
    assert [m.role for m in solved.messages[1:]] == ["user", "assistant"] * 2 + ["user"]


@pytest.mark.parametrize("domain", list(Domain))
def test_solved_examples_end_as_the_solver_is_asked_to(domain: Domain) -> None:
    prompt = solve_prompt("q", domain, SolvePromptConfig(few_shot=MOST_EXAMPLES))
    answers = [m.content for m in prompt.messages if m.role == "assistant"]
    assert answers
    assert all(text.startswith(prompt.assistant_prefix) for text in answers)
    assert all("```python" in text if domain is Domain.CODE else "\\boxed{" in text for text in answers)


@pytest.mark.parametrize(
    ("opening", "prefix"),
    [("steps", "Let's think step by step.\nStep 1: "), ("none", ""), ("Solution:\n", "Solution:\n")],
)
def test_a_solution_opens_as_the_job_says(opening: str, prefix: str) -> None:
    assert solve_prompt("q", config=SolvePromptConfig(opening=opening)).assistant_prefix == prefix


def test_templates_of_the_operators_own_fill_their_fields() -> None:
    template = "{question}\n{solution}\n{number}|{step}|{unit}|{instruction} {{kept}}"
    prompt = asked(few_shot=0, template=template)
    text = prompt.messages[0].content
    assert text.startswith("q\n[1] Step 1: She sells")
    assert "1|Step 1: She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.|16 - 3 - 4 = 9|Change one operation sign" in text
    assert text.endswith("{kept}")
    assert prompt.version.startswith("edit-errata-own/")
    assert prompt.version != asked(few_shot=0, template=template + ".").version
    solved = solve_prompt("a {b} c", config=SolvePromptConfig(template="Q: {question}"))
    assert solved.messages[0].content == "Q: a {b} c"


@pytest.mark.parametrize(
    ("section", "settings", "told"),
    [
        ("sampling", {"template": "no field"}, "{question} is missing"),
        ("sampling", {"template": "{question} {unit}"}, "unknown field {unit}"),
        ("sampling", {"template": "{question} {"}, "braces"),
        ("sampling", {"template": "{question} {}"}, "unknown field {}"),
        ("sampling", {"template": "{question.__class__}"}, "unknown field"),
        ("sampling", {"template": "{question!r}"}, "takes no format"),
        ("sampling", {"template": "{question:>9}"}, "takes no format"),
        ("sampling", {"system": "  "}, "system"),
        ("editing", {"template": "{question}{solution}{instruction}"}, "{unit} is missing"),
        ("editing", {"template": "{question}{instruction}", "layout": "paper"}, "{step} is missing"),
        ("editing", {"few_shot": 9}, "few_shot"),
        ("editing", {"examples": []}, "examples"),
        ("editing", {"examples": [{**OWN, "extra": 1}]}, "extra"),
    ],
)
def test_bad_settings_are_refused_naming_them(section: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        resolve("errata", {section: settings})
    assert told in str(refusal.value)
    assert section in {str(error["loc"][0]) for error in refusal.value.errors()}


def test_an_evaluation_asks_as_a_job_does() -> None:
    config = EvaluationConfig(few_shot=2, system="s", opening="none")
    assert solve_prompt("q", config=config).messages[0].content == "s"
