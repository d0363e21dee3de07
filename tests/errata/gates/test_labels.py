"""Labels checked again: those of real pairs hold, and planted wrong ones are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.rule_edits import RulePair, all_pairs, read
from errata.answers import judge
from errata.config import resolve
from errata.gates.labels import Label, LabelCheck
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem, Verdict


def result(check: LabelCheck) -> tuple[Label, str]:
    """The result, with real verdicts."""
    verdicts = {role: judge(check.problem, text, check.domain).verdict for role, text in check.texts.items()}
    return check.result(verdicts)


def of_pair(pair: RulePair) -> LabelCheck:
    """The check of a pair made by rules."""
    problem, text = replace(pair.brought.problem, gold_solution=pair.brought.solution), pair.brought.solution
    steps = split_steps(text, Domain.MATH)
    step = next(step for step in steps if text[step.start : step.end] == pair.original)
    return LabelCheck(
        type="step",
        problem=problem,
        domain=Domain.MATH,
        chosen=pair.original,
        rejected=pair.edited,
        solution=text,
        original=pair.original,
        edited=pair.edited,
        start=step.start,
        step_index=step.index,
        evidence=pair.evidence.kind,
        detail=pair.evidence.detail,
    )


@pytest.fixture(scope="module")
def checks(shared_data: Path) -> list[LabelCheck]:
    """Proven step pairs of 125 solutions of MATH."""
    problems = read(shared_data / "math" / "test-1000.jsonl")[::8]
    return [of_pair(pair) for pair in all_pairs(problems, resolve("rules", None))]


def test_labels_of_real_pairs_hold(checks: list[LabelCheck]) -> None:
    assert {check.evidence for check in checks} >= {EvidenceKind.CONTRADICTION, EvidenceKind.IDENTITY}
    wrong = [(check, told) for check in checks if (told := result(check))[0] is not Label.HOLDS]
    assert len(wrong) <= 0.01 * len(checks), wrong


def test_planted_wrong_labels_are_found(checks: list[LabelCheck]) -> None:
    for check in checks[:60]:
        swapped = replace(
            check, chosen=check.rejected, rejected=check.chosen, original=check.edited, edited=check.original
        )
        harmless = replace(check, rejected=check.chosen, edited=f"{check.original} ")
        gold = replace(check.problem, gold_answer="-123456")
        for bad in (swapped, harmless, replace(check, problem=gold)):
            assert result(bad)[0] is Label.WRONG
    assert result(replace(checks[0], evidence=EvidenceKind.UNPROVEN))[0] is Label.OPEN


SUM = Problem("What is 2 + 2?", "4", "2 + 2 = \\boxed{4}")
FULL = LabelCheck("full", SUM, Domain.MATH, "It is \\boxed{4}.", "It is \\boxed{5}.", "It is \\boxed{4}.")


@pytest.mark.parametrize(
    ("check", "label", "why"),
    [
        (FULL, Label.HOLDS, ""),
        (replace(FULL, chosen=FULL.rejected, rejected=FULL.chosen), Label.WRONG, "chosen side does not"),
        (replace(FULL, rejected="So \\boxed{4}"), Label.WRONG, "rejected side reaches"),
        (replace(FULL, rejected="I do not know."), Label.OPEN, "rejected side could not"),
        (replace(FULL, chosen="I do not know."), Label.OPEN, "chosen could not"),
        (replace(FULL, problem=replace(SUM, gold_answer="5")), Label.WRONG, "own solution"),
    ],
)
def test_full_pairs(check: LabelCheck, label: Label, why: str) -> None:
    found = result(check)
    assert found[0] is label
    assert why in found[1]


def test_a_diverging_edit_holds_by_its_stored_rates() -> None:
    rates = {"rate": 0.75, "original_rate": 0.25, "gap": 0.5}
    step = LabelCheck("step", SUM, Domain.MATH, "a", "b", "ab", "a", "b", 0, 0, EvidenceKind.DIVERGENCE, rates)
    right = dict.fromkeys(("solution", "reference"), Verdict.CORRECT)
    assert step.result(right)[0] is Label.HOLDS
    assert replace(step, detail={**rates, "rate": 0.5}).result(right)[0] is Label.WRONG
    assert replace(step, original="x").result(right)[0] is Label.WRONG


def test_a_program_that_passes_is_no_error() -> None:
    code = LabelCheck("step", SUM, Domain.CODE, "a", "b", "xay", "a", "b", 1, 0, EvidenceKind.VERIFIER)
    assert code.texts["edited"] == "xby"
    right = {"solution": Verdict.CORRECT, "reference": Verdict.CORRECT}
    assert code.result({**right, "edited": Verdict.INCORRECT})[0] is Label.HOLDS
    assert code.result({**right, "edited": Verdict.CORRECT})[0] is Label.WRONG
    assert code.result({**right, "edited": Verdict.TIMEOUT})[0] is Label.OPEN
