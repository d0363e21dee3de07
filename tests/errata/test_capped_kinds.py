"""Kinds whose rule-made edits are told apart by their style are rare where rules edit, and the card says so."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from errata.audit import THRESHOLD
from errata.card import render_card
from errata.config import resolve
from errata.injection import plan_edits
from errata.kinds import kinds_of
from errata.steps import split_steps
from errata.types import Domain, Problem

CAPPED = {name: kind.rule_share for name, kind in kinds_of(Domain.MATH).items() if kind.rule_share < 1}
SOLUTIONS = [
    f"Step 1: She has {a} - 3 - 4 = {a - 7} eggs.\nStep 2: She makes {a - 7} * {b} = {(a - 7) * b} dollars.\n"
    f"Step 3: With {a} / 2 + {b} = {a // 2 + b} more she has {(a - 7) * b} + {a // 2 + b} = {(a - 7) * b + a // 2 + b}."
    for a in range(20, 140, 2)
    for b in (2, 5, 7, 12)
]  # fmt: skip


def _planned(overrides: dict[str, Any] | None = None, preset: str = "rules") -> Counter[str]:
    config = resolve(preset, overrides)
    counts: Counter[str] = Counter()
    for seed, solution in enumerate(SOLUTIONS):
        plan = plan_edits(solution, split_steps(solution), config, Domain.MATH, seed, Problem("How many?", "1"))
        counts.update(edit.kind for edit in plan.edits)
    return counts


@pytest.fixture(scope="module")
def by_default() -> Counter[str]:
    """The kinds that rules give the steps where a job names none."""
    return _planned()


def test_a_capped_kind_keeps_to_its_share_of_the_edits(by_default: Counter[str]) -> None:
    assert CAPPED
    for name, share in CAPPED.items():
        assert 0.5 * share < by_default[name] / by_default.total() < 1.5 * share


def test_every_step_is_still_edited(by_default: Counter[str]) -> None:
    assert by_default.total() == 3 * len(SOLUTIONS)


def test_a_job_that_names_the_kind_gets_it(by_default: Counter[str]) -> None:
    for name in CAPPED:
        assert _planned({"editing": {"kinds": {name: 1.0}}})[name] > 5 * by_default[name]


def test_where_a_model_edits_nothing_is_capped() -> None:
    counts = _planned(preset="errata")
    for name in CAPPED:
        assert counts[name] > 0.08 * counts.total()


def test_only_what_the_audit_found_is_capped() -> None:
    for kind in kinds_of(Domain.MATH).values():
        assert bool(kind.audited) is (kind.rule_share < 1)
        if kind.audited:
            figure = float(kind.audited.partition("AUC ")[2].split()[0])
            assert figure > THRESHOLD


def test_the_card_names_the_kinds_and_the_figure() -> None:
    manifest: dict[str, Any] = {
        "name": "d",
        "rows": {"steps_and_full": {"train": 3}},
        "counts": {"pairs": 3, "problems": 2},
        "config": {"split": {"test": 0.1}},
        "lineage": [],
        "capped_kinds": [{"kind": "order", "share": 0.05, "why": "AUC 0.83 on 1,000 GSM8K solutions"}],
    }
    card = render_card(manifest)
    assert "| order | at most 5% | AUC 0.83 on 1,000 GSM8K solutions |" in card
    assert "few steps" not in render_card({**manifest, "capped_kinds": []})
