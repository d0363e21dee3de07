"""What every kind of job does over HTTP, whichever resource it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.session import Database
from tests.api.conftest import RULES, CheckedClient, KeptHints, bring, post_problems
from tests.api.outputs import job_with_pairs
from tests.api.test_injection_jobs import add_model

Request = tuple[str, str, dict[str, Any]]  # where a job is posted, where it then is, and the body


def injection_job(client: CheckedClient, _database: Database) -> Request:
    set_id = post_problems(client)
    bring(client, set_id)
    return "/v1/injection-jobs", "/v1/injection-jobs", {"problem_set": set_id, **RULES}


def estimate(client: CheckedClient, database: Database) -> Request:
    _, _, body = injection_job(client, database)
    return "/v1/injection-jobs:estimate", "/v1/estimates", body


def dataset(client: CheckedClient, database: Database) -> Request:
    return "/v1/datasets", "/v1/datasets", {"name": "d", "jobs": [job_with_pairs(client, database)]}


def evaluation(client: CheckedClient, database: Database) -> Request:
    set_id = post_problems(client)
    add_model(database)
    return "/v1/evaluations", "/v1/evaluations", {"problem_set": set_id, "language_model": "tiny"}


def rejudging(client: CheckedClient, database: Database) -> Request:
    return "/v1/rejudgings", "/v1/rejudgings", {"injection_job": job_with_pairs(client, database)}


@pytest.mark.parametrize("prepare", [injection_job, estimate, dataset, evaluation, rejudging])
def test_every_kind_of_job(
    client: CheckedClient,
    database: Database,
    hints: KeptHints,
    prepare: Callable[[CheckedClient, Database], Request],
) -> None:
    posted_to, place, body = prepare(client, database)
    before = len(hints.hints)
    first, again = (client.post(posted_to, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    job = first.json()
    url = f"{place}/{job['id']}"
    assert again.json()["id"] == job["id"]
    assert [answer.headers["idempotent-replayed"] for answer in (first, again)] == ["false", "true"]
    assert {answer.headers["location"] for answer in (first, again)} == {url}
    assert int(first.headers["retry-after"]) >= 1
    assert len(hints.hints) > before, "its shards are hinted at"
    sent = len(hints.hints)
    assert client.get(url).json()["state"] == "queued"
    assert job["id"] in [row["id"] for row in client.get(place).json()["data"]]
    assert client.get(f"{place}?colour=red").status_code == 422
    cancelled = client.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert cancelled.headers["location"] == url
    ended = client.post(f"{url}/cancel")
    assert (ended.status_code, "already ended: cancelled" in ended.json()["detail"]) == (409, True)
    assert len(hints.hints) == sent, "neither a repeated request nor a cancellation sends hints"
    for unknown in (f"{place}/{job['id']}x", f"{place}/pset_1", f"{place}/{job['id']}x/cancel"):
        method = client.post if unknown.endswith("cancel") else client.get
        assert method(unknown).status_code == 404, unknown
    if prepare is not estimate:
        assert client.get(f"{url}/events").json()["data"][0]["type"] == "queued"
        assert client.get(f"{place}?state=cancelled").json()["data"][0]["id"] == job["id"]
        assert job["id"] not in str(client.get(f"{place}?state=running").json())
