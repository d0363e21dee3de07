"""Truth table of proof: which edits of a step are proven wrong by their own text, and by figures from elsewhere."""

from __future__ import annotations

import pytest

from errata.proof import (
    Continuations,
    Outcome,
    is_consistent,
    prove_contradiction,
    prove_divergence,
    prove_edit,
    prove_verifier,
)
from errata.types import EvidenceKind, Verdict

CONTRADICTIONS = [
    ("48/2 = <<48/2=24>>24", "48/2 = <<48/2=26>>26"),
    ("48/2 = <<48/2=24>>24", "48/2 = <<48/2=24>>26"),  # the text is judged, not the mark
    ("48/2 = <<48/2=24>>24", "48*2 = <<48*2=24>>24"),
    ("48/2 = <<48/2=24>>24", "46/2 = <<46/2=24>>24"),
    ("3 + 4 + 5 = 12", "3 + 5 = 12"),
    ("16 - 3 - 4 = 9 eggs", "16 - 3 = 9 eggs"),
    ("10 - 4 = 6", "4 - 10 = 6"),
    ("20 / 5 = 4", "5 / 20 = 4"),
    ("$5 x 3 = $15", "$5 x 3 = $18"),
    ("$5 x 3 = $15", "$5 + 3 = $15"),
    ("12 apples * 3 = 36 apples", "12 apples * 3 = 38 apples"),
    ("80,000 + 50,000 = $130,000", "80,000 + 50,000 = $140,000"),
    ("200 GB * 40% = 80 GB", "200 GB * 40% = 60 GB"),
    ("200 GB * 40% = 80 GB", "200 GB * 30% = 80 GB"),
    (r"\frac{1}{2} \times 20 = 10", r"\frac{1}{4} \times 20 = 10"),
    (r"$\frac{3}{4} + \frac{5}{4} = 2$", r"$\frac{3}{4} - \frac{5}{4} = 2$"),
    ("3 * 4 = 12 + 5 = 17", "3 * 4 = 12 + 5 = 18"),
    ("3 * 4 = 12 + 5 = 17", "3 * 4 = 13 + 5 = 18"),
    ("5 + 3 = 8 and 8*2 = 16", "5 + 3 = 8 and 8*2 = 18"),
    ("5 + 3 = 8 and 8*2 = 16", "5 + 3 = 9 and 8*2 = 16"),
    ("2/3 = 0.67", "2/3 = 0.76"),
    ("200 x 2/3 = 133 girls", "200 x 2/3 = 143 girls"),
    ("2 hours + 30 minutes = 150 minutes", "2 hours + 30 minutes = 130 minutes"),
    ("2 hours + 30 minutes = 150 minutes", "2 hours - 30 minutes = 150 minutes"),
    ("2 dozen + 4 = 28 eggs", "2 dozen + 4 = 26 eggs"),
    ("2 1/2 * 4 = 10", "3 1/2 * 4 = 10"),
    ("2^3 + 1 = 9", "2^4 + 1 = 9"),
    ("(3 + 4) * 2 = 14", "(3 - 4) * 2 = 14"),
    ("Step 2: He pays 4 * 9 = 36 dollars.\n", "Step 2: He pays 4 * 9 = 32 dollars.\n"),
    ("x = 50 / 2 = 25", "x = 50 / 2 = 20"),
    ("22/7 ≈ 3.14", "22/7 ≈ 4.14"),
    ("5 + 3\n= 8", "5 + 3\n= 7"),
    ("18 - 3 = 15, 15 * 2 = 30, 30 + 1 = 31", "18 - 3 = 15, 15 * 3 = 30, 30 + 1 = 31"),
]
NOTHING_PROVEN = [
    ("3 + 4 = 7", "4 + 3 = 7"),  # the same sum
    ("3 * 4 = 12", "4 * 3 = 12"),
    ("48/2 = <<48/2=24>>24", "48/2 = <<48/2=26>>24"),  # only the mark is wrong
    ("48/2 = 24", "48/2 = 24.0"),
    ("48/2 = 24", "50/2 = 25"),  # recomputed correctly
    ("48/2 = 24", "48/2 is 26"),
    ("48/2 = 24", ""),
    ("48/2 = 24", "48/2 = 24"),
    ("48/2 = 25", "48/2 = 26"),  # false already
    ("He has x = 5 apples", "He has x = 6 apples"),
    ("2x + 3 = 7", "2x + 5 = 7"),
    ("half of 20 + 5 = 15", "half of 20 + 5 = 16"),
    ("a square of side 4 has area 16", "a square of side 4 has area 18"),
    ("The answer is 18.", "The answer is 19."),
    ("No numbers here", "No numbers there"),
    ("He has 5 apples", "He has 5 apples, and 2 + 2 = 5"),  # an added equation has no counterpart
    ("5 + 3 = 8", "5 + 3 = 8 and 2 + 2 = 5"),
    ("2/3 = 0.67", "2/3 = 0.667"),
    ("200 x 2/3 = 133", "200 x 2/3 = 133.3"),
    ("7 / 2 = 3.5", "7 / 2 = 4"),  # rounded
    ("3/4 + 1/4 = 1", "3/4 - 1/4 = 1"),  # one half, rounded up
    ("3 * 4 = 12", "3 * 4 = 12 + 5 = 17"),  # a running chain
    ("40% of 200 = 80", "0.4 * 200 = 80"),
    ("12/20 = 60%", "12/20 = 0.6"),
    ("2 hours = 120 minutes", "2 hours = 7200 seconds"),
    ("24/6 = 4", "the remainder of 24/5 = 4"),
    ("17 / 5 = 3.4", "17 / 5 = 3 remainder 2"),
    ("2^10 = 1024", "2^99999999 = 1024"),  # too large to judge
    ("10/2 = 5", "10/0 = 5"),
    ("f(2) = 2 * 3 = 6", "f(2) = 2x = 6"),
    ("80 * 1.25 = 100", "80 + 25% = 100"),
]


