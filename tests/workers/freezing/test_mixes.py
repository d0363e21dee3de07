"""Mixes: several jobs or finished datasets with weights in one dataset."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import select, update

from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, DatasetSource
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import ProblemRow
from tests.workers.freezing.conftest import PROBLEMS, Freeze, add_job, both, rows


@pytest.fixture
def two(frozen: Freeze, database: Database) -> tuple[Dataset, Dataset]:
    """Datasets of two jobs: of step pairs alone, and of all."""
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2")
    return frozen(types=["step"], split={"test": 0.4}), frozen(jobs=["inj_2"], split={"test": 0.1}, seed=5)


def test_datasets_are_mixed_whole(frozen: Freeze, two: tuple[Dataset, Dataset], store: StoreSettings) -> None:
    one, other = two
    mixed = frozen(jobs=[], datasets=[{"id": one.id}, {"id": other.id}], split={"test": 0.25}, shapes=["sft", "trl"])
    assert mixed.state == JobState.SUCCEEDED, mixed.error
    found = both(store, mixed, "steps_and_full")
    wanted = both(store, one, "steps_and_full") + both(store, other, "steps_and_full")
    key = str
    assert sorted(found, key=key) == sorted(wanted, key=key)
    assert len(both(store, mixed, "trl")) == 5 * PROBLEMS
    assert len(both(store, mixed, "sft")) == 4 * PROBLEMS
    manifest = mixed.manifest or {}
    assert [entry["job_id"] for entry in manifest["lineage"]] == ["inj_1", "inj_2"]
    assert [entry["pairs"] for entry in manifest["lineage"]] == [2 * PROBLEMS, 3 * PROBLEMS]
    assert manifest["mix"] == [
        {"dataset": one.id, "sha256": one.sha256, "weight": None, "pairs": 2 * PROBLEMS},
        {"dataset": other.id, "sha256": other.sha256, "weight": None, "pairs": 3 * PROBLEMS},
    ]


def test_a_question_of_both_lands_on_one_side(
    frozen: Freeze, two: tuple[Dataset, Dataset], store: StoreSettings
) -> None:
    mixed = frozen(jobs=["inj_1"], datasets=[{"id": two[1].id}], split={"test": 0.3})
    sides = [{row["question"] for row in rows(store, mixed, "steps_and_full", split)} for split in ("train", "test")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == PROBLEMS


def test_weights_decide_the_shares(frozen: Freeze, two: tuple[Dataset, Dataset], store: StoreSettings) -> None:
    of_datasets = frozen(jobs=[], datasets=[{"id": two[0].id, "weight": 3}, {"id": two[1].id}])
    counts = Counter(row["job_id"] for row in both(store, of_datasets, "steps_and_full"))
    assert counts == {"inj_1": 2 * PROBLEMS, "inj_2": 2 * PROBLEMS // 3}
    of_jobs = frozen(jobs=["inj_1", "inj_2"], job_weights={"inj_2": 0.5})
    counts = Counter(row["job_id"] for row in both(store, of_jobs, "steps_and_full"))
    assert counts == {"inj_1": 3 * PROBLEMS, "inj_2": 3 * PROBLEMS // 2}
    assert [entry["pairs"] for entry in (of_jobs.manifest or {})["mix"]] == [3 * PROBLEMS, 3 * PROBLEMS // 2]


def test_filters_hold_for_mixed_datasets(frozen: Freeze, two: tuple[Dataset, Dataset], store: StoreSettings) -> None:
    filtered = {"kinds": ["operator"], "require_evidence": True, "distance": {"max": 2}, "step_index": {"min": 1}}
    mixed = frozen(jobs=[], datasets=[{"id": two[1].id}], **filtered)
    direct = frozen(jobs=["inj_2"], **filtered)
    ids = [{row["pair_id"] for row in both(store, dataset, "steps_and_full")} for dataset in (mixed, direct)]
    assert ids[0] == ids[1]
    assert PROBLEMS < len(ids[0]) < 2 * PROBLEMS


def test_a_mix_remembers_every_job(frozen: Freeze, two: tuple[Dataset, Dataset], database: Database) -> None:
    mixed = frozen(jobs=["inj_1"], datasets=[{"id": two[1].id}])
    with database.read() as session:
        sources = session.query(DatasetSource.job_id).filter_by(dataset_id=mixed.id).order_by(DatasetSource.job_id)
        assert [row.job_id for row in sources] == ["inj_1", "inj_2"]


@pytest.mark.parametrize(
    ("state", "told"), [(JobState.FAILED, "is failed: it can be mixed in once it has succeeded"), (None, "no dataset")]
)
def test_what_is_no_finished_dataset_is_refused(
    frozen: Freeze, two: tuple[Dataset, Dataset], database: Database, state: str | None, told: str
) -> None:
    with database.begin() as session:
        session.get_one(Dataset, two[0].id).state = state or JobState.SUCCEEDED
        assert session.get(InjectionJob, "inj_2") is not None
    mixed = frozen(jobs=[], datasets=[{"id": two[0].id if state else "ds_none"}])
    assert (mixed.state, told in str(mixed.error)) == (JobState.FAILED, True)


def test_a_mix_is_filtered_by_what_the_database_knows(
    frozen: Freeze, two: tuple[Dataset, Dataset], store: StoreSettings, database: Database
) -> None:
    """Files hold no subject, level or review: the problems and pairs that they name do."""
    with database.begin() as session:
        session.execute(update(ProblemRow).where(ProblemRow.position < 20).values(subject="sums"))
        session.execute(update(ProblemRow).where(ProblemRow.position < 10).values(level="Level 1"))
        ids = session.scalars(select(PairRow.id).where(PairRow.job_id == "inj_1").order_by(PairRow.id)).all()
        session.execute(update(PairRow).where(PairRow.id.in_(ids[:5])).values(review="rejected"))
        session.execute(update(PairRow).where(PairRow.id.in_(ids[5:12])).values(review="accepted"))
    of_files = {"jobs": [], "datasets": [{"id": two[0].id}, {"id": two[1].id}]}
    of_jobs = {"jobs": ["inj_1", "inj_2"]}
    for filters in ({"levels": ["Level 1"], "subjects": ["sums"]}, {"reviews": "not_rejected"}):
        wanted, found = (frozen(**source, **filters, shapes=["sft"]) for source in (of_jobs, of_files))
        assert found.state == JobState.SUCCEEDED, found.error
        ids_of = [{row["pair_id"] for row in both(store, dataset, "steps_and_full")} for dataset in (wanted, found)]
        full = {row["pair_id"] for row in both(store, wanted, "steps_and_full") if row["type"] == "full"}
        # The first of the two datasets was frozen of step pairs alone.
        assert ids_of[1] == ids_of[0] - {id_ for id_ in full if id_ in set(ids)}
        if "reviews" not in filters:
            problems = {row["problem_id"] for row in both(store, found, "steps_and_full")}
            assert {row["problem_id"] for row in both(store, found, "sft")} == problems
    accepted = frozen(**of_files, reviews="accepted")
    assert {row["pair_id"] for row in both(store, accepted, "steps_and_full")} <= set(ids[5:12])
    assert accepted.state == JobState.SUCCEEDED
