"""Deleting what something at work reads: refused until that has ended. And deletions that go on past what stays."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from models.base import db_now, new_id
from models.deletion import hide, purge
from models.jobs import InjectionJob, ProblemError, Shard
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.retention import count_old, delete_old
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow, ProblemSet, Workspace
from tests.api.conftest import bring, post_job, post_problems
from tests.api.outputs import dataset_with_files, set_state
from tests.api.plain_clients import client, local
from tests.api.test_extensions import ended, extend

__all__ = ["client", "local"]


def refused(client: TestClient, path: str, by: str) -> None:
    answer = client.delete(f"{path}?cascade=true")
    assert (answer.status_code, by in answer.json()["detail"]) == (409, True), answer.text
    assert client.get(path).status_code == 200


def test_a_job_stays_while_an_extension_or_a_retry_of_it_goes_on(local: TestClient, sqlite_database: Database) -> None:
    job_id = ended(local, sqlite_database, (1, 4))
    added = extend(local, job_id, problems="rest").json()["id"]
    refused(local, f"/v1/injection-jobs/{job_id}", added)
    with sqlite_database.begin() as session:
        of_added = Shard.injection_job_id == added
        session.execute(update(Shard).where(of_added).values(state=ShardState.QUARANTINED))
    set_state(sqlite_database, InjectionJob, added, JobState.FAILED)
    again = local.post(f"/v1/injection-jobs/{added}/retry").json()["id"]
    for earlier in (job_id, added):
        refused(local, f"/v1/injection-jobs/{earlier}", again)
    set_state(sqlite_database, InjectionJob, again, JobState.SUCCEEDED)
    assert local.delete(f"/v1/injection-jobs/{job_id}").json()["purged"]


def test_a_dataset_stays_while_a_mix_of_it_is_frozen(
    local: TestClient, sqlite_database: Database, store: StoreSettings
) -> None:
    dataset_id = dataset_with_files(local, sqlite_database, store)
    mix = local.post("/v1/datasets", json={"name": "mix", "datasets": [{"id": dataset_id}]}).json()["id"]
    refused(local, f"/v1/datasets/{dataset_id}", mix)
    set_state(sqlite_database, Dataset, mix, JobState.SUCCEEDED)
    assert local.delete(f"/v1/datasets/{dataset_id}").json()["purged"]


def test_a_run_stays_while_another_goes_on_from_its_checkpoint(
    local: TestClient, sqlite_database: Database, store: StoreSettings
) -> None:
    dataset_id = dataset_with_files(local, sqlite_database, store)
    common: dict[str, Any] = {"workspace_id": DEFAULT_WORKSPACE, "config": {}}
    of_run = {"dataset_id": dataset_id, "base_model_id": "model_base", "output_name": "rise"}
    with sqlite_database.begin() as session:
        session.add(LanguageModel(**common, id="model_base", name="base", engine="transformers"))
        session.flush()
        session.add(TrainingRun(**common, **of_run, id="train_first", state="cancelled"))
        session.add(TrainingRun(**common, **of_run, id="train_second", state="queued", from_run_id="train_first"))
    answer = local.delete("/v1/training-jobs/train_first")
    assert (answer.status_code, "train_second" in answer.json()["detail"]) == (409, True)
    set_state(sqlite_database, TrainingRun, "train_second", "failed")
    assert local.delete("/v1/training-jobs/train_first").json()["purged"]


@pytest.fixture
def judged(client: TestClient, database: Database) -> dict[str, str]:
    """An evaluation and a rejudging that have ended, each with a problem that raised an error."""
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id)["id"])
    ids = {"evaluations": new_id("eval"), "rejudgings": new_id("rejudge"), "job": job_id}
    common: dict[str, Any] = {"workspace_id": DEFAULT_WORKSPACE, "state": "succeeded"}
    with database.begin() as session:
        session.add(LanguageModel(id="model_base", workspace_id=DEFAULT_WORKSPACE, name="base", engine="e", config={}))
        session.flush()
        of_set = {"problem_set_id": set_id, "language_model_id": "model_base", "config": {}}
        session.add(Evaluation(**common, **of_set, id=ids["evaluations"]))
        session.add(Rejudging(**common, id=ids["rejudgings"], injection_job_id=job_id, verifier="v"))
        session.flush()
        problem = session.scalars(select(ProblemRow.id).where(ProblemRow.problem_set_id == set_id)).first()
        for column, owner in (("evaluation_id", ids["evaluations"]), ("rejudging_id", ids["rejudgings"])):
            shard = Shard(id=new_id("shard"), position=0, stage=Stage.JUDGE, state="done", **{column: owner})
            session.add(shard)
            session.flush()
            error = {"stage": "judge", "type": "ValueError", "message": "m", "trace": "t"}
            session.add(ProblemError(shard_id=shard.id, problem_id=problem, **error))
    set_state(database, InjectionJob, job_id, JobState.SUCCEEDED)
    return ids


def test_evaluations_and_rejudgings_with_problems_in_error_are_deleted(
    client: TestClient, database: Database, judged: dict[str, str]
) -> None:
    assert client.delete(f"/v1/evaluations/{judged['evaluations']}").json()["purged"]
    assert client.delete(f"/v1/injection-jobs/{judged['job']}?cascade=true").json()["purged"]
    with database.read() as session:
        assert [session.scalar(select(func.count()).select_from(each)) for each in (ProblemError, Shard)] == [0, 0]


def test_a_row_that_something_refers_to_keeps_no_other_from_going(
    client: TestClient, database: Database, store: StoreSettings, judged: dict[str, str]
) -> None:
    with database.begin() as session:
        rejudging = session.get_one(Rejudging, judged["rejudgings"])
        hide(session, [session.get_one(InjectionJob, judged["job"]), *session.scalars(select(ProblemSet))])
        evaluation = session.get_one(Evaluation, judged["evaluations"])
        assert rejudging.workspace_id == DEFAULT_WORKSPACE
        hide(session, [evaluation])
    assert purge(database, store, 60) is False
    with database.begin() as session:
        assert session.get(Evaluation, judged["evaluations"]) is None
        hide(session, [session.get_one(Rejudging, judged["rejudgings"])])
    assert purge(database, store, 60)


def test_the_same_import_is_deleted_in_two_workspaces_at_once(sqlite_database: Database) -> None:
    with sqlite_database.begin() as session:
        for name in ("ws_a", "ws_b"):
            session.add(Workspace(id=name, name=name))
            session.flush()
            values: dict[str, Any] = {"name": "d", "config": {}, "state": "succeeded", "import_key": "same"}
            session.add(Dataset(id=f"ds_{name}", workspace_id=name, **values))
        session.flush()
        hide(session, session.scalars(select(Dataset)).all())
    with sqlite_database.read() as session:
        assert session.scalars(select(Dataset.import_key)).all() == [None, None]


def test_samples_are_kept_while_they_are_added_to_and_then_not_added_to(
    local: TestClient, sqlite_database: Database
) -> None:
    job_id = ended(local, sqlite_database, (1, 4))
    set_state(sqlite_database, InjectionJob, job_id, JobState.SUCCEEDED, finished_at=db_now(-86400 * 40))
    added = extend(local, job_id, problems="rest").json()["id"]
    days = {"sample_days": 30.0}

    def deleted_at() -> list[bool]:
        query = select(InjectionJob.samples_deleted_at.is_not(None)).order_by(InjectionJob.created_at)
        with sqlite_database.read() as session:
            return list(session.scalars(query))

    delete_old(sqlite_database, days)
    assert deleted_at() == [False, False]
    set_state(sqlite_database, InjectionJob, added, JobState.SUCCEEDED, finished_at=db_now(-86400 * 40))
    assert count_old(sqlite_database, days) == {"edits": 0, "samples": 0}
    delete_old(sqlite_database, days)
    assert deleted_at() == [True, True]
    answer = extend(local, job_id, edits_per_solution=2)
    assert (answer.status_code, "were deleted for their age" in answer.json()["detail"]) == (409, True)
