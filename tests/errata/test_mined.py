"""Mined errors: which samples of a step are right, which may be wrong, what stands against them, what proves them."""

from __future__ import annotations

from typing import Any

import pytest

from errata.config import resolve
from errata.early_check import reason_against
from errata.gates.labels import Label, LabelCheck
from errata.injection import plan_edits
from errata.mined import as_step, error_rate, lost_at_step, read_samples, stop_of
from errata.mined_proof import lies_apart, own_contradiction, prove_mined, values_of, wording_of
from errata.proof import Continuations, Outcome, Proof
from errata.steps import split_steps
from errata.types import Domain, Evidence, EvidenceKind, Problem, Reason, Verdict

QUESTION = "Janet's ducks lay 16 eggs per day. She eats three and bakes with four, and sells the rest for $2 each."
SOLUTION = (
    "Let's think step by step.\n"
    "Step 1: Janet sells 16 - 3 - 4 = 9 eggs a day.\n"
    "Step 2: She makes 9 * 2 = 18 dollars.\n"
    "Step 3: The answer is \\boxed{18}."
)
STEPS = split_steps(SOLUTION)
FIRST = SOLUTION[STEPS[0].start : STEPS[0].end]
PROBLEM = Problem(QUESTION, "18")


def step(text: str) -> str:
    return f"Step 1: {text}\n"


@pytest.mark.parametrize(
    ("text", "values", "wording"),
    [
        ("She has 12 + 7 = 19 left.", ("12", "+", "7", "19"), "She has # ~ # = # left."),
        ("It costs $1,200 × 3.", ("1200", "*", "3"), "It costs $# ~ #."),
        ("3 x 4 boxes, twenty-one", ("3", "*", "4"), "# ~ # boxes, twenty-one"),
        ("5 − 2 = <<5-2=3>>3", ("5", "-", "2", "3"), "# ~ # = #"),
        ("Half of .5 is a quarter.", (".5",), "Half of # is a quarter."),
    ],
)
def test_values_and_wording_of_a_step(text: str, values: tuple[str, ...], wording: str) -> None:
    assert values_of(text) == values
    assert wording_of(text) == wording


def test_samples_are_sorted_into_right_and_candidates() -> None:
    samples = [
        FIRST,
        step("Janet then sells 16 - 3 - 4 = 9 eggs each day."),  # says the same
        step("Janet sells 16 - 7 = 9 eggs a day."),  # another way to the same result
        step("Janet sells 16 - 3 = 13 eggs a day."),
        step("Janet then sells 16 - 3 - 4 = 8 eggs each day."),
        step("Janet sells 16 - 3 = 13 eggs a day."),
        None,
    ]
    found = read_samples(FIRST, QUESTION, samples)
    assert (found.samples, found.right) == (6, 3)
    less, wrong = found.candidates
    assert (less.count, less.false, less.kind) == (2, False, "omission")
    assert (wrong.count, wrong.false, wrong.kind) == (1, True, "calculation")
    assert less.chosen == FIRST
    assert wrong.chosen == samples[1], "the right sample nearest in wording, not the step itself"
    assert found.counts(1) == {"samples": 6, "right": 3, "false": 0, "same": 1}
    assert found.counts(0) == {"samples": 6, "right": 3, "false": 1, "same": 2}
    assert error_rate(found.counts(0), proven=True) == 3 / 6
    assert error_rate(found.counts(0), proven=False) == 1 / 6
    assert error_rate(read_samples(FIRST, QUESTION, [None]).counts(0), proven=False) is None


def test_kinds_without_a_weight_are_left_out() -> None:
    samples = [step("Janet sells 16 - 3 = 13 eggs a day."), step("Janet sells 16 - 3 - 4 = 8 eggs a day.")]
    assert [each.kind for each in read_samples(FIRST, QUESTION, samples, {"calculation": 1.0}).candidates] == [
        "calculation"
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Janet sells 16 - 3 = 13 eggs.", "Step 1: Janet sells 16 - 3 = 13 eggs.\n"),
        ("Janet sells 13.  \n\n", "Step 1: Janet sells 13.\n"),
        ("Janet sells 13.\nStep 2: She makes 26.", "Step 1: Janet sells 13.\n"),
        ("  ", None),
    ],
)
def test_what_is_written_behind_a_label_becomes_a_step(written: str, expected: str | None) -> None:
    assert as_step(SOLUTION, STEPS, 0, written) == expected


