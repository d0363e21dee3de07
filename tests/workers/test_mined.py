"""Mined errors in the real stages, over the miniature: it writes steps anew, and what it writes wrong is the edit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from errata.mined import error_rate
from errata.mined_proof import own_contradiction, values_of, wording_of
from errata.proof import is_consistent
from errata.steps import split_steps
from models.jobs import EditRow, PairRow, SolutionRow
from tests.workers.injection_jobs import pairs_of, run_job
from tests.workers.test_editors import MODEL, SHARED, edits_of, stories
from workers.runner import Services

MANY = {"mined": {"k": 10, "temperature": 1.2}}


@pytest.fixture(autouse=True)
def one_pool(services: Services) -> None:
    services.engines = SHARED


@pytest.fixture(autouse=True, scope="module")
def _end() -> Iterator[None]:
    yield
    SHARED.close()


def solutions_of(services: Services) -> dict[str, SolutionRow]:
    with services.db.read() as session:
        return {row.id: row for row in session.scalars(select(SolutionRow))}


def test_the_models_own_wrong_steps_become_pairs(services: Services) -> None:
    mined = run_job(services, "mined", stories(6), model=MODEL, editing=MANY)
    pairs, edits, solutions = pairs_of(services), edits_of(services), solutions_of(services)
    steps = [pair for pair in pairs if pair.type == "step"]
    assert len(steps) >= 4
    assert {pair.editor for pair in steps} == {pair.source for pair in steps} == {"mined"}
    assert {pair.prompt_version for pair in steps} == {"mined/1"}
    assert {pair.language_model for pair in steps} == {"editor"}
    by_id = {edit.id: edit for edit in edits}
    for pair in steps:
        edit, solution = by_id[str(pair.edit_id)], solutions[pair.solution_id]
        own = solution.text[edit.start : edit.end]
        assert pair.chosen == edit.original
        assert values_of(pair.chosen) == values_of(own), "the chosen side says what the drawn solution says"
        assert is_consistent(pair.chosen)
        whole = edit.within(solution.text)
        cut = split_steps(whole)[edit.step_index]
        assert whole[cut.start : cut.end] == pair.chosen
        counts = edit.attempts[-1]["mined"]
        assert 0 < counts["same"] <= counts["samples"] <= 10
        assert pair.error_rate == error_rate(counts, proven=True)
        assert 0 < (pair.error_rate or 0) <= 1
        assert_proven(pair, edit)
    found = mined.counts["edits"]["by_editor"]["mined"]
    assert found["pairs"] == len(steps)
    assert found["completion_tokens"] > 0
    assert mined.counts["tokens"]["edit"]["completion"] == found["completion_tokens"]
    for edit in edits:
        if edit.reason == "false_negative":
            assert own_contradiction(str(edit.edited), edit.original) is None
    reasons = mined.counts["edits"]["rejected"]
    assert set(reasons) <= {"no_mined_error", "false_negative", "unproven", "no_change", "broken_format"}, reasons


def assert_proven(pair: PairRow, edit: EditRow) -> None:
    """By the rules of mined errors, read off what is stored."""
    kind, detail = pair.evidence_kind, pair.evidence or {}
    if kind == "contradiction":
        assert own_contradiction(pair.rejected, pair.chosen) is not None
    elif kind == "replay":
        assert wording_of(pair.rejected) == wording_of(pair.chosen)
    else:
        assert kind == "divergence"
        assert detail["k"] >= 8
        assert detail["rate"] == 1.0, "one continuation to gold would have refuted it"
        assert detail["low"] > detail["original_high"]
        assert edit.continuations is not None


def test_without_continuations_only_what_the_program_proves_is_kept(services: Services) -> None:
    funnel = run_job(
        services, "mined", stories(6), model=MODEL, editing=MANY, proof={"continuations": {"when": "never"}}
    )
    assert set(funnel.counts["pairs"]["by_evidence"]) <= {"contradiction", "replay", "identity"}
    assert "continue" not in funnel.counts["tokens"]


def test_whole_solutions_go_on_behind_a_mined_step(services: Services) -> None:
    run_job(services, "mined", stories(6), model=MODEL, editing=MANY, proof={"mode": "dynamic"})
    pairs = [pair for pair in pairs_of(services) if pair.type == "step"]
    solutions = solutions_of(services)
    assert pairs
    for pair in pairs:
        assert pair.chosen.endswith(solutions[pair.solution_id].text[pair.end :])
        assert len(pair.rejected) > len("Step 1: ")


def test_error_rates_of_other_editors_come_of_continuations_from_before_and_behind(services: Services) -> None:
    proof = {"error_rates": True, "continuations": {"k": 4}}
    run_job(services, "rules", stories(4), model=MODEL, proof=proof)
    edits, pairs = {edit.id: edit for edit in edits_of(services)}, pairs_of(services)
    steps = [pair for pair in pairs if pair.type == "step"]
    assert steps
    for pair in steps:
        continued = edits[str(pair.edit_id)].continuations or {}
        assert (len(continued["before"]), len(continued["original"]), continued["edited"]) == (4, 4, [])
        assert pair.error_rate == continued["error_rate"]
        assert 0 <= (pair.error_rate or 0) <= 1
    # What stands behind a step stands before the next one, and is continued once.
    by_step = {(edit.solution_id, edit.step_index): edit.continuations or {} for edit in edits.values()}
    following = [(c, by_step[s, n + 1]) for (s, n), c in by_step.items() if (s, n + 1) in by_step]
    assert following
    assert all(one["original"] == other["before"] for one, other in following)
