"""Reviews of pairs: accepted and rejected with reasons, one by one and many at once, kept, filtered by, withdrawn."""

from __future__ import annotations

from typing import Any

import pytest

from api.http.auth import create_key
from models.curation import review_condition
from models.jobs import PairRow
from models.session import Database, insert_ignore
from tests.api.conftest import CheckedClient
from tests.api.outputs import job_with_pairs


@pytest.fixture
def pairs(client: CheckedClient, database: Database) -> list[str]:
    job_id = job_with_pairs(client, database)
    return [pair["id"] for pair in client.get(f"/v1/pairs?job={job_id}").json()["data"]]


def listed(client: CheckedClient, review: str) -> set[str]:
    return {pair["id"] for pair in client.get(f"/v1/pairs?review={review}").json()["data"]}


def test_the_newest_review_stands_and_the_history_is_kept(client: CheckedClient, pairs: list[str]) -> None:
    url = f"/v1/pairs/{pairs[0]}"
    assert client.get(url).json()["review"] is None
    first = client.put(f"{url}/review", json={"verdict": "rejected", "reason": "the edit is no error"}).json()
    assert (first["pair"], first["verdict"], first["source"]) == (pairs[0], "rejected", "api")
    again = client.put(f"{url}/review", json={"verdict": "rejected", "reason": "the edit is no error"}).json()
    assert again == first, "the same decision again is the same review"
    client.put(f"{url}/review", json={"verdict": "accepted", "reviewer": "Ada"})
    assert client.get(url).json()["review"] == "accepted"
    history = client.get(f"{url}/reviews").json()["data"]
    assert [(row["verdict"], row["reason"], row["reviewer"]) for row in history] == [
        ("rejected", "the edit is no error", None),
        ("accepted", None, "Ada"),
    ]
    client.delete(f"{url}/review")
    assert client.get(url).json()["review"] is None
    assert [row["verdict"] for row in client.get(f"{url}/reviews").json()["data"]][-1] == "withdrawn"
    assert client.get(f"{url}/reviews?limit=1").json()["has_more"]


def test_pairs_are_filtered_by_the_review_that_stands(
    client: CheckedClient, pairs: list[str], database: Database
) -> None:
    client.put(f"/v1/pairs/{pairs[0]}/review", json={"verdict": "accepted"})
    for verdict in ("accepted", "rejected"):
        client.put(f"/v1/pairs/{pairs[1]}/review", json={"verdict": verdict})
    assert listed(client, "accepted") == {pairs[0]}
    assert listed(client, "rejected") == {pairs[1]}
    assert listed(client, "none") == set(pairs[2:])
    assert listed(client, "not_rejected") == set(pairs) - {pairs[1]}
    assert client.get("/v1/pairs?review=good").status_code == 422
    with database.read() as session:
        found = session.query(PairRow.id).where(review_condition("not_rejected")).all()
    assert {row.id for row in found} == set(pairs) - {pairs[1]}


def test_many_reviews_are_taken_all_or_none(client: CheckedClient, pairs: list[str]) -> None:
    rows: list[dict[str, Any]] = [{"pair": pair, "verdict": "rejected", "reason": "dull"} for pair in pairs]
    refused = client.post("/v1/pairs/reviews", json={"reviews": [*rows, {"pair": "pair_none", "verdict": "accepted"}]})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [f"reviews.{len(rows)}.pair"]
    assert listed(client, "rejected") == set()
    twice = [*rows, {"pair": pairs[0], "verdict": "accepted"}]
    answer = client.post("/v1/pairs/reviews", json={"reviews": twice})
    assert [row["pair"] for row in answer.json()["data"]] == [row["pair"] for row in twice]
    assert (listed(client, "rejected"), listed(client, "accepted")) == (set(pairs[1:]), {pairs[0]})
    assert len(client.get(f"/v1/pairs/{pairs[0]}/reviews").json()["data"]) == 2


def test_what_is_no_review_is_refused(local: CheckedClient, sqlite_database: Database) -> None:
    job_id = job_with_pairs(local, sqlite_database)
    url = f"/v1/pairs/{local.get(f'/v1/pairs?job={job_id}').json()['data'][0]['id']}"
    for body in ({}, {"verdict": "good"}, {"verdict": "accepted", "reason": " "}, {"verdict": "withdrawn"}):
        assert local.put(f"{url}/review", json=body).status_code == 422
    assert local.get(f"{url}/reviews").json()["data"] == []
    assert local.put("/v1/pairs/pair_none/review", json={"verdict": "accepted"}).status_code == 404
    assert local.delete(f"{url}/review").status_code == 404


def test_a_review_tells_whose_key_it_came_with(local: CheckedClient, sqlite_database: Database) -> None:
    job_id = job_with_pairs(local, sqlite_database)
    pair = local.get(f"/v1/pairs?job={job_id}").json()["data"][0]["id"]
    headers = {}
    for scope in ("read", "write"):
        with sqlite_database.begin() as session:
            headers[scope] = {"authorization": f"Bearer {create_key(session, 'Grace', scopes=[scope])[1]}"}  # type: ignore[list-item]
    url = f"/v1/pairs/{pair}/review"
    assert local.put(url, json={"verdict": "accepted"}, headers=headers["read"]).status_code == 403
    assert local.put(url, json={"verdict": "accepted"}, headers=headers["write"]).json()["reviewer"] == "Grace"


def test_a_shard_that_runs_again_keeps_the_reviews_of_its_pairs(
    client: CheckedClient, pairs: list[str], database: Database
) -> None:
    client.put(f"/v1/pairs/{pairs[0]}/review", json={"verdict": "rejected", "reason": "why"})
    with database.begin() as session:
        row = session.get_one(PairRow, pairs[0])
        columns = {column.name for column in PairRow.__table__.columns} - {"id", "review", "created_at"}
        # What the stage writes when its shard is done again: the same key under a new id.
        again = {"id": "pair_again", **{name: getattr(row, name) for name in columns}}
        assert insert_ignore(session, PairRow, [again]) == 0
    assert client.get(f"/v1/pairs/{pairs[0]}").json()["review"] == "rejected"


def test_pairs_tell_the_own_id_and_gold_of_their_problem(client: CheckedClient, pairs: list[str]) -> None:
    rows = {pair["external_id"]: pair for pair in client.get("/v1/pairs").json()["data"]}
    assert set(rows) == {f"sum-{n}" for n in range(5)}
    assert rows["sum-3"]["gold_answer"] == "6"
    assert client.get(f"/v1/pairs/{rows['sum-3']['id']}").json()["external_id"] == "sum-3"
    job = rows["sum-3"]["job"]
    assert {row["gold_answer"] for row in client.get(f"/v1/injection-jobs/{job}/pairs").json()["data"]} == {
        str(2 * n) for n in range(5)
    }
    for name in ("sum-3", rows["sum-3"]["problem"]):
        for more in ("", f"&job={job}"):
            assert [row["id"] for row in client.get(f"/v1/pairs?problem={name}{more}").json()["data"]] == [
                rows["sum-3"]["id"]
            ]
    for url in ("/v1/pairs?problem=sum-99", f"/v1/injection-jobs/{job}/solutions?problem=sum-99"):
        refused = client.get(url)
        assert (refused.status_code, [e["field"] for e in refused.json()["errors"]]) == (404, ["problem"])
    assert len(client.get(f"/v1/injection-jobs/{job}/solutions?problem=sum-3").json()["data"]) == 1
