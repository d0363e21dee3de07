"""Labels checked again: those of real pairs hold, and planted wrong ones are found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from errata.answers import judge
from errata.gates.labels import Label, LabelCheck
from errata.types import Domain, EvidenceKind, Problem, Verdict


def result(check: LabelCheck) -> tuple[Label, str]:
    """The result, with real verdicts."""
    verdicts = {role: judge(check.problem, text, check.domain).verdict for role, text in check.texts.items()}
    return check.result(verdicts)


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
