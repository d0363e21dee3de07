"""Filters, quotas, balance and limits: what a frozen dataset holds is what its configuration says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from models.jobs import PairRow
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import ProblemRow
from tests.workers.freezing.conftest import PROBLEMS, Freeze, both

Rows = list[dict[str, Any]]


@pytest.fixture
def varied(database: Database, job: str) -> str:
    """The job with more that differs between its pairs."""
    with database.begin() as session:
        for at, pair in enumerate(session.scalars(select(PairRow).order_by(PairRow.pair_key))):
            if pair.type == "step":
                pair.form = (None, "stands", "consistent")[at % 3]
                pair.editor = ("words", "slip", "rule")[at % 3]
                pair.distance = at % 7
                pair.language_model = "editor" if at % 2 else None
            pair.source = ("tiny", "brought")[at % 2]
        session.execute(update(ProblemRow).values(subject="sums", level="1"))
        session.execute(update(ProblemRow).where(ProblemRow.position < 20).values(subject="apples", level="2"))
        late = ProblemRow.position >= 50
        session.execute(update(ProblemRow).where(late).values(question=ProblemRow.question + " 还剩多少个苹果？"))
    return job


def step(holds: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["type"] != "step" or holds(row)


def _number(row: dict[str, Any]) -> int:
    return int(row["question"].split()[2])


FILTERS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({"forms": ["stands"]}, step(lambda row: row["form"] in (None, "stands"))),
    ({"forms": ["consistent"]}, step(lambda row: row["form"] == "consistent")),
    ({"editors": ["slip", "rule"]}, step(lambda row: row["editor"] in ("slip", "rule"))),
    ({"evidence": ["unproven"]}, step(lambda row: row["evidence"] == "unproven")),
    ({"distance": {"min": 2, "max": 4}}, step(lambda row: 2 <= row["distance"] <= 4)),
    ({"distance": {"min": 3}}, step(lambda row: row["distance"] >= 3)),
    ({"step_index": {"max": 0}}, step(lambda row: row["step_index"] == 0)),
    ({"sources": ["brought"]}, lambda row: row["source"] == "brought"),
    ({"language_models": ["editor"]}, lambda row: row["language_model"] == "editor"),
    ({"subjects": ["apples"]}, lambda row: _number(row) < 20),
    ({"levels": ["1"], "types": ["full"]}, lambda row: row["type"] == "full" and _number(row) >= 20),
    ({"language": "other"}, lambda row: _number(row) >= 50),
    ({"language": "english"}, lambda row: _number(row) < 50),
]


def test_a_filter_takes_exactly_what_it_says(frozen: Freeze, store: StoreSettings, varied: str) -> None:
    every = both(store, frozen(shapes=["steps_and_full"], split={"test": 0.3}), "steps_and_full")
    for config, holds in FILTERS:
        dataset = frozen(**config, shapes=["steps_and_full"], split={"test": 0.3})
        found = {row["pair_id"] for row in both(store, dataset, "steps_and_full")}
        assert found == {row["pair_id"] for row in every if holds(row)}, config
        assert 0 < len(found) < len(every), config


def test_problem_filters_hold_for_samples_too(frozen: Freeze, store: StoreSettings, varied: str) -> None:
    dataset = frozen(subjects=["apples"], shapes=["sft"], split={"test": 0.3})
    assert {_number(row) for row in both(store, dataset, "sft")} == set(range(20))


def kept(store: StoreSettings, dataset: Any) -> Rows:
    assert dataset.state == JobState.SUCCEEDED, dataset.error
    return both(store, dataset, "steps_and_full")


def test_draws_hold_and_what_they_leave_out_is_told(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(
        step_pairs_per_problem=1,
        quotas={"kind": {"operator": {"at_most": 7}}, "type": {"full": {"at_most": 11, "at_least": 5}}},
        split={"test": 0.2},
    )
    found = kept(store, dataset)
    steps = [row for row in found if row["type"] == "step"]
    assert max(Counter(row["problem_id"] for row in steps).values()) == 1
    assert Counter(row["error_kind"] for row in steps)["operator"] == 7
    assert Counter(row["type"] for row in found)["full"] == 11
    manifest = dataset.manifest or {}
    assert sum(manifest["left_out"].values()) == 3 * PROBLEMS - len(found)
    assert manifest["counts"]["pairs"] == len(found)
    assert manifest["counts"]["problems"] == len({row["problem_id"] for row in found})
    of_pairs = {row["problem_id"] for row in found}
    assert {row["problem_id"] for row in both(store, dataset, "sft")} == of_pairs, "samples follow the draw"


def test_balance_and_a_most(frozen: Freeze, store: StoreSettings) -> None:
    filtered = {"types": ["step"], "require_evidence": True, "split": {"test": 0.2}}
    counts = Counter(row["error_kind"] for row in kept(store, frozen(**filtered, balance="kind")))
    assert len(set(counts.values())) == 1
    small, large = (kept(store, frozen(**filtered, max_pairs=most, seed=3)) for most in (20, 40))
    assert (len(small), len(large)) == (20, 40)
    assert {row["pair_id"] for row in small} < {row["pair_id"] for row in large}


def test_a_quota_that_cannot_be_filled_fails_with_the_figure(frozen: Freeze) -> None:
    dataset = frozen(quotas={"kind": {"operator": {"at_least": 41}}})
    assert dataset.state == JobState.FAILED
    assert "quotas.kind.operator: 40 pairs are there and at_least wants 41" in str(dataset.error)


def test_the_same_draw_gives_the_same_bytes(frozen: Freeze) -> None:
    config = {"max_pairs": 50, "balance": "kind", "step_pairs_per_problem": 1}
    assert frozen(**config).sha256 == frozen(**config).sha256


def test_reviews_decide(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    """``not_rejected`` takes the pairs that nobody looked at as well; ``accepted`` does not."""
    with database.begin() as session:
        ids = session.scalars(select(PairRow.id).order_by(PairRow.id).limit(6)).all()
        session.execute(update(PairRow).where(PairRow.id.in_(ids[:2])).values(review="rejected"))
        session.execute(update(PairRow).where(PairRow.id.in_(ids[2:])).values(review="accepted"))
    kept = {wanted: both(store, frozen(reviews=wanted), "steps_and_full") for wanted in ("accepted", "not_rejected")}
    assert {row["pair_id"] for row in kept["accepted"]} == set(ids[2:])
    assert len(kept["not_rejected"]) == 3 * PROBLEMS - 2
    assert not {row["pair_id"] for row in kept["not_rejected"]} & set(ids[:2])
