"""What a dataset's configuration selects, what is refused, and a freeze that is cancelled or done twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from models import leases
from models.files import FileStore
from models.outputs import Dataset, DatasetSource
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import Workspace
from tests.workers.freezing.conftest import PROBLEMS, Freeze, NoEngine, add_job, both, claim, end, rows
from workers.engines.base import Cancelled
from workers.judge import JudgePool
from workers.stages.base import StageContext
from workers.stages.freeze import freeze


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"types": ["step"]}, {"step": 120}),
        ({"types": ["full"]}, {"full": 60}),
        ({"kinds": ["operator"]}, {"step": 40, "full": 60}),
        ({"require_evidence": True}, {"step": 108, "full": 60}),
        ({"types": ["step"], "kinds": ["omission", "operator"], "require_evidence": True}, {"step": 72}),
    ],
)
def test_the_configuration_selects(frozen: Freeze, store: StoreSettings, config: Any, expected: dict[str, int]) -> None:
    dataset = frozen(**config, shapes=["steps_and_full"], split={"test": 0.3})
    found = both(store, dataset, "steps_and_full")
    assert Counter(row["type"] for row in found) == expected
    if "kinds" in config:
        assert {row["error_kind"] for row in found if row["type"] == "step"} == set(config["kinds"])
    if config.get("require_evidence"):
        assert {row["evidence"] for row in found if row["type"] == "step"} == {"contradiction"}


def test_an_empty_selection_fails_with_its_reason(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(types=["step"], kinds=["misreading"])
    assert dataset.state == JobState.FAILED
    assert "holds no pairs" in str(dataset.error)
    assert (dataset.folder, dataset.sha256) == (None, None)
    assert FileStore(store.files).names("datasets") == []


def test_a_job_of_another_workspace_does_not_exist(frozen: Freeze, database: Database) -> None:
    with database.begin() as session:
        session.add(Workspace(id="ws_2", name="two"))
        session.flush()
        add_job(session, "ws_2", "inj_2")
    for job_id in ("inj_2", "inj_none"):
        dataset = frozen(jobs=["inj_1", job_id])
        assert (dataset.state, dataset.error) == (JobState.FAILED, f"there is no injection job {job_id}")


def test_a_job_that_still_runs_is_refused(frozen: Freeze, database: Database) -> None:
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2", JobState.RUNNING)
    assert "is running" in str(frozen(jobs=["inj_2"]).error)


def test_two_jobs_in_one_dataset(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    with database.begin() as session:
        add_job(session, "ws_1", "inj_2")
    dataset = frozen(jobs=["inj_2", "inj_1"], split={"test": 0.2})
    found = rows(store, dataset, "steps_and_full", "train")
    assert [row["job_id"] for row in found] == sorted((row["job_id"] for row in found), reverse=True)
    assert len(both(store, dataset, "steps_and_full")) == 6 * PROBLEMS
    questions = {split: {r["question"] for r in rows(store, dataset, "sft", split)} for split in ("train", "test")}
    assert not questions["train"] & questions["test"]
    with database.read() as session:
        assert session.query(DatasetSource).filter_by(dataset_id=dataset.id).count() == 2


def test_a_cancelled_freeze_leaves_no_files(frozen: Freeze, store: StoreSettings) -> None:
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        frozen(cancelled=lambda: next(calls))
    assert FileStore(store.files).names("datasets") == []
    assert FileStore(store.files).names(".tmp") == []


def test_a_freeze_done_twice_is_stored_once(
    database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    """A worker presumed dead finishes late: it finds the folder there, and its write is refused by the fence."""
    late = claim(database, "sums", {"jobs": [job]})
    with database.begin() as session:
        assert leases.release(session, late)
    with database.begin() as session:
        lease = leases.claim(session, late.shard_id, "other", 60)
    assert lease is not None
    end(database, lease, freeze(StageContext(database, store, lease, NoEngine(), judge, lambda: False)))
    freeze(StageContext(database, store, late, NoEngine(), judge, lambda: False))
    with database.begin() as session:
        assert not leases.finish(session, late, None)
        dataset = session.get_one(Dataset, late.owner_id)
        assert dataset.state == JobState.SUCCEEDED
    folders = {name.split("/")[0] for name in FileStore(store.files).names("datasets")}
    assert folders == {str(dataset.folder).removeprefix("datasets/")}
