"""API keys over HTTP and on their page: made, listed, rotated, revoked; and that every route asks for its scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from api.app import create_app
from api.http.auth import Caller, create_key
from api.http.errors import Conflict, Forbidden
from api.http.routing import StrictRoute
from api.keys import KeyIn, new_key, rotated
from api.settings import ApiSettings
from models.base import Base, db_now
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import ApiKey
from tests.api.conftest import KeptHints
from tests.api.http.test_auth import _routes_of, make_key
from tests.api.plain_clients import client, local

__all__ = ["client", "local"]

#: What a key has that lacks a scope, by the scope.
_LACKING: dict[str, list[str]] = {"write": ["train"], "train": ["write"], "admin": ["write", "train"], "read": []}
_OPEN = {"/healthz", "/readyz", "/metrics"}  # metrics have a token of their own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Database]]:
    """One application for tests that bring keys of their own: making one costs a second of processor time."""
    folder = tmp_path_factory.mktemp("keys")
    database = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    store = StoreSettings(ERRATA_HOME=folder / "home")  # type: ignore[call-arg]
    app = create_app(database, store, KeptHints(database), ApiSettings())
    yield TestClient(app, base_url="http://127.0.0.1:8000"), database
    database.dispose()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def status_of(client: TestClient, token: str) -> int:
    return client.get("/v1/usage", headers=bearer(token)).status_code


def test_a_key_is_made_rotated_and_revoked_over_http(client: TestClient, database: Database) -> None:
    _, admin = make_key(database, scopes=["admin"])
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["write"], "expires_in_days": 30}, headers=admin)
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/keys/{made.json()['id']}"
    old = made.json()
    assert status_of(client, old["key"]) == 200
    listed = client.get("/v1/keys", headers=admin).json()["data"]
    assert [row["name"] for row in listed] == ["ci", "test"]
    assert old["key"] not in str(listed)
    assert old["key"].split("_")[2] not in str(listed)
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"grace_hours": 1}, headers=admin).json()
    assert (new["name"], new["scopes"]) == ("ci", ["write"])
    days = datetime.fromisoformat(new["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < days < timedelta(days=31), "as long as the old one was made for"
    assert [status_of(client, key["key"]) for key in (old, new)] == [200, 200]
    again = client.post(f"/v1/keys/{old['id']}/rotate", headers=admin)
    assert again.status_code == 409
    assert new["id"] in again.json()["detail"]
    with database.begin() as session:  # the grace period is over
        session.execute(update(ApiKey).where(ApiKey.id == old["id"]).values(expires_at=db_now(-1)))
    assert [status_of(client, key["key"]) for key in (old, new)] == [401, 200]
    shown = client.get(f"/v1/keys/{old['id']}", headers=admin).json()
    assert (shown["state"], shown["replaced_by"]) == ("expired", new["id"])
    assert client.delete(f"/v1/keys/{new['id']}", headers=admin).json()["state"] == "revoked"
    assert status_of(client, new["key"]) == 401
    assert client.delete(f"/v1/keys/{new['id']}", headers=admin).status_code == 409
    for state, count in (("valid", 1), ("expired", 1), ("revoked", 1)):
        assert len(client.get(f"/v1/keys?state={state}", headers=admin).json()["data"]) == count


def test_a_rotation_without_grace_ends_the_old_key_and_never_lengthens_it(sqlite_database: Database) -> None:
    caller = Caller("ws_default", frozenset(["admin"]), "key_x")
    with sqlite_database.begin() as session:
        now = session.scalars(select(db_now())).one()
        key, _ = create_key(session, "short", expires_in=timedelta(minutes=5))
        rotated(session, caller, key, 24)
        assert key.expires_at is not None
        assert key.expires_at < now + timedelta(minutes=6), "the grace period gives it no more time than it had"
        key, _ = create_key(session, "at once")
        rotated(session, caller, key, 0)
        assert key.revoked_at is not None
        key, _ = create_key(session, "gone", expires_in=timedelta(days=1))
        session.execute(update(ApiKey).where(ApiKey.id == key.id).values(expires_at=db_now(-1)))
        with pytest.raises(Conflict, match="expired"):
            rotated(session, caller, key, 24)


def test_a_key_gives_no_scope_that_its_maker_lacks(shared: tuple[TestClient, Database]) -> None:
    local, sqlite_database = shared
    _, writer = make_key(sqlite_database, scopes=["write", "train"])
    refused = local.post("/v1/keys", json={"name": "x", "scopes": ["admin"]}, headers=writer)
    assert refused.status_code == 403
    caller = Caller("ws_default", frozenset(["write"]), "key_x")
    with sqlite_database.begin() as session:
        admin, _ = create_key(session, "admin", scopes=["admin"])
        with pytest.raises(Forbidden, match="'train'"):
            new_key(session, caller, KeyIn(name="x", scopes=["read", "train"]))
        with pytest.raises(Forbidden, match="you lack"):
            rotated(session, caller, admin, 1)


def test_the_key_in_use_ends_only_when_asked_twice(shared: tuple[TestClient, Database]) -> None:
    local, sqlite_database = shared
    key_id, admin = make_key(sqlite_database, scopes=["admin"])
    refused = local.delete(f"/v1/keys/{key_id}", headers=admin)
    assert (refused.status_code, "confirm=true" in refused.json()["detail"]) == (409, True)
    assert local.delete(f"/v1/keys/{key_id}?confirm=true", headers=admin).status_code == 200
    assert local.get("/v1/keys", headers=admin).status_code == 401


def test_a_repeated_request_makes_one_key(shared: tuple[TestClient, Database]) -> None:
    local, sqlite_database = shared
    _, admin = make_key(sqlite_database, scopes=["admin"])
    sent: dict[str, Any] = {"json": {"name": "once"}, "headers": admin | {"idempotency-key": "a"}}
    first, second = local.post("/v1/keys", **sent), local.post("/v1/keys", **sent)
    assert (first.status_code, second.status_code) == (201, 409)
    assert first.json()["id"] in second.json()["detail"]
    with sqlite_database.read() as session:
        assert session.scalar(select(func.count()).where(ApiKey.name == "once")) == 1


def test_bad_keys_are_refused_by_field(shared: tuple[TestClient, Database]) -> None:
    _, admin = make_key(shared[1], scopes=["admin"])
    bad: list[tuple[dict[str, Any], str]] = [
        ({"name": "x" * 201}, "name"),
        ({"name": "\x00"}, "body"),
        ({"name": " "}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes.0"),
        ({"name": "x", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x", "workspace": "theirs"}, "workspace"),
    ]
    for body, field in bad:
        answer = shared[0].post("/v1/keys", json=body, headers=admin)
        assert answer.status_code in (400, 422), body
        assert answer.json()["errors"][0]["field"] == field


def test_last_use_is_written_once_a_minute(shared: tuple[TestClient, Database]) -> None:
    local, sqlite_database = shared
    key_id, headers = make_key(sqlite_database)
    seen = []
    for _ in range(3):
        local.get("/v1/usage", headers=headers)
        with sqlite_database.read() as session:
            seen.append(session.get_one(ApiKey, key_id).last_used_at)
    assert seen[0] is not None
    assert seen == seen[:1] * 3
    with sqlite_database.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=db_now(-61)))
    local.get("/v1/usage", headers=headers)
    with sqlite_database.read() as session:
        used = session.get_one(ApiKey, key_id).last_used_at
    assert used is not None
    assert used >= seen[0]


def test_every_route_asks_for_its_scope(shared: tuple[TestClient, Database]) -> None:
    """Each route names a scope in OpenAPI, and a key without it gets 403 with the scope's name."""
    local, sqlite_database = shared
    headers = {}
    for scope, held in _LACKING.items():
        key_id, headers[scope] = make_key(sqlite_database, scopes=held or ["read"])
        if not held:
            with sqlite_database.begin() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key_id).values(scopes=[]))
    asked = set()
    for route in _routes_of(local.app):
        if not isinstance(route, StrictRoute):
            assert not route.path.startswith("/v1"), route.path
            continue
        for method in route.methods - {"HEAD"}:
            scope = (route.openapi_extra or {}).get("x-required-scope")
            if route.path in _OPEN:
                assert scope is None
                continue
            assert scope in _LACKING, f"{method} {route.path} names no scope"
            url = re.sub(r"{[^}]*}", "x", route.path)
            answer = local.request(method, url, headers=headers[scope], json=None if method == "GET" else {})
            assert (answer.status_code, f"'{scope}'" in answer.text) == (403, True), (method, route.path, answer.text)
            asked.add(scope)
    assert asked == set(_LACKING)