def test_an_engine_stops_where_the_step_ends() -> None:
    assert stop_of("Step 1: one line\n") == ("\n",)
    assert stop_of("1. two\nlines\n\n") == ("\n\n",)
    assert stop_of("1. a\n\nparagraph inside\n") == ()


def replayed(outcome: Outcome) -> Proof:
    return Proof(outcome, Evidence(EvidenceKind.REPLAY if outcome is Outcome.PROVEN else EvidenceKind.UNPROVEN, {}))


LESS = step("Janet sells 16 - 3 = 13 eggs a day.")
OTHER_SIGN = step("Janet sells 16 + 3 - 4 = 15 eggs a day.")


@pytest.mark.parametrize(
    ("mined", "given", "outcome", "kind"),
    [
        (step("Janet sells 16 - 3 - 4 = 8 eggs a day."), {}, Outcome.PROVEN, EvidenceKind.CONTRADICTION),
        # A false equation of its own, though nothing of the chosen step became it.
        (step("She keeps 20 / 5 = 3, so 9 are left."), {}, Outcome.PROVEN, EvidenceKind.CONTRADICTION),
        # A smaller step is not wrong, whatever a replay says: the wording differs.
        (LESS, {}, Outcome.UNPROVEN, EvidenceKind.UNPROVEN),
        (LESS, {"replayed": replayed(Outcome.PROVEN)}, Outcome.UNPROVEN, EvidenceKind.UNPROVEN),
        (OTHER_SIGN, {"replayed": replayed(Outcome.PROVEN)}, Outcome.PROVEN, EvidenceKind.REPLAY),
        (OTHER_SIGN, {"replayed": replayed(Outcome.FALSE_NEGATIVE)}, Outcome.FALSE_NEGATIVE, EvidenceKind.UNPROVEN),
        (LESS, {"continuations": Continuations(0, 8, 8)}, Outcome.PROVEN, EvidenceKind.DIVERGENCE),
        (LESS, {"continuations": Continuations(0, 6, 8)}, Outcome.PROVEN, EvidenceKind.DIVERGENCE),
        # 3 of 8 missed from the chosen step as well: the rates are 0.625 apart, their intervals overlap.
        (LESS, {"continuations": Continuations(0, 5, 8)}, Outcome.UNPROVEN, EvidenceKind.UNPROVEN),
        (LESS, {"continuations": Continuations(0, 7, 7)}, Outcome.UNPROVEN, EvidenceKind.UNPROVEN),
        # One continuation that reaches gold refutes it, replay or not.
        (LESS, {"continuations": Continuations(1, 8, 8)}, Outcome.FALSE_NEGATIVE, EvidenceKind.UNPROVEN),
        (
            OTHER_SIGN,
            {"continuations": Continuations(1, 8, 8), "replayed": replayed(Outcome.PROVEN)},
            Outcome.FALSE_NEGATIVE,
            EvidenceKind.UNPROVEN,
        ),
        # ... unless an equation of it is false: a model may forgive itself.
        (
            step("Janet sells 16 - 3 - 4 = 8 eggs a day."),
            {"continuations": Continuations(8, 8, 8)},
            Outcome.PROVEN,
            EvidenceKind.CONTRADICTION,
        ),
    ],
)
def test_proof_of_a_mined_step(mined: str, given: dict[str, Any], outcome: Outcome, kind: EvidenceKind) -> None:
    found = prove_mined(FIRST, mined, **given)
    assert (found.outcome, found.evidence.kind) == (outcome, kind)


def test_a_false_equation_of_its_own_names_itself() -> None:
    found = own_contradiction(step("She keeps 20 / 5 = 3, so 9 are left."), FIRST)
    assert found is not None
    assert (found.detail["equation"], found.detail["original"]) == ("20 / 5 = 3", "")
    assert own_contradiction(LESS, FIRST) is None