@pytest.mark.parametrize(("original", "edited"), CONTRADICTIONS)
def test_contradiction(original: str, edited: str) -> None:
    evidence = prove_contradiction(original, edited)
    assert evidence is not None
    assert evidence.kind is EvidenceKind.CONTRADICTION
    assert evidence.detail["left"] != evidence.detail["right"]
    assert "<<" not in evidence.detail["equation"]
    assert not is_consistent(edited)
    assert prove_edit(original, edited).outcome is Outcome.PROVEN


@pytest.mark.parametrize(("original", "edited"), NOTHING_PROVEN)
def test_nothing_proven(original: str, edited: str) -> None:
    assert prove_contradiction(original, edited) is None
    assert prove_edit(original, edited).outcome is Outcome.UNPROVEN


def test_evidence_says_where_and_what() -> None:
    evidence = prove_contradiction("So 16 - 7 = <<16-7=9>>9 eggs.", "So 16 - 7 = <<16-7=8>>8 eggs.")
    assert evidence is not None
    assert evidence.detail == {
        "equation": "16 - 7 = 8",
        "left": "9",
        "right": "8",
        "original": "16 - 7 = 9",
        "start": 3,
        "end": 23,
    }


@pytest.mark.parametrize(
    ("edited", "original", "k", "kind"),
    [
        (0, 8, 8, EvidenceKind.DIVERGENCE),
        (4, 8, 8, EvidenceKind.DIVERGENCE),
        (5, 8, 8, EvidenceKind.UNPROVEN),
        (0, 3, 8, EvidenceKind.UNPROVEN),
        (8, 8, 8, EvidenceKind.UNPROVEN),
        (8, 0, 8, EvidenceKind.UNPROVEN),  # better than the original
        (0, 1, 1, EvidenceKind.DIVERGENCE),
    ],
)
def test_divergence_needs_the_gap(edited: int, original: int, k: int, kind: EvidenceKind) -> None:
    evidence = prove_divergence(Continuations(edited, original, k), gap=0.5)
    assert evidence.kind is kind
    assert evidence.detail["low"] <= evidence.detail["rate"] <= evidence.detail["high"]
    assert evidence.detail["rate"] == (k - edited) / k
    assert evidence.detail["original_rate"] == (k - original) / k


def test_a_gap_is_compared_exactly() -> None:
    assert prove_divergence(Continuations(7, 10, 10), gap=0.3).kind is EvidenceKind.DIVERGENCE


def test_wilson_interval_of_eight_misses_in_eight() -> None:
    detail = prove_divergence(Continuations(0, 8, 8)).detail
    assert detail["low"] == pytest.approx(0.6756, abs=1e-4)
    assert detail["high"] == 1.0


@pytest.mark.parametrize(
    ("edited_step", "continuations", "outcome"),
    [
        ("48/2 = 26", Continuations(8, 8, 8), Outcome.PROVEN),  # a contradiction stays one
        ("She pays 7 of them", Continuations(0, 8, 8), Outcome.PROVEN),
        ("She pays 7 of them", Continuations(8, 8, 8), Outcome.FALSE_NEGATIVE),
        ("4 + 3 = 7", Continuations(7, 8, 8), Outcome.FALSE_NEGATIVE),
        ("She pays 7 of them", Continuations(2, 4, 8), Outcome.UNPROVEN),
        ("She pays 7 of them", None, Outcome.UNPROVEN),
        ("She pays 7 of them", Continuations(0, 7, 7, 8), Outcome.PROVEN),
    ],
)
def test_verdict_on_an_edit(edited_step: str, continuations: Continuations | None, outcome: Outcome) -> None:
    assert prove_edit("48/2 = 24", edited_step, continuations=continuations, gap=0.5).outcome is outcome


def test_timeouts_count_neither_way() -> None:
    verdicts = [Verdict.CORRECT, Verdict.INCORRECT, Verdict.UNPARSABLE, Verdict.TIMEOUT]
    assert Continuations.from_verdicts(verdicts, [Verdict.CORRECT]) == Continuations(1, 1, 3, 1)
    assert Continuations.from_verdicts([Verdict.TIMEOUT], [Verdict.CORRECT]) is None


@pytest.mark.parametrize(
    ("original", "edited", "outcome"),
    [
        (Verdict.CORRECT, Verdict.INCORRECT, Outcome.PROVEN),
        (Verdict.CORRECT, Verdict.CORRECT, Outcome.FALSE_NEGATIVE),
        (Verdict.CORRECT, Verdict.TIMEOUT, Outcome.UNPROVEN),
        (Verdict.CORRECT, Verdict.UNPARSABLE, Outcome.UNPROVEN),
        (Verdict.INCORRECT, Verdict.INCORRECT, Outcome.UNPROVEN),
    ],
)
def test_verifier(original: Verdict, edited: Verdict, outcome: Outcome) -> None:
    assert prove_verifier(original, edited, "breaks clue 2").outcome is outcome
