"""The same request sent twice makes one resource, also fifty times at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from models.jobs import InjectionJob
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE, IdempotencyKey, ProblemSet
from tests.api.conftest import PROBLEMS, RULES, CheckedClient, KeptHints, bring, post_problems


def count(database: Database, table: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_fifty_at_once_make_one_job(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    app: Any = client.app

    def post(_: int) -> tuple[int, str, str]:
        own = CheckedClient(app)
        answer = own.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}, headers={"idempotency-key": "k"})
        return answer.status_code, answer.json()["id"], answer.headers["idempotent-replayed"]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {status for status, _, _ in answers} == {202}
    assert len({job_id for _, job_id, _ in answers}) == 1
    assert sorted(replayed for _, _, replayed in answers) == ["false"] + ["true"] * 49
    assert count(database, InjectionJob) == 1
    assert len(hints.hints) == 1


def test_another_body_is_refused_and_another_key_is_another_job(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)

    def post(key: str, **more: Any) -> Any:
        body = {"problem_set": set_id, **RULES, **more}
        return client.post("/v1/injection-jobs", json=body, headers={"idempotency-key": key})

    first = post("a").json()["id"]
    refused = post("a", name="other")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert post("b").json()["id"] != first
    assert post("a").json()["id"] == first
    assert count(database, InjectionJob) == 2


def test_a_refused_request_leaves_its_key_free(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    headers = {"idempotency-key": "k"}
    assert client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}, headers=headers).status_code == 422
    assert count(database, IdempotencyKey) == 0
    bring(client, set_id)
    assert client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES}, headers=headers).status_code == 202


def test_uploads_are_told_apart_by_content(client: CheckedClient, database: Database) -> None:
    headers = {"idempotency-key": "k", "content-type": "application/jsonl"}
    data = b'{"question": "q", "gold_answer": "1"}\n'
    first = client.post("/v1/problem-sets?name=a", content=data, headers=headers).json()
    assert client.post("/v1/problem-sets?name=a", content=data, headers=headers).json() == first
    assert client.post("/v1/problem-sets?name=b", content=data, headers=headers).status_code == 422
    assert client.post("/v1/problem-sets?name=a", content=data * 2, headers=headers).status_code == 422
    assert count(database, ProblemSet) == 1


def test_the_same_key_on_another_route_is_another_request(client: CheckedClient) -> None:
    headers = {"idempotency-key": "k"}
    assert client.post("/v1/problem-sets", json={"name": "a", "problems": PROBLEMS}, headers=headers).status_code == 201
    assert client.post("/v1/datasets", json={"name": "a", "jobs": ["inj_x"]}, headers=headers).status_code == 422


def test_in_flight_is_a_conflict(database: Database, make_client: Callable[..., CheckedClient]) -> None:
    client = make_client(idempotency_wait_seconds=0.2)
    assert client.get("/v1/pairs").status_code == 200
    key = {"workspace_id": DEFAULT_WORKSPACE, "route": "POST /v1/problem-sets", "key": "k", "request_sha256": "?"}
    body = {"name": "a", "problems": PROBLEMS}
    if not database.is_postgres:
        # With one writer at a time, a request in flight can only be seen as a row without a result.
        with database.begin() as session:
            session.add(IdempotencyKey(**key, resource_id=None))
        assert client.post("/v1/problem-sets", json=body, headers={"idempotency-key": "k"}).status_code == 409
        return
    with database.begin() as session:
        session.add(IdempotencyKey(**key, resource_id="pset_x"))
        session.flush()
        answer = client.post("/v1/problem-sets", json=body, headers={"idempotency-key": "k"})
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")
        session.rollback()
    assert client.post("/v1/problem-sets", json=body, headers={"idempotency-key": "k"}).status_code == 201
