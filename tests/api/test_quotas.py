"""Quotas: what they refuse and how, what is counted, and who may set them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.http.errors import Conflict, TooManyRequests
from api.quotas import QuotaIn, admit_job, set_quota
from models.jobs import Estimate, InjectionJob, JobSummary
from models.outputs import Dataset
from models.session import Database
from models.usage import count_job_tokens, count_tokens, next_day, tokens_on, usage_of
from tests.api.conftest import PROBLEMS, RULES, bring, post_job, post_problems
from tests.api.http.test_auth import make_key
from tests.api.plain_clients import client, local

__all__ = ["client", "local"]

DEFAULT = "ws_default"


def test_quotas_refuse_and_say_what_to_do(client: TestClient, database: Database) -> None:
    _, headers = make_key(database, scopes=["admin"])
    client.headers.update(headers)
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = post_job(client, set_id)["id"]
    assert client.put("/v1/workspaces/default/quota", json={"jobs": 1, "problems": 7}).status_code == 200
    usage = client.get("/v1/usage").json()
    assert usage["jobs"] == {"used": 1, "limit": 1}
    assert usage["problems"] == {"used": 5, "limit": 7}
    assert usage["pairs"] == {"used": 0, "limit": None}
    refused = client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert "quota 'jobs': 1 of 1" in refused.json()["detail"]
    full = client.post("/v1/problem-sets", json={"name": "more", "problems": PROBLEMS[:3]})
    assert full.status_code == 409
    assert "quota 'problems': 5 of 7 are stored, and these are 3 more" in full.json()["detail"]
    assert client.post("/v1/problem-sets", json={"name": "fits", "problems": PROBLEMS[:2]}).status_code == 201
    client.post(f"/v1/injection-jobs/{job_id}/cancel")
    assert client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}).status_code == 202
    assert client.put("/v1/workspaces/default/quota", json={}).json()["jobs"] is None
    assert client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}).status_code == 202


def test_a_repeated_request_needs_no_second_place(local: TestClient, sqlite_database: Database) -> None:
    set_id = post_problems(local)
    bring(local, set_id)
    local.put("/v1/workspaces/default/quota", json={"jobs": 1})
    body = {"problem_set": set_id, **RULES}
    answers = [local.post("/v1/injection-jobs", json=body, headers={"idempotency-key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    page = local.post("/new/jobs", data={"problem_set": set_id, "preset": "rules", "config.sampling.source": "1"})
    assert page.status_code == 429
    assert "1 of 1 jobs are open" in page.text


def test_tokens_and_pairs_are_counted_without_their_rows(client: TestClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = post_job(client, set_id)["id"]
    estimate = client.post("/v1/injection-jobs:estimate", json={"problem_set": set_id, **RULES}).json()["id"]
    with database.begin() as session:
        pilot = session.get_one(Estimate, estimate).pilot_id
        for _ in range(2):
            count_job_tokens(session, job_id, 40)
        count_job_tokens(session, pilot, 5)
        count_tokens(session, DEFAULT, "chat", 3)
        count_tokens(session, DEFAULT, "chat", 0)
        counts = session.get_one(JobSummary, job_id).counts
        counts = {**counts, "pairs": {**counts["pairs"], "total": 12}}
        session.execute(update(JobSummary).where(JobSummary.job_id == job_id).values(counts=counts))
        usage = usage_of(session, DEFAULT)
        assert (usage.tokens_today, usage.pairs, usage.jobs, usage.problems) == (88, 12, 2, 5)
        now = usage.resets_at - timedelta(seconds=1)
        assert next_day(now) == usage.resets_at
        assert tokens_on(session, DEFAULT, usage.resets_at) == 0, "a new day"
        set_quota(session, DEFAULT, QuotaIn(tokens_per_day=88))
        with pytest.raises(TooManyRequests, match="'tokens_per_day': 88 of 88") as raised:
            admit_job(session, DEFAULT, InjectionJob)
        assert 0 < int(raised.value.headers["Retry-After"]) <= 86400  # type: ignore[index]
        admit_job(session, DEFAULT, Dataset)  # generates nothing
        set_quota(session, DEFAULT, QuotaIn(pairs=12))
        with pytest.raises(Conflict, match="'pairs': 12 of 12"):
            admit_job(session, DEFAULT, InjectionJob)


def test_only_the_operator_sets_quotas(local: TestClient, sqlite_database: Database) -> None:
    _, operator = make_key(sqlite_database, scopes=["admin"])
    _, theirs = make_key(sqlite_database, "theirs", scopes=["admin"])
    path = "/v1/workspaces/theirs/quota"
    assert local.put(path, json={"jobs": 2}, headers=theirs).status_code == 403
    assert local.put(path, json={"jobs": 2}, headers=operator).json()["workspace"] == "theirs"
    assert local.get(path, headers=theirs).json()["jobs"] == 2
    assert local.get("/v1/workspaces/default/quota", headers=theirs).status_code == 404
    assert local.put("/v1/workspaces/(pilots)/quota", json={}, headers=operator).status_code == 404
    for body in ({"jobs": -1}, {"rows": 1}, {"pairs": 2**60}):
        assert local.put(path, json=body, headers=operator).status_code == 422