def test_the_program_keeps_only_what_it_can_prove() -> None:
    unproven = resolve("mined", {"proof": {"continuations": {"when": "never"}}})
    doubt = (PROBLEM, SOLUTION, STEPS[0], LESS, "omission")
    assert reason_against(*doubt, unproven, Domain.MATH, "mined") is Reason.UNPROVEN
    assert reason_against(*doubt, resolve("mined"), Domain.MATH, "mined") is None, "continuations decide"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"proof": {"continuations": {"k": 7}}}, "proof.continuations.k: mined errors need at least 8"),
        ({"proof": {"continuations": {"temperature": 0}}}, "proof.continuations.temperature"),
        ({"editing": {"fallback": ["rules"]}}, "nobody edits behind the editor 'mined'"),
        ({"editing": {"mined": {"temperature": 0}}}, "editing.mined.temperature"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("mined", overrides)


def test_labels_of_mined_pairs_are_proven_again_by_their_own_rules() -> None:
    def label(edited: str, evidence: str, detail: dict[str, Any] | None = None, *, mined: bool = True) -> Label:
        check = LabelCheck(
            *("step", PROBLEM, Domain.MATH, FIRST, edited, SOLUTION, FIRST, edited, STEPS[0].start, 0),
            evidence=evidence,
            detail=detail,
            mined=mined,
        )
        return check.result({"solution": Verdict.CORRECT})[0]

    own = step("She keeps 20 / 5 = 3, so 9 are left.")
    assert label(own, "contradiction") is Label.HOLDS
    assert label(own, "contradiction", mined=False) is Label.WRONG
    near = prove_mined(FIRST, LESS, continuations=Continuations(0, 5, 8)).evidence.detail
    far = prove_mined(FIRST, LESS, continuations=Continuations(0, 8, 8)).evidence.detail
    assert not lies_apart(near)
    assert label(LESS, "divergence", near) is Label.WRONG
    assert label(LESS, "divergence", near, mined=False) is Label.HOLDS
    assert label(LESS, "divergence", far) is Label.HOLDS


BROKEN = "Step 1: She has 5 + 2 = 8 eggs.\nStep 2: She eats 2, so 7 - 2 = 5.\nStep 3: She sells 5 * 2 = 10.\n"


@pytest.mark.parametrize("preset", ["errata", "mined", "rules"])
def test_no_step_behind_a_false_one_is_offered(preset: str) -> None:
    steps = split_steps(BROKEN)
    plan = plan_edits(BROKEN, steps, resolve(preset), Domain.MATH, 1, Problem("How many?", "10"))
    assert plan.skipped == {0: Reason.FALSE_STEP, 1: Reason.BEHIND_FALSE, 2: Reason.BEHIND_FALSE}
    off = resolve(preset, {"selection": {"drop_behind_false": False}})
    assert [edit.step for edit in plan_edits(BROKEN, steps, off, Domain.MATH, 1, Problem("How many?", "10")).edits]


@pytest.mark.parametrize("preset", ["paper", "scripts"])
def test_the_papers_presets_offer_them_as_before(preset: str) -> None:
    plan = plan_edits(BROKEN, split_steps(BROKEN), resolve(preset), Domain.MATH, 1, Problem("How many?", "10"))
    assert [edit.step for edit in plan.edits] == [0, 1, 2]


def test_a_mined_plan_offers_every_step_that_is_fit() -> None:
    plan = plan_edits(SOLUTION, STEPS, resolve("mined"), Domain.MATH, 1, PROBLEM)
    assert [edit.step for edit in plan.edits] == [0, 1]
    assert plan.skipped == {2: Reason.ANSWER_STEP}


@pytest.mark.parametrize(
    ("before", "behind", "rate"),
    [
        ("CCCC", "CCCC", 0.0),
        ("IICC", "CCCC", 0.5),
        ("IIIU", "IIIC", 0.25),  # what is lost behind the step is not lost at it
        ("CCCC", "ICCC", 0.0),  # chance
        ("ITCC", "TTCC", 1 / 3),
        ("TT", "CC", None),
        ("", "CC", None),
    ],
)
def test_what_is_lost_between_before_and_behind_a_step(before: str, behind: str, rate: float | None) -> None:
    names = {"C": Verdict.CORRECT, "I": Verdict.INCORRECT, "U": Verdict.UNPARSABLE, "T": Verdict.TIMEOUT}
    assert lost_at_step(*([names[c] for c in side] for side in (before, behind))) == rate
