"""The error profile: the first calculation that leaves every correct solution, and what kind of slip it is."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from errata.calculations import calculations
from errata.config import resolve
from errata.injection import plan_edits
from errata.kinds import Kind, kinds_of, register, registry
from errata.profile import error_profile, first_error
from errata.prompts import edit_prompt
from errata.rule_edits import rule_edit
from errata.selection import Sample
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem, Verdict

RIGHT = "Step 1: She pays 3 * 4 + 5 = 17 dollars.\nStep 2: She has 40 - 17 = 23 dollars left.\nThe answer is 23."

# (a wrong sample beside RIGHT, the step of its first error, its kind)
TABLE: list[tuple[str, int, str]] = [
    (
        "Step 1: She pays 3 * 4 + 5 = 18 dollars.\nStep 2: She has 40 - 18 = 22 left.\nThe answer is 22.",
        0,
        "calculation",
    ),
    ("Step 1: She pays 3 * 4 + 5 = 17.\nStep 2: She has 40 - 17 = 33 left.\nThe answer is 33.", 1, "calculation"),
    ("Step 1: She pays 3 * 5 + 4 = 19.\nStep 2: She has 40 - 19 = 21 left.", 0, "order"),
    ("Step 1: She pays 3 + 4 + 5 = 12.\nStep 2: She has 40 - 12 = 28 left.", 0, "operator"),
    ("Step 1: She pays 3 * 4 + 5 = 17.\nStep 2: She has 40 + 17 = 57 left.", 1, "operator"),
    ("Step 1: She pays 2 * 4 + 5 = 13.\nStep 2: She has 40 - 13 = 27 left.", 0, "substitution"),
    ("Step 1: She pays 3 * 4 = 12.\nStep 2: She has 40 - 12 = 28 left.", 0, "omission"),
    ("Step 1: She pays 100 / 8 = 12.5.\nStep 2: She has that left.", 0, "misreading"),
    ("Step 1: She pays 3 * 4 = <<3*4=14>>14 and 5 more.\nStep 2: She has 40 - 19 = 21 left.", 0, "calculation"),
]


@pytest.mark.parametrize(("wrong", "step", "kind"), TABLE)
def test_the_first_error_has_its_step_and_kind(wrong: str, step: int, kind: str) -> None:
    found = first_error(calculations(wrong), [calculations(RIGHT)])
    assert found is not None
    assert (found.step, found.kind) == (step, kind)


def test_another_way_to_the_same_numbers_is_no_error() -> None:
    wrong = "Step 1: She pays 5 + 12 = 17.\nStep 2: She has 20 + 3 = 23 left.\nThe answer is 24."
    assert first_error(calculations(wrong), [calculations(RIGHT)]) is None


def test_any_correct_solution_of_the_problem_counts() -> None:
    other = "Step 1: The pens cost 3 * 4 = 12.\nStep 2: She has 40 - 12 - 5 = 23 left."
    wrong = "Step 1: The pens cost 3 * 4 = 12.\nStep 2: She has 40 - 12 = 28 left."
    alone = first_error(calculations(wrong), [calculations(RIGHT)])
    assert alone is not None
    assert (alone.step, alone.kind) == (0, "omission")
    found = first_error(calculations(wrong), [calculations(RIGHT), calculations(other)])
    assert found is not None
    assert (found.step, found.kind) == (1, "omission")


def _samples(*texts: tuple[str, Verdict]) -> list[Sample]:
    return [Sample(at, text, verdict, None) for at, (text, verdict) in enumerate(texts)]


def test_a_profile_counts_equal_samples_once_and_skips_what_cannot_be_compared() -> None:
    wrong, omitted = TABLE[0][0], TABLE[6][0]
    profile = error_profile(
        [
            (_samples((RIGHT, Verdict.CORRECT), (wrong, Verdict.INCORRECT), (wrong, Verdict.INCORRECT)), None),
            (_samples((RIGHT, Verdict.CORRECT), ("I do not know.", Verdict.INCORRECT)), None),
            (_samples((wrong, Verdict.INCORRECT), (omitted, Verdict.TIMEOUT)), None),  # nothing right to compare with
            (_samples((omitted, Verdict.INCORRECT)), RIGHT),  # the gold solution is
        ]
    )
    assert (profile.counts, profile.compared, profile.unclassified) == ({"calculation": 1, "omission": 1}, 3, 1)


def test_weights_are_shares_and_no_kind_dies_out() -> None:
    profile = error_profile([(_samples((RIGHT, Verdict.CORRECT), (TABLE[0][0], Verdict.INCORRECT)), None)])
    weights = profile.weights(Domain.MATH)
    assert set(weights) == set(kinds_of(Domain.MATH))
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["calculation"] == pytest.approx(2 / 7)
    assert weights["order"] == pytest.approx(1 / 7)
    assert list(error_profile([]).weights(Domain.MATH).values()) == [pytest.approx(1 / 6)] * 6


def test_a_new_kind_has_the_add_one_weight_and_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind is one entry: the profile knows every registered kind, also one it cannot recognize in samples."""
    monkeypatch.setattr(registry, "_KINDS", {domain: kinds_of(domain) for domain in Domain})
    toy = Kind(
        "toy",
        (Domain.MATH,),
        "Say it wrong.",
        re.compile(""),
        lambda site, _most, _rng: [site.text.replace("17", "71")],
        EvidenceKind.CONTRADICTION,
    )
    register(toy)
    with pytest.raises(ValueError, match="has a kind 'toy' already"):
        register(toy)
    profile = error_profile([(_samples((RIGHT, Verdict.CORRECT), (TABLE[0][0], Verdict.INCORRECT)), None)])
    weights = profile.weights(Domain.MATH)
    assert weights["toy"] == pytest.approx(1 / 8)
    assert "toy" not in profile.weights(Domain.CHOICE)
    config = resolve("rules", {"editing": {"mix": "profile"}})
    steps = split_steps(RIGHT)
    problem = Problem("What is left?", "23")
    plans = [plan_edits(RIGHT, steps, config, Domain.MATH, seed, problem, weights) for seed in range(100)]
    drawn = Counter(edit.kind for plan in plans for edit in plan.edits)
    assert 10 <= drawn["toy"] <= 50, "of 200 steps, with a weight of one in eight, where not every kind applies"
    seed = next(
        seed for seed, plan in enumerate(plans) if (0, "toy") in [(edit.step, edit.kind) for edit in plan.edits]
    )
    assert "= 71" in str(rule_edit(RIGHT, steps, 0, "toy", seed, Domain.MATH, problem))
    assert "Say it wrong." in edit_prompt("q", RIGHT, steps, 0, "toy").messages[0].content


def test_real_wrong_samples_mostly_go_wrong_in_their_arithmetic(shared_data: Path) -> None:
    lines = (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines()[:150]
    problems = []
    for row in map(json.loads, lines):
        given = [value for value in row.values() if isinstance(value, dict)]
        judged = [(v["solution"], Verdict.CORRECT if v["is_correct"] else Verdict.INCORRECT) for v in given]
        problems.append((_samples(*judged), row["ground_truth"]))
    profile = error_profile(problems)
    assert profile.compared > 250
    assert profile.unclassified < 0.15 * profile.compared
    assert set(profile.counts) <= set(kinds_of(Domain.MATH))
    assert profile.counts["substitution"] > profile.counts["order"]
