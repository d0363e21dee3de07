"""The audit log: one row per changing request of every route, with the change itself, and nothing secret."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.http import audit
from api.http.auth import ensure_workspace
from api.settings import ApiSettings
from cli.serve import Server
from models.access import AuditEntry
from models.base import db_now
from models.retention import delete_old
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import post_job, post_problems
from tests.api.http.test_auth import _routes_of, make_key
from tests.api.plain_clients import client, local
from workers.settings import WorkerSettings

__all__ = ["client", "local"]

#: POST and all the same no change.
_UNCHANGING = {"/v1/training-jobs:preview", "/v1/chat/completions", "/v1/completions", "/ask", "/ask/stream"}
#: A sign-in with a key that is not valid is nobody's, and a sign-out without a session ends nothing.
_NOBODY = {"/sign-in", "/sign-out"}


def entries(database: Database) -> list[AuditEntry]:
    with database.read() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.created_at, AuditEntry.id)))


def test_every_changing_route_leaves_its_row(local: TestClient, sqlite_database: Database) -> None:
    key_id, headers = make_key(sqlite_database, scopes=["admin"])
    local.cookies.set("errata_key", headers["authorization"].removeprefix("Bearer "))
    wanted = []
    for route in _routes_of(local.app):
        for method in sorted(route.methods - {"GET", "HEAD", "OPTIONS"}):
            if route.path in _NOBODY:
                continue
            url = re.sub(r"{[^}]*}", "x", route.path)
            form = not route.path.startswith("/v1")
            sent: dict[str, Any] = {"data": {"a": "b"}} if form else {"json": {}, "headers": headers}
            answer = local.request(method, url, **sent, follow_redirects=False)
            if route.path not in _UNCHANGING:
                wanted.append((method, route.path, answer.status_code, answer.headers["x-request-id"]))
    found = [(row.method, row.route, row.status, row.request_id) for row in entries(sqlite_database)]
    assert found == wanted
    assert len(wanted) > 40, "the list is the application's own"
    assert {row.actor for row in entries(sqlite_database)} == {key_id}


def test_an_entry_is_committed_with_its_change(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, headers = make_key(database)
    client.headers.update(headers)
    # As if the process died between the commit and the answer.
    monkeypatch.setattr(audit, "_settle", lambda *_: None)
    set_id = post_problems(client)
    job_id = client.post("/v1/injection-jobs", json={"problem_set": set_id, "preset": "rules"}).json().get("id")
    assert job_id is None, "refused: nothing was committed"
    row = entries(database)[0]
    assert (row.actor, row.actor_name, row.method, row.route) == (key_id, "test", "POST", "/v1/problem-sets")
    assert (row.object_id, row.status, row.address) == (set_id, 201, "testclient")
    assert len(entries(database)) == 1


def test_the_log_is_listed_filtered_and_holds_no_secret(client: TestClient, database: Database) -> None:
    _, admin = make_key(database, scopes=["admin"])
    _, other = make_key(database, "other", scopes=["admin"])
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["write"]}, headers=admin).json()
    writer = {"authorization": f"Bearer {made['key']}"}
    set_id = post_problems(_as(client, writer))
    client.post("/v1/keys", json={"name": "no"}, headers=writer)
    client.post("/v1/pairs/x/review?token=s3cret", json={"reason": "s3cret"}, headers=writer)
    client.post("/v1/keys", json={"name": "x"}, headers={"authorization": "Bearer errata_a_b"})
    client.post("/v1/keys", json={"name": "x"}, headers=other)

    def listed(query: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = client.get(f"/v1/audit-log{query}", headers=admin).json()["data"]
        return rows

    assert [(row["route"], row["outcome"]) for row in listed()] == [
        ("/v1/keys", "refused"),
        ("/v1/problem-sets", "done"),
        ("/v1/keys", "done"),
    ], "newest first; nobody's requests and other workspaces' are not there"
    text = str(listed())
    assert "s3cret" not in text
    assert made["key"].split("_")[2] not in text
    assert [row["route"] for row in listed(f"?object_id={set_id}")] == ["/v1/problem-sets"]
    assert len(listed(f"?actor={made['id']}")) == 2
    assert [row["status"] for row in listed("?outcome=refused")] == [403]
    assert listed("?until=2020-01-01T00:00:00") == []
    assert len(listed("?since=2020-01-01T00:00:00&route=/v1/keys")) == 2
    page = client.get("/v1/audit-log?limit=2", headers=admin).json()
    rest = client.get(f"/v1/audit-log?limit=2&after={page['next']}", headers=admin).json()
    assert [row["id"] for row in page["data"] + rest["data"]] == [row["id"] for row in listed()]
    assert client.get("/v1/audit-log", headers=writer).status_code == 403


def _as(client: TestClient, headers: dict[str, str]) -> TestClient:
    client.headers.update(headers)
    return client


def test_a_refused_change_after_the_commit_of_none_has_its_status(local: TestClient, sqlite_database: Database) -> None:
    local.post("/v1/injection-jobs/inj_x/cancel")
    local.post("/v1/problem-sets", content=b"{", headers={"content-type": "application/json"})
    found = [(row.actor, row.route, row.object_id, row.status) for row in entries(sqlite_database)]
    assert found == [
        ("anonymous", "/v1/injection-jobs/{job_id}/cancel", "inj_x", 404),
        ("anonymous", "/v1/problem-sets", None, 400),
    ]


def test_a_row_names_the_job_that_was_made_or_cancelled(local: TestClient, sqlite_database: Database) -> None:
    set_id = post_problems(local)
    local.post(
        f"/v1/problem-sets/{set_id}/solutions", json={"solutions": [{"problem": 0, "source": "s", "text": "A: 0"}]}
    )
    job_id = post_job(local, set_id)["id"]
    local.post(f"/v1/injection-jobs/{job_id}/cancel")
    local.get(f"/v1/injection-jobs/{job_id}")
    rows = [(row.object_id, row.status) for row in entries(sqlite_database)]
    assert rows == [(set_id, 201), (set_id, 200), (job_id, 202), (job_id, 202)]


def test_old_entries_are_deleted(sqlite_database: Database, store: StoreSettings) -> None:
    with sqlite_database.begin() as session:
        workspace = ensure_workspace(session)
        for days in (1, 400):
            audit.add_entry(session, workspace, "operator", f"{days} days", None)
        session.flush()
        session.query(AuditEntry).filter(AuditEntry.route == "400 days").update({"created_at": db_now(-400 * 86400)})
    for days, left in ((0.0, 2), (365.0, 1)):
        delete_old(sqlite_database, WorkerSettings(audit_days=days).retention)
        assert len(entries(sqlite_database)) == left


def test_the_address_is_the_clients_where_the_proxy_is_trusted(local: TestClient, sqlite_database: Database) -> None:
    app: Any = local.app
    server = Server(app, None, None)  # type: ignore[arg-type]  # only its settings are looked at
    assert server.config.forwarded_allow_ips == ApiSettings().trusted_proxies
    behind = ProxyHeadersMiddleware(app, trusted_hosts="10.0.0.0/8")
    for peer in ("10.1.2.3", "192.0.2.7"):
        client = TestClient(behind, base_url="http://127.0.0.1:8000", client=(peer, 1))
        client.post("/v1/keys", json={}, headers={"x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.2"})
    assert [row.address for row in entries(sqlite_database)] == ["203.0.113.9", "192.0.2.7"]
