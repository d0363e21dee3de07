"""What is planted in pairs of MATH is found, and pairs as they are pass.

A sample here. ``python -m bench.planted`` prints the figures of all 1,000 problems.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.planted import LABELS, SHORTCUTS, check_of, label_of, shortcut
from bench.rule_edits import all_pairs, read
from errata.config import resolve
from errata.gates.config import ShortcutsGate
from errata.gates.labels import Label, LabelCheck
from errata.gates.report import report
from errata.types import EvidenceKind


@pytest.fixture(scope="module")
def checks(shared_data: Path) -> list[LabelCheck]:
    """Proven step pairs of 125 solutions of MATH."""
    problems = read(shared_data / "math" / "test-1000.jsonl")[::8]
    return [check_of(pair) for pair in all_pairs(problems, resolve("rules", None))]


def test_labels_of_real_pairs_hold(checks: list[LabelCheck]) -> None:
    assert {check.evidence for check in checks} >= {EvidenceKind.CONTRADICTION, EvidenceKind.IDENTITY}
    wrong = [check for check in checks if label_of(check) is not Label.HOLDS]
    assert len(wrong) <= 0.01 * len(checks), wrong


def test_planted_wrong_labels_are_found(checks: list[LabelCheck]) -> None:
    for check in checks[:60]:
        for name in ("swapped", "harmless", "misjudged"):
            assert label_of(LABELS[name](check)) is Label.WRONG, (name, check)
    assert label_of(replace(checks[0], evidence=EvidenceKind.UNPROVEN)) is Label.OPEN


@pytest.mark.parametrize(
    ("planted", "state"), [("clean", "passed"), ("mark_on_4_of_10", "warning"), ("longer", "warning")]
)
def test_a_planted_shortcut_is_found_and_clean_pairs_pass(checks: list[LabelCheck], planted: str, state: str) -> None:
    told = shortcut(checks, SHORTCUTS[planted])
    assert told.auc is not None
    gate = report("shortcuts", ShortcutsGate(), told.auc, told.sentence)
    assert (gate.state, told.shortcut) == (state, state == "warning"), told.sentence
    if planted == "mark_on_4_of_10":
        assert any("indeed" in name.lower() for name, _ in told.toward_rejected), told.toward_rejected
