"""Rejudgings: listing, refusing, and the verdicts that changed."""

from __future__ import annotations

from sqlalchemy import select, update

from errata.answers import VERIFIERS
from errata.types import Domain
from models.base import db_now, new_id
from models.jobs import InjectionJob, Shard, SolutionRow
from models.outputs import Rejudging, VerdictChangeRow
from models.session import Database
from tests.api.conftest import CheckedClient, KeptHints, bring, post_job, post_problems
from tests.api.outputs import graded_job


def test_a_rejudging_is_rows_and_hints(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    job = graded_job(client, database)
    answer = client.post("/v1/rejudgings", json={"injection_job": job["id"]})
    assert answer.status_code == 202, answer.text
    row = answer.json()
    assert answer.headers["location"] == f"/v1/rejudgings/{row['id']}"
    assert (row["state"], row["injection_job"], row["result"]) == ("queued", job["id"], None)
    assert row["verifier"] == VERIFIERS[Domain.MATH].tag
    assert hints.hints[-1].queue == "grading"
    assert client.get(answer.headers["location"]).json()["id"] == row["id"]
    listed = client.get("/v1/rejudgings", params={"injection_job": job["id"]}).json()["data"]
    assert [one["id"] for one in listed] == [row["id"]]
    assert client.get("/v1/rejudgings", params={"state": "failed"}).json()["data"] == []
    events = client.get(f"/v1/rejudgings/{row['id']}/events").json()["data"]
    assert [event["type"] for event in events] == ["queued"]
    cancelled = client.post(f"/v1/rejudgings/{row['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert client.post(f"/v1/rejudgings/{row['id']}/cancel").status_code == 409


def test_a_key_makes_one_rejudging(client: CheckedClient, database: Database) -> None:
    job = graded_job(client, database)
    made = [
        client.post("/v1/rejudgings", json={"injection_job": job["id"]}, headers={"Idempotency-Key": "again"})
        for _ in range(2)
    ]
    assert made[0].json()["id"] == made[1].json()["id"]
    assert len(client.get("/v1/rejudgings").json()["data"]) == 1


def test_what_cannot_be_judged_again_is_refused(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    job = post_job(client, set_id)
    running = client.post("/v1/rejudgings", json={"injection_job": job["id"]})
    assert running.status_code == 409
    assert "queued" in running.json()["detail"]
    for body, field in (({}, "injection_job"), ({"injection_job": 3}, "injection_job"), ({"job": "x"}, "job")):
        refused = client.post("/v1/rejudgings", json=body)
        assert refused.status_code == 422
        assert field in {error["field"] for error in refused.json()["errors"]}
    other = client.post("/v1/rejudgings", json={"injection_job": set_id})
    assert other.status_code == 422
    assert "id of a problem set" in other.json()["detail"]


def test_a_job_whose_samples_are_gone_is_refused(client: CheckedClient, database: Database) -> None:
    job = graded_job(client, database)
    with database.begin() as session:
        session.execute(update(InjectionJob).values(samples_deleted_at=db_now()))
    refused = client.post("/v1/rejudgings", json={"injection_job": job["id"]})
    assert refused.status_code == 409
    assert "samples of the job were deleted for their age" in refused.json()["detail"]
    assert client.get(f"/v1/injection-jobs/{job['id']}").json()["samples_deleted_at"] is not None


def test_changes_name_both_verdicts(client: CheckedClient, database: Database) -> None:
    job = graded_job(client, database)
    row = client.post("/v1/rejudgings", json={"injection_job": job["id"]}).json()
    with database.begin() as session:
        shard = session.scalars(select(Shard.id).where(Shard.rejudging_id == row["id"])).first()
        solution = session.scalars(select(SolutionRow).where(SolutionRow.extracted == "5")).one()
        session.add(
            VerdictChangeRow(
                id=new_id("change"),
                rejudging_id=row["id"],
                shard_id=shard,
                solution_id=solution.id,
                problem_id=solution.problem_id,
                verdict_before="incorrect",
                verdict_after="unparsable",
                extracted_before="5",
                extracted_after=None,
                verifier_before="math/0",
            )
        )
        session.execute(
            update(Rejudging).values(result={"samples": 7, "same": 6, "changed": 1, "drawn": 0, "verdicts": {}})
        )
    path = f"/v1/rejudgings/{row['id']}/changes"
    [change] = client.get(path).json()["data"]
    assert change["before"] == {"verdict": "incorrect", "extracted": "5", "verifier": "math/0"}
    assert change["after"] == {"verdict": "unparsable", "extracted": None, "verifier": row["verifier"]}
    assert client.get(path, params={"verdict": "correct"}).json()["data"] == []
    assert client.get(f"/v1/rejudgings/{row['id']}").json()["result"]["changed"] == 1
    assert client.get("/v1/rejudgings/rejudge_unknown/changes").status_code == 404