def test_the_page_shows_a_secret_once(local: TestClient, sqlite_database: Database) -> None:
    page = local.get("/keys").text
    assert "There is no key yet" in page
    form = {"name": "<b>first</b>", "scopes": ["admin"], "token": re.findall(r'name="token" value="(\w+)"', page)[0]}
    made = local.post("/keys", data=form)
    assert "From now on every request needs one" in made.text
    assert "<b>first" not in made.text
    secret = re.findall(r"errata_[0-9a-z]{20}_[0-9a-f]{48}", made.text)[0]
    assert local.get("/keys").status_code == 401
    local.cookies.set("errata_key", secret)
    again = local.post("/keys", data=form, follow_redirects=False)  # the answer's page is loaded again
    assert (again.status_code, secret in local.get("/keys").text) == (303, False)
    key_id = "key_" + secret.split("_")[1]
    assert "will be signed out" in local.get(f"/keys/{key_id}/revoke").text
    other = local.post(f"/keys/{key_id}/rotate", data={"grace_hours": "1"}).text
    assert len(re.findall(r"errata_[0-9a-z]{20}_[0-9a-f]{48}", other)) == 1
    asked = local.post(f"/keys/{key_id}/revoke", data={}, follow_redirects=False)
    assert asked.headers["location"] == f"/keys/{key_id}/revoke", "the second step"
    foreign = local.post(f"/keys/{key_id}/revoke", data={"sure": "1"}, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert local.get("/keys").status_code == 200
    local.post(f"/keys/{key_id}/revoke", data={"sure": "1"}, follow_redirects=False)
    assert local.get("/keys").status_code == 401


def test_pages_ask_for_the_scope(shared: tuple[TestClient, Database]) -> None:
    local, sqlite_database = shared
    _, headers = make_key(sqlite_database, scopes=["write", "train"])
    cookie = {"cookie": "errata_key=" + headers["authorization"].removeprefix("Bearer ")}
    for path in ("/keys", "/keys/key_x/revoke", "/audit-log"):
        assert local.get(path, headers=cookie).status_code == 403
    assert local.post("/keys", data={"name": "x", "scopes": "read"}, headers=cookie).status_code == 403
    assert "API keys" not in local.get("/workspace", headers=cookie).text
