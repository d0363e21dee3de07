"""What finished jobs leave, put into the database: pairs, and a dataset with its files."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import select, update

from models.base import new_id
from models.files import FileStore
from models.jobs import InjectionJob, ProblemOutcome, Shard, SolutionRow
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.api.test_injection_jobs import add_outputs

DATA = bytes(range(256)) * 5000
ANSWERS = [["0", "0"], ["3", "3", "3"], ["4"], ["5"], []]
OUTCOMES = [None, "label_suspect", None, "no_correct", "no_samples"]


def set_state(database: Database, table: type[Any], row_id: str, state: str, **values: Any) -> None:
    with database.begin() as session:
        session.execute(update(table).where(table.id == row_id).values(state=state, **values))


def job_with_pairs(client: TestClient, database: Database) -> str:
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id)["id"])
    add_outputs(database, job_id)
    set_state(database, InjectionJob, job_id, JobState.SUCCEEDED)
    return job_id


def graded_job(client: CheckedClient, database: Database) -> dict[str, Any]:
    """A job whose problems have outcomes and whose samples have verdicts, as the stages leave them."""
    set_id = post_problems(client)
    bring(client, set_id)
    job = post_job(client, set_id)
    problems = client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"]
    with database.begin() as session:
        shard = session.scalars(select(Shard.id)).first()
        for at, (problem, answers, reason) in enumerate(zip(problems, ANSWERS, OUTCOMES, strict=True)):
            ids = {"job_id": job["id"], "problem_id": problem["id"], "shard_id": shard}
            session.add(ProblemOutcome(**ids, outcome="dropped" if reason else "kept", reason=reason))
            for index, answer in enumerate(answers):
                right = answer == str(2 * at)
                judged = {"verdict": "correct" if right else "incorrect", "extracted": answer}
                session.add(SolutionRow(id=new_id("sol"), **ids, sample_index=index, source="s", text=answer, **judged))
        session.execute(update(InjectionJob).values(state=JobState.SUCCEEDED))
    return job


def dataset_with_files(client: TestClient, database: Database, store: StoreSettings) -> str:
    job_id = job_with_pairs(client, database)
    dataset_id = str(client.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).json()["id"])
    files = FileStore(store.files)
    with files.scratch() as folder:
        (folder / "trl").mkdir()
        (folder / "trl/train.jsonl").write_bytes(DATA)
        (folder / "manifest.json").write_bytes(b"{}\n")
        files.publish(folder, f"datasets/{dataset_id}")
    digest = hashlib.sha256(DATA).hexdigest()
    manifest = {"files": [{"path": "trl/train.jsonl", "bytes": len(DATA), "rows": 7, "sha256": digest}]}
    values = {"folder": f"datasets/{dataset_id}", "sha256": hashlib.sha256(b"{}\n").hexdigest(), "manifest": manifest}
    set_state(database, Dataset, dataset_id, JobState.SUCCEEDED, **values)
    return dataset_id
