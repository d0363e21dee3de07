"""Rule-made edits of MATH reference solutions: how many problems get a pair, and a second reader's view of each proof.

A sample here. ``python -m bench.rule_edits`` prints the figures of all problems, and ``python -m
tests.errata.test_mathematics_edits FOLDER`` what the second reader says of them.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bench.rule_edits import Brought, RulePair, all_pairs, coverage, read
from errata.config import resolve
from errata.proof import prove_contradiction
from errata.steps import split_steps
from errata.types import EvidenceKind
from tests.errata.independent import Unreadable, holds, is_identity
from tests.lacking import lacking

SAMPLE = 250


def _path(folder: Path) -> Path:
    path = folder / "math" / "test-1000.jsonl"
    if not path.exists():
        lacking(f"no MATH problems in {path}")
    return path


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


def plant(solutions: Iterable[str]) -> tuple[int, list[str]]:
    """How many falsities were planted, and those that nothing proves."""
    rng = random.Random(1)
    made = [edit for solution in solutions for edit in planted(solution, rng)]
    return len(made), [what for step, edited, what in made if prove_contradiction(step, edited) is None]


def judge_again(pairs: Iterable[RulePair]) -> tuple[list[str], list[str]]:
    """The equations that the second reader finds true, and those that it cannot read."""
    true, unread = [], []
    for pair in pairs:
        equation = pair.evidence.detail["equation"]
        try:
            if (is_identity if pair.is_identity else holds)(equation):
                true.append(equation)
        except Unreadable:
            unread.append(equation)
    return true, unread


@pytest.fixture(scope="module")
def problems(shared_data: Path) -> list[Brought]:
    """A sample that is the same in every run."""
    return random.Random(0).sample(read(_path(shared_data)), SAMPLE)


@pytest.fixture(scope="module")
def pairs(problems: list[Brought]) -> list[RulePair]:
    """What rules make of the sample."""
    return all_pairs(problems, resolve("rules"))


def test_six_of_ten_problems_get_a_proven_pair_few_of_them_by_an_identity_alone(
    problems: list[Brought], pairs: list[RulePair]
) -> None:
    figures = coverage(problems, pairs)
    assert figures["share"] >= 0.6
    assert 3 * figures["by_identity_alone"] <= figures["paired"]
    assert {pair.kind for pair in pairs} <= {"calculation", "substitution", "omission", "operator", "order"}


def test_no_proven_edit_is_true_to_a_second_reader(pairs: list[RulePair]) -> None:
    true, unread = judge_again(pair for pair in pairs if pair.evidence.kind is not EvidenceKind.REPLAY)
    assert true == []
    assert len(unread) <= 0.1 * len(pairs)


def test_edits_write_signs_as_the_solutions_do(pairs: list[RulePair]) -> None:
    for pair in pairs:
        step, edited = pair.original, pair.edited
        if pair.kind == "operator":
            for sign in ("*", "\\div", "÷"):
                assert edited.count(sign) == 0 or sign in pair.brought.solution, (step, edited)
        assert edited.count("\\left") - edited.count("\\right") == step.count("\\left") - step.count("\\right")


def test_planted_falsities_are_proven(problems: list[Brought]) -> None:
    count, missed = plant(brought.solution for brought in problems)
    assert count > 100
    assert len(missed) <= 0.05 * count, missed


def main() -> None:
    """Print what the second reader says of all problems in the folder named."""
    problems = read(_path(Path(sys.argv[1])))
    pairs = [pair for pair in all_pairs(problems, resolve("rules")) if pair.evidence.kind is not EvidenceKind.REPLAY]
    true, unread = judge_again(pairs)
    count, missed = plant(brought.solution for brought in problems)
    lines = [f"proven edits: {len(pairs)}, true: {len(true)}, unread: {len(unread)}"]
    lines.append(f"planted: {count}, unproven: {len(missed)}")
    lines += [f"  true: {equation}" for equation in true]
    lines += [f"  unread: {equation}" for equation in unread]
    lines += [f"  unproven: {what!r}" for what in missed]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
