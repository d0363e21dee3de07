"""Editors in the real stages, over the miniature: its own likeliest errors, and who edits where another one failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from demo.problems import generate
from errata.arithmetic import find_equations
from errata.proof import is_consistent
from models.jobs import EditRow, InjectionJob, SolutionRow
from models.migrate import Base
from models.outputs import Event
from models.session import Database
from models.states import JobState
from tests.workers.engines.toy_engine import ToyEngine
from tests.workers.injection_jobs import Posted, pairs_of, post_job, run_job, run_shards
from workers.engines.entry_settings import TransformersSettings
from workers.engines.pool import EnginePool
from workers.engines.registry import ENGINES, EngineKind
from workers.runner import Services

FOLDER = Path(__file__).resolve().parents[2] / "demo" / "model"
MODEL = {"engine": "transformers", "config": {"path": str(FOLDER), "device": "cpu"}}
SHARED = EnginePool(threads=1)
NONSENSE = {"max_tokens": 1, "temperature": 2.0, "attempts": 2}
"""Replies of one token, drawn nearly at random: in words this model yields nothing."""


@pytest.fixture(autouse=True)
def one_pool(services: Services) -> None:
    """The miniature is loaded once for all tests of this file."""
    services.engines = SHARED


@pytest.fixture(autouse=True, scope="module")
def _end() -> Iterator[None]:
    yield
    SHARED.close()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, services: Services) -> dict[str, Any]:
    """A registry entry whose engine answers everything, and tells no log-probabilities."""
    implementation = f"{ToyEngine.__module__}:{ToyEngine.__name__}"
    monkeypatch.setitem(ENGINES, "toy", EngineKind("toy", TransformersSettings, implementation, lambda base, _: base))
    services.engines = EnginePool()
    return {"engine": "toy", "config": {"path": "/none"}}


def stories(count: int = 8) -> list[Posted]:
    """Problems of the demo with their worked solutions, as the miniature was taught to write them."""
    return [Posted(p.question, p.gold_answer, [str(p.gold_solution)]) for p in generate(count, seed=5)]


def edits_of(services: Services) -> list[EditRow]:
    with services.db.read() as session:
        return list(session.scalars(select(EditRow).order_by(EditRow.problem_id, EditRow.step_index)))


def events_of(services: Services, kind: str) -> list[dict[str, Any]]:
    with services.db.read() as session:
        return list(session.scalars(select(Event.data).where(Event.type == kind)))


def test_slips_edit_nearly_every_step_and_differ_in_one_number_or_sign(services: Services) -> None:
    funnel = run_job(services, "slip", stories(), model=MODEL)
    edits, pairs = edits_of(services), pairs_of(services)
    assert len(pairs) >= 0.9 * len(edits) > 10
    assert {pair.editor for pair in pairs} == {"slip"}
    assert {pair.language_model for pair in pairs} == {"editor"}
    assert {pair.prompt_version for pair in pairs} == {"slip/1"}
    kinds = {"result": "calculation", "operand": "substitution", "sign": "operator"}
    for edit in edits:
        if edit.reason is None:
            slip = edit.attempts[-1]["slip"]
            assert edit.kind == kinds[slip["position"]]
            assert 0 < slip["probability"] <= 1
            assert slip["new"] in str(edit.edited)
    for pair in pairs:
        assert re.sub(r"[\d*+/-]+", "#", pair.chosen) == re.sub(r"[\d*+/-]+", "#", pair.rejected)
        if pair.form == "stands":
            assert pair.evidence_kind == "contradiction"
            assert not is_consistent(pair.rejected)
    slips = funnel.counts["edits"]["by_editor"]["slip"]
    assert slips["completion_tokens"] <= 5 * len(pairs)
    # One pass over question and solution, whatever number of steps it has.
    assert slips["prompt_tokens"] > 0


def test_a_slip_in_form_consistent_is_carried_and_a_replay_proves_it(services: Services) -> None:
    run_job(services, "slip", stories(), model=MODEL, editing={"form": {"consistent": 1.0}})
    pairs = pairs_of(services)
    assert pairs
    for pair in pairs:
        assert pair.form == "consistent"
        changed = [e for e in find_equations(pair.rejected) if e.holds is not None]
        if pair.evidence_kind == "replay":
            assert all(equation.holds for equation in changed)
        else:
            assert (pair.error_kind, pair.evidence_kind) == ("calculation", "contradiction")


def test_the_weights_of_kinds_hold_for_slips(services: Services) -> None:
    run_job(services, "slip", stories(), model=MODEL, editing={"kinds": {"calculation": 1.0, "order": 5.0}})
    edits = edits_of(services)
    assert edits
    assert {edit.kind for edit in edits} == {"calculation"}


def test_the_error_profiles_weights_hold_for_slips_too(services: Services) -> None:
    run_job(services, "slip", stories(), model=MODEL, editing={"mix": "profile", "kinds": {"operator": 1.0}})
    with services.db.read() as session:
        plans = [plan for plan in session.scalars(select(SolutionRow.plan)) if plan]
    assert all(plan["weights"]["operator"] > 0 == plan["weights"]["calculation"] for plan in plans)
    assert {edit.kind for edit in edits_of(services)} == {"operator"}


def test_no_kind_of_slips_has_more_than_its_share_of_a_solution(services: Services) -> None:
    run_job(services, "slip", stories(), model=MODEL, editing={"max_kind_share": 0.5, "form": {"stands": 1.0}})
    by_solution: dict[str, list[str]] = {}
    for edit in edits_of(services):
        if edit.reason is None or edit.reason == "not_chosen":
            by_solution.setdefault(edit.solution_id, []).append(edit.kind)
    long = [kinds for kinds in by_solution.values() if len(kinds) >= 2]
    assert long
    for kinds in long:
        assert max(kinds.count(kind) for kind in kinds) <= max(1, (len(kinds) + 1) // 2)


def test_slips_are_carried_to_wrong_solutions(services: Services) -> None:
    run_job(services, "slip", stories(), model=MODEL, proof={"mode": "dynamic"})
    pairs = pairs_of(services)
    assert pairs
    for pair in pairs:
        right, wrong = (re.findall(r"boxed\{(-?[\d.]+)\}", side)[-1] for side in (pair.chosen, pair.rejected))
        assert right != wrong


def test_a_model_that_answers_nonsense_in_words_gets_pairs_by_its_slips_and_by_rules(services: Services) -> None:
    funnel = run_job(services, "errata", stories(), model=MODEL, editing=NONSENSE)
    pairs = pairs_of(services)
    assert len({pair.problem_id for pair in pairs}) == len(stories())
    assert "words" not in {pair.editor for pair in pairs}
    by = funnel.counts["edits"]["by_editor"]
    edits = edits_of(services)
    assert by["words"]["asked"] == by["words"]["handed_on"] == by["slip"]["asked"] == len(edits)
    assert by["words"]["attempts"] == 2 * len(edits)
    assert by["slip"]["pairs"] == sum(pair.editor == "slip" for pair in pairs)
    for edit in edits:
        replies = [attempt for attempt in edit.attempts if attempt["editor"] == "words"]
        assert len(replies) == 2
        assert all(attempt["reason"] for attempt in replies), "each attempt says what spoke against it"
        assert replies[0]["seed"] != replies[1]["seed"]
        assert edit.prompt_tokens > 0


def test_rules_follow_where_slips_find_nothing(services: Services) -> None:
    editing = {**NONSENSE, "slips": {"min_probability": 1.0}}
    funnel = run_job(services, "errata", stories(), model=MODEL, editing=editing)
    by = funnel.counts["edits"]["by_editor"]
    assert by["slip"]["handed_on"] == by["slip"]["asked"] > 0
    assert {pair.editor for pair in pairs_of(services)} == {"rule"}
    assert {pair.language_model for pair in pairs_of(services)} == {None}
    assert len({pair.problem_id for pair in pairs_of(services)}) == len(stories())


def test_without_a_fallback_a_failed_edit_stays_one(services: Services) -> None:
    run_job(services, "errata", stories(), model=MODEL, editing={**NONSENSE, "fallback": []})
    assert not pairs_of(services)
    assert {edit.editor for edit in edits_of(services)} == {"words"}


def test_an_engine_without_log_probabilities_is_told_once_and_rules_go_on(
    services: Services, toy: dict[str, Any]
) -> None:
    run_job(services, "errata", stories(), model=toy, editing=NONSENSE)
    [event] = events_of(services, "editor_unavailable")
    assert event["editor"] == "slip"
    assert "prompt_logprobs" in event["error"]
    assert {pair.editor for pair in pairs_of(services)} == {"rule"}


def test_a_job_of_slips_alone_fails_where_its_engine_has_none(services: Services, toy: dict[str, Any]) -> None:
    services.settings = services.settings.model_copy(update={"failure_backoff_seconds": 0.0})
    post_job(services, "slip", stories(2), model=toy)
    for _ in range(8):
        run_shards(services)
    with services.db.read() as session:
        job = session.get_one(InjectionJob, "inj")
        assert job.state == JobState.FAILED
    assert any("prompt_logprobs" in event["error"] for event in events_of(services, "shard_quarantined"))


class Dying:
    """The shared engines; the worker is lost once, when the scores have come and nothing is written yet."""

    def __init__(self) -> None:
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(SHARED, name)

    def score(self, *args: Any) -> Any:
        """The scores, but for the first time."""
        found = SHARED.score(*args)
        if not self.lost:
            self.lost = True
            raise MemoryError("the worker was killed")
        return found


def test_an_edit_stage_that_was_lost_in_the_middle_is_done_again_and_written_once(
    services: Services, tmp_path: Path
) -> None:
    def told() -> list[tuple[object, ...]]:
        return [(e.problem_id, e.step_index, e.kind, e.form, e.edited, e.prompt_tokens) for e in edits_of(services)]

    run_job(services, "slip", stories(), model=MODEL)
    expected = told()
    again = Database(f"sqlite:///{tmp_path / 'again.db'}")
    Base.metadata.create_all(again.engine)
    services.db, services.engines = again, Dying()
    services.settings = services.settings.model_copy(update={"failure_backoff_seconds": 0.0})
    post_job(services, "slip", stories(), model=MODEL)
    run_shards(services)
    run_shards(services)
    assert [event["stage"] for event in events_of(services, "shard_failed")] == ["edit"]
    assert told() == expected
    again.dispose()
