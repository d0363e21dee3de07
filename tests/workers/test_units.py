"""Edits by unit in the real stages: what a model's reply becomes in both forms, and errors carried to the end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import select

from models.jobs import EditRow
from tests.workers.injection_jobs import PROBLEMS, pairs_of, run_job
from tests.workers.scripted import MODEL, Scripted
from workers.engines.base import GenerationRequest
from workers.runner import Services

_UNIT = re.compile(r"Rewrite this part of step \[(\d)\]: (.*)\n")


def rewriting(rewrite: Callable[[str], str]) -> Scripted:
    """A language model that answers every unit by ``rewrite``."""

    def reply(request: GenerationRequest) -> str:
        asked = _UNIT.search(request.prompt.messages[0].content)
        assert asked
        return rewrite(asked[2])

    return Scripted(reply)


def rewriting_steps(rewrite: Callable[[str], str]) -> Scripted:
    """The same for layout ``paper``, which asks for the whole step behind its label."""

    def reply(request: GenerationRequest) -> str:
        step = int(re.findall(r"Step (\d)", request.prompt.assistant_prefix)[-1])
        found = re.search(rf"Step {step}: (.*)", request.prompt.messages[0].content)
        assert found
        return rewrite(found[1])

    return Scripted(reply)


def other_operand(unit: str) -> str:
    """The last operand 21 greater, a number that no question has; the result stays."""
    return re.sub(r"(\d+)( = )", lambda m: f"{int(m[1]) + 21}{m[2]}", unit)


def edits_of(services: Services) -> list[EditRow]:
    with services.db.read() as session:
        return list(session.scalars(select(EditRow).order_by(EditRow.problem_id, EditRow.step_index)))


def editing(form: str, *kinds: str) -> dict[str, object]:
    return {"form": {form: 1.0}, "kinds": dict.fromkeys(kinds, 1.0), "fallback": []}


def test_a_unit_is_asked_for_alone_and_what_follows_it_in_the_reply_is_dropped(services: Services) -> None:
    services.engines = engine = rewriting(lambda unit: f"{other_operand(unit)} left. And that is wrong.\n```")
    run_job(services, "errata", model=MODEL, editing=editing("stands", "substitution"))
    for request in engine.requests:
        unit = _UNIT.search(request.prompt.messages[0].content)
        assert unit
        assert request.prompt.assistant_prefix in (f"```\nStep {unit[1]}: Pay ", f"```\nStep {unit[1]}: So ")
        assert request.prompt.stop == ("\n",)
    for pair in pairs_of(services):
        assert re.sub(r"\d+", "#", pair.chosen) == re.sub(r"\d+", "#", pair.rejected)
        assert (pair.form, pair.editor, pair.evidence_kind) == ("stands", "words", "contradiction")
    assert len(pairs_of(services)) == len(engine.requests)


def test_in_form_consistent_the_program_computes_the_result_and_a_replay_proves_it(services: Services) -> None:
    services.engines = rewriting(other_operand)
    funnel = run_job(services, "errata", model=MODEL, editing=editing("consistent", "substitution"))
    pairs = pairs_of(services)
    assert len(pairs) >= PROBLEMS / 2
    for pair in pairs:
        left, right = re.findall(r"(?:Pay|So) ([\d *+-]+) = (\d+)", pair.rejected)[0]
        assert eval(left) == int(right), "the edited step is true in itself"
        assert (pair.form, pair.evidence_kind) == ("consistent", "replay")
        assert str((pair.evidence or {})["answer"]).lstrip("-").isdigit()
    counts = funnel.counts["edits"]["by_form"]["consistent"]["substitution"]
    assert counts["proven"] == counts["pairs"] == len(pairs) == funnel.counts["pairs"]["by_form"]["consistent"]


@pytest.mark.parametrize("form", ["stands", "consistent"])
def test_an_unrelated_equation_is_refused_by_name(services: Services, form: str) -> None:
    services.engines = rewriting(lambda _unit: "10 - 5 = 3")
    run_job(services, "errata", model=MODEL, editing=editing(form, "calculation", "substitution"))
    edits = edits_of(services)
    assert edits
    assert {edit.reason for edit in edits} == {"not_the_kind"}
    assert not pairs_of(services)


def test_another_kind_than_asked_is_refused(services: Services) -> None:
    services.engines = rewriting(other_operand)
    run_job(services, "errata", model=MODEL, editing=editing("stands", "operator"))
    assert {edit.reason for edit in edits_of(services)} == {"not_the_kind"}


@pytest.mark.parametrize(("preset", "refused"), [("errata", True), ("paper", False)])
def test_whole_steps_of_another_kind_are_refused_unless_the_preset_is_the_papers(
    services: Services, preset: str, refused: bool
) -> None:
    services.engines = rewriting_steps(other_operand)
    one = {"layout": "paper", "fallback": [], "kinds": {"operator": 1}, "form": {"stands": 1}, "few_shot": 0}
    run_job(services, preset, model=MODEL, selection={"require_both": False}, editing=one)
    edits = edits_of(services)
    assert edits
    assert {edit.reason == "not_the_kind" for edit in edits} == {refused}


def test_dynamic_pairs_are_whole_solutions_whose_error_the_program_carried(services: Services) -> None:
    """No language model is asked: the wrong solution follows from the edit."""
    run_job(services, "rules", proof={"mode": "dynamic"})
    pairs = pairs_of(services)
    assert {pair.step_index for pair in pairs} == {0, 1}
    for pair in pairs:
        answers = [re.findall(r"boxed\{(-?\d+)\}", side)[-1] for side in (pair.chosen, pair.rejected)]
        assert answers[0] != answers[1]
        results = re.findall(r"= (\d+)", pair.rejected)
        assert results[-1] == answers[1], "the answer is the last result"
        if pair.step_index == 0:
            taken = re.findall(r"So 99 - (\d+)", pair.rejected)
            assert taken == results[:1], "the later step takes the edited result up"
