"""Rule-made edits of MATH reference solutions: how many problems get a pair, and a second reader's view of each proof.

A sample by default; ``python -m tests.errata.test_mathematics_edits`` prints the figures of all 1,000 problems.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from errata.config import resolve
from errata.injection import plan_edits
from errata.proof import Outcome, prove_contradiction, prove_edit
from errata.rule_edits import rule_edit
from errata.screening import screen
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem
from tests.errata.independent import Unreadable, holds
from tests.lacking import lacking

SAMPLE = 250


@dataclass
class Figures:
    """``edits``: kind, original step, edited step and the equation that is said to be false, of each proven edit."""

    problems: Counter[str] = field(default_factory=Counter)
    paired: Counter[str] = field(default_factory=Counter)
    edits: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of all problems, those with a proven pair."""
        return self.paired.total() / self.problems.total()


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "math" / "test-1000.jsonl"
    if not path.exists():
        lacking(f"no MATH problems in {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(rows: Sequence[dict[str, Any]]) -> Figures:
    """Plan, edit, screen and prove by rules, as a job with the preset ``rules`` does."""
    config = resolve("rules")
    figures = Figures()
    for seed, row in enumerate(rows):
        solution, problem = row["solution"], Problem(row["problem"], "")
        steps = split_steps(solution)
        figures.problems[row["type"]] += 1
        found = len(figures.edits)
        for planned in plan_edits(solution, steps, config, Domain.MATH, seed, problem).edits:
            index, kind = planned.step, planned.kind
            step = solution[steps[index].start : steps[index].end]
            edited = rule_edit(solution, steps, index, kind, seed, Domain.MATH, problem, planned.unit, planned.form)
            if edited is None or not screen(step, edited, problem.question, config.screening).kept:
                continue
            proof = prove_edit(step, edited)
            if proof.outcome is Outcome.PROVEN and proof.evidence.kind is EvidenceKind.CONTRADICTION:
                figures.edits.append((kind, step, edited, proof.evidence.detail["equation"]))
        figures.paired[row["type"]] += len(figures.edits) > found
    return figures


# One number standing alone behind "=", with only numbers and operations before it, back to the "=" or the words before.
_ATOM = (
    r"(?:\d|[-+*/().^{}\s!&]|\\(?:cdot|times|div|left|right)(?![a-z])|\\[dt]?(?:frac|binom)|\\[,!]|\\sqrt(?:\[\d\])?)"
)
_PLANT = re.compile(
    rf"(?:^|[$=\[,:;>]|\\\\|\}}\n)\s*(?P<left>{_ATOM}{{3,200}}?)=\s*(?:\\boxed\{{)?(?P<right>\d+)"
    r"(?=\}?\s*(?:\$|\\\]|\\\\|&?=|,\s|\.\s|\.\$|,\$|\.\\\]|,\\\]|\.$|\n\\end|;))",
    re.M,
)
_CALCULATES = re.compile(r"\d\}?\)?\s*(?:[-+*/^!]|\\cdot|\\times|\\div)|frac|binom|sqrt|\)\s*\(|\d\s*\\left\(|\d\(")


def planted(solution: str, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """(step, step with a falsity, what was changed) for every number that stands alone behind a calculation."""
    for step in split_steps(solution):
        text = solution[step.start : step.end]
        at = 0
        while (found := _PLANT.search(text, at)) is not None:
            at = found.start("right") - 1
            if re.search(r"\d", found["left"]) and _CALCULATES.search(found["left"]):
                number = int(found["right"])
                other = max(number + rng.choice([1, 2, 3, -1, 10]), 0)
                other += other == number
                yield text, text[: found.start("right")] + str(other) + text[found.end("right") :], found[0]


def plant(rows: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    """How many falsities were planted, and those that nothing proves."""
    rng = random.Random(1)
    made = [edit for row in rows for edit in planted(row["solution"], rng)]
    return len(made), [what for step, edited, what in made if prove_contradiction(step, edited) is None]


def judge_again(figures: Figures) -> tuple[list[str], list[str]]:
    """The equations that the second reader finds true, and those that it cannot read."""
    true, unread = [], []
    for _, _, _, equation in figures.edits:
        try:
            if holds(equation):
                true.append(equation)
        except Unreadable:
            unread.append(equation)
    return true, unread


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, Any]]:
    """A sample that is the same in every run."""
    return random.Random(0).sample(_rows(shared_data), SAMPLE)


@pytest.fixture(scope="module")
def figures(rows: list[dict[str, Any]]) -> Figures:
    """What rules make of the sample."""
    return measure(rows)


def test_half_of_the_problems_get_a_proven_pair_from_arithmetic_alone(figures: Figures) -> None:
    assert figures.share >= 0.5


def test_no_proven_edit_is_true_to_a_second_reader(figures: Figures) -> None:
    true, unread = judge_again(figures)
    assert true == []
    assert len(unread) <= 0.1 * len(figures.edits)


def test_edits_write_signs_as_the_solutions_do(figures: Figures) -> None:
    for kind, step, edited, _ in figures.edits:
        if kind == "operator":
            for sign in ("*", "\\div", "÷"):
                assert edited.count(sign) == 0 or sign in step, (step, edited)
        assert edited.count("\\left") - edited.count("\\right") == step.count("\\left") - step.count("\\right")


def test_planted_falsities_are_proven(rows: list[dict[str, Any]]) -> None:
    count, missed = plant(rows)
    assert count > 100
    assert len(missed) <= 0.05 * count, missed


def main() -> None:
    """Print the figures of all problems."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    rows = _rows(folder)
    figures = measure(rows)
    true, unread = judge_again(figures)
    count, missed = plant(rows)
    lines = [f"problems with a proven pair: {figures.paired.total()} of {figures.problems.total()}"]
    lines += [
        f"  {subject}: {figures.paired[subject] / n:.0%} of {n}" for subject, n in sorted(figures.problems.items())
    ]
    lines.append(f"proven edits: {len(figures.edits)}, true: {len(true)}, unread: {len(unread)}")
    lines.append(f"planted: {count}, unproven: {len(missed)}")
    lines += [f"  true: {equation}" for equation in true]
    lines += [f"  unread: {equation}" for equation in unread]
    lines += [f"  unproven: {what!r}" for what in missed]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
