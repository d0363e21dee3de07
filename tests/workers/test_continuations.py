"""Stages ``edit`` by a model, ``continue`` and mode ``dynamic``: every text of the language model is known."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from errata.prompts import SOLVE_VERSION
from models.jobs import EditRow, Shard
from tests.workers.injection_jobs import PROBLEMS, pairs_of, run_job
from tests.workers.scripted import MODEL, Scripted
from workers.engines.base import GenerationRequest
from workers.runner import Services

WHOLE_STEPS = {"layout": "paper", "fallback": []}
ANY_KIND = {"wrong_kind": False}  # the scripted model makes one edit, whatever kind is asked
_STEP_ONE = re.compile(r"Pay (\d+) \* (\d+) \+ (\d+) = (\d+)\.")


class Propagating(Scripted):
    """Edits both factors of step 1 and computes it anew, so that the step is true in itself and may be another way to
    compute, which a replay leaves open; continues what it is given. It rewrites whole steps, as layout ``paper`` asks.

    Step 2 it copies at the first attempt and gets wrong at the next. ``stubborn``: a continuation returns to the right
    answer whatever it is given, as a model does that repairs.
    """

    def __init__(self, *, stubborn: bool = False) -> None:
        super().__init__(self._text)
        self.stubborn = stubborn

    def _text(self, request: GenerationRequest) -> str:
        if request.prompt.version == SOLVE_VERSION:
            return self._continued(request)
        asked = request.prompt.messages[0].content
        first = _STEP_ONE.search(asked)
        assert first
        a, b, c, d = (int(group) for group in first.groups())
        if "Step 1" in request.prompt.assistant_prefix:
            return f"Pay {a + 1} * {b + 1} + {c} = {(a + 1) * (b + 1) + c}."
        tries = sum(r.prompt == request.prompt for r in self.requests)
        return f"So 99 - {d} = {99 - d + (0 if tries < 2 else 1)} left."

    def _continued(self, request: GenerationRequest) -> str:
        prefix = request.prompt.assistant_prefix
        if "left." in prefix:
            answer = int(re.findall(r"(\d+) left\.", prefix)[-1])
            return f"Step 3: The answer is \\boxed{{{answer}}}."
        first = _STEP_ONE.search(prefix)
        assert first
        a, b, c, d = (int(group) for group in first.groups())
        if self.stubborn and a * b + c == d and f"buys {a} pens at {b} " not in request.prompt.messages[0].content:
            d = (a - 1) * (b - 1) + c
        return f"Step 2: So 99 - {d} = {99 - d} left.\nStep 3: The answer is \\boxed{{{99 - d}}}."


def continued(**more: object) -> dict[str, object]:
    """A proof that asks for continuations."""
    return {"continuations": {"when": "unproven", "k": 4, "temperature": 0.7, **more}}


def scripted(services: Services, *, stubborn: bool = False) -> Propagating:
    """Put the scripted model in the place of every engine."""
    services.engines = Propagating(stubborn=stubborn)
    return services.engines


def test_a_no_op_is_asked_again_and_every_attempt_is_recorded(services: Services) -> None:
    scripted(services)
    editing, keep = {**WHOLE_STEPS, "temperature": 0.8, "attempts": 3}, {"unproven": "keep"}
    funnel = run_job(services, "errata", model=MODEL, editing=editing, screening=ANY_KIND, proof=keep)
    with services.db.read() as session:
        edits = list(session.scalars(select(EditRow)))
    attempts = {at: {len(e.attempts) for e in edits if e.step_index == at} for at in (0, 1)}
    assert attempts == {0: {1}, 1: {2}}, "step 2 was copied once"
    again = [e for e in edits if e.step_index == 1]
    assert all(e.attempts[0]["seed"] != e.attempts[1]["seed"] for e in again)
    assert all(e.attempts[0]["reply"] in e.original for e in again), "the copy stands in the record"
    assert {tuple(attempt["reason"] for attempt in e.attempts) for e in again} == {("no_change", None)}
    assert all((e.prompt_tokens, e.completion_tokens) == (20, 10) for e in again), "what both cost"
    assert funnel.counts["edits"]["attempts"] == 3 * PROBLEMS


def test_an_edit_that_nothing_will_prove_is_asked_again_before_its_stage_ends(services: Services) -> None:
    scripted(services)
    run_job(services, "errata", model=MODEL, editing={**WHOLE_STEPS, "attempts": 3}, screening=ANY_KIND)
    with services.db.read() as session:
        edits = list(session.scalars(select(EditRow).where(EditRow.reason == "unproven")))
    assert edits
    for edit in edits:
        reasons = [attempt["reason"] for attempt in edit.attempts]
        assert len(reasons) == 3
        assert reasons[-1] == "unproven"
        assert (edit.evidence_kind, bool(edit.evidence)) == ("unproven", True), "its proof says why"


def test_without_continuations_a_true_step_stays_unproven(services: Services) -> None:
    scripted(services)
    funnel = run_job(services, "errata", model=MODEL, editing=WHOLE_STEPS, screening=ANY_KIND)
    assert funnel.counts["edits"]["rejected"] == {"unproven": PROBLEMS}
    assert funnel.counts["edits"]["proven"] == {"contradiction": PROBLEMS}
    assert {pair.step_index for pair in pairs_of(services)} == {1}


def test_continuations_prove_what_arithmetic_cannot(services: Services) -> None:
    engine = scripted(services)
    funnel = run_job(services, "errata", model=MODEL, proof=continued(), editing=WHOLE_STEPS, screening=ANY_KIND)
    assert funnel.counts["edits"]["proven"] == {"contradiction": PROBLEMS, "divergence": PROBLEMS}
    pairs = [pair for pair in pairs_of(services) if pair.evidence_kind == "divergence"]
    assert len(pairs) == PROBLEMS
    for pair in pairs:
        evidence = pair.evidence or {}
        assert (evidence["rate"], evidence["original_rate"], evidence["k"]) == (1.0, 0.0, 4)
        assert evidence["low"] > evidence["original_high"] - 0.01, "the intervals are stored beside the rates"
    asked = [r for r in engine.requests if r.prompt.version == SOLVE_VERSION]
    assert len(asked) == 2 * PROBLEMS, "only the unproven edits, each side once"
    assert all(r.n == 4 and r.temperature == 0.7 for r in asked)
    assert funnel.counts["tokens"]["continue"]["completion"] == 2 * PROBLEMS * 4 * 5


def test_a_shard_with_nothing_to_continue_asks_no_engine(services: Services) -> None:
    """Every edit shows itself wrong: the stage would load, ask for nothing and store nothing."""
    engine = scripted(services)
    run_job(services, "rules", model=MODEL, proof=continued())
    with services.db.read() as session:
        stages = [set(ledger["seconds"]) for ledger in session.scalars(select(Shard.ledger))]
    assert stages == [{"sample", "grade", "edit", "prove", "pair"}] * len(stages)
    assert pairs_of(services)
    assert not engine.requests


def test_greedy_continuations_are_made_once(services: Services) -> None:
    engine = scripted(services)
    run_job(services, "errata", model=MODEL, proof=continued(temperature=0.0), editing=WHOLE_STEPS, screening=ANY_KIND)
    assert {r.n for r in engine.requests if r.prompt.version == SOLVE_VERSION} == {1}
    assert {(pair.evidence or {})["k"] for pair in pairs_of(services) if pair.evidence_kind == "divergence"} == {1}


def test_an_edit_that_its_continuations_repair_is_a_false_negative(services: Services) -> None:
    scripted(services, stubborn=True)
    funnel = run_job(services, "errata", model=MODEL, proof=continued(), editing=WHOLE_STEPS, screening=ANY_KIND)
    assert funnel.counts["edits"]["rejected"] == {"false_negative": PROBLEMS}
    assert {pair.evidence_kind for pair in pairs_of(services)} == {"contradiction"}


@pytest.mark.parametrize("when", ["unproven", "always"])
def test_dynamic_pairs_carry_what_follows_on_each_side(services: Services, when: str) -> None:
    """Rejected: the edit and a continuation of it that misses gold; chosen: the solution's own rest."""
    scripted(services)
    proof = {**continued(when=when), "mode": "dynamic"}
    funnel = run_job(services, "errata", model=MODEL, proof=proof, editing=WHOLE_STEPS, screening=ANY_KIND)
    pairs = pairs_of(services)
    assert len(pairs) == 2 * PROBLEMS == funnel.counts["pairs"]["by_type"]["step"]
    for pair in pairs:
        assert pair.chosen.endswith("}.")
        assert pair.rejected.endswith("}.")
        boxed = [re.findall(r"boxed\{(-?\d+)\}", side)[-1] for side in (pair.chosen, pair.rejected)]
        assert boxed[0] != boxed[1], "the error has spread to the answer"
        if pair.step_index == 0:
            wrong = re.search(r"= (\d+)\.\nStep 2: So 99 - (\d+) ", pair.rejected)
            assert wrong
            assert wrong[1] == wrong[2], "the later steps take the edited number up"


def test_a_dynamic_edit_that_no_continuation_spreads_makes_no_pair(services: Services) -> None:
    scripted(services, stubborn=True)
    funnel = run_job(
        services,
        "errata",
        model=MODEL,
        proof={**continued(), "mode": "dynamic"},
        editing=WHOLE_STEPS,
        screening=ANY_KIND,
    )
    assert funnel.counts["edits"]["rejected"] == {"false_negative": PROBLEMS}
    assert {pair.step_index for pair in pairs_of(services)} == {1}
