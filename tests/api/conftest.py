"""Clients of a real application over a database of the test's own; hints are kept instead of sent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.settings import ApiSettings
from models.jobs import Shard
from models.session import Database
from models.settings import StoreSettings
from workers.dispatch import Dispatcher, Hint


class KeptHints(Dispatcher):
    """Keeps hints, and refuses one whose shard a session of its own cannot see: hints are sent after the commit."""

    def __init__(self, db: Database) -> None:
        self.hints: list[Hint] = []
        self._db = db

    def send(self, hints: Iterable[Hint]) -> int:
        """Keep the hints."""
        wanted = list(hints)
        with self._db.read() as session:
            for hint in wanted:
                assert session.scalar(select(Shard.id).where(Shard.id == hint.shard_id)), "hint before commit"
        self.hints += wanted
        return len(wanted)


class CheckedClient(TestClient):
    """A client that holds every answer against OpenAPI: the status is listed, refusals are problem documents."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        super().__init__(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False, **options)
        self._operations = _operations(app)

    def request(self, method: str, url: Any, **options: Any) -> httpx.Response:  # type: ignore[override]
        """Send the request and check its answer."""
        answer: Any = super().request(method, url, **options)
        self.check(answer)
        return answer  # type: ignore[no-any-return]

    def check(self, answer: httpx.Response) -> None:
        """Assert what holds of every answer."""
        path = answer.request.url.path
        assert answer.status_code < 500, f"{answer.request.method} {path}: {answer.status_code} {answer.text[:500]}"
        if answer.status_code >= 400 and path.startswith("/v1") and not path.endswith("/completions"):
            assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
            document = answer.json()
            assert document["status"] == answer.status_code
            assert document["type"].startswith("urn:errata:problem:")
            assert all(set(error) == {"field", "message", "remedy"} for error in document["errors"])
        for pattern, name, operations in self._operations:
            operation = operations.get(answer.request.method.lower())
            if operation and pattern.fullmatch(path) and answer.status_code != 405:
                assert str(answer.status_code) in operation["responses"], f"{name} does not list {answer.status_code}"
                return


_DOCUMENTS: dict[tuple[Any, ...], tuple[dict[str, Any], list[Any]]] = {}
_OPERATIONS: dict[int, list[tuple[re.Pattern[str], str, dict[str, Any]]]] = {}


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document. It depends on the routes alone: made once, it is that of the others too."""
    # Routers are made once per process, applications of them once per test.
    routers = [getattr(route, "original_router", route) for route in app.routes]
    known = tuple(getattr(router, "path", id(router)) for router in routers)
    if known not in _DOCUMENTS:
        _DOCUMENTS[known] = app.openapi(), routers  # held, so that no other gets the id of one
    app.openapi_schema = _DOCUMENTS[known][0]
    return app.openapi_schema


def _operations(app: FastAPI) -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    paths = openapi_of(app)["paths"]
    if id(paths) not in _OPERATIONS:
        _OPERATIONS[id(paths)] = [(re.compile(_pattern(path)), path, paths[path]) for path in paths]
    return _OPERATIONS[id(paths)]


def _pattern(path: str) -> str:
    return re.sub(r"\\\{path\\\}", ".+", re.sub(r"\\\{(?!path)[a-z_]+\\\}", "[^/]+", re.escape(path)))


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    """A store of the test's own."""
    return StoreSettings(ERRATA_HOME=tmp_path / "home")  # type: ignore[call-arg]


@pytest.fixture
def hints(database: Database) -> KeptHints:
    """The dispatcher of ``client``."""
    return KeptHints(database)


@pytest.fixture
def make_client(database: Database, store: StoreSettings, hints: KeptHints) -> Callable[..., CheckedClient]:
    """Clients of applications over ``database`` with other settings."""

    def make(**settings: Any) -> CheckedClient:
        return CheckedClient(create_app(database, store, hints, ApiSettings(**settings)))

    return make


@pytest.fixture
def client(make_client: Callable[..., CheckedClient]) -> CheckedClient:
    """A client of the default application, once on SQLite and once on PostgreSQL."""
    return make_client(event_poll_seconds=0.02)


@pytest.fixture
def local(sqlite_database: Database, store: StoreSettings) -> CheckedClient:
    """A client over SQLite alone."""
    return CheckedClient(create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings()))


PROBLEMS = [{"question": f"What is {n} + {n}?", "gold_answer": str(2 * n), "id": f"sum-{n}"} for n in range(5)]


_NUMBERS = itertools.count(1)  # the same problems under the same name again are the same set


def post_problems(client: TestClient, count: int = 5, **more: Any) -> str:
    """Post a problem set and return its id."""
    body = {"name": f"sums {next(_NUMBERS)}", "problems": PROBLEMS[:count], **more}
    answer = client.post("/v1/problem-sets", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def bring(client: TestClient, set_id: str, count: int = 5) -> None:
    """Bring one correct solution of each problem."""
    rows = [{"problem": n, "source": "hand", "text": f"{n} + {n} = {2 * n}\nA: {2 * n}"} for n in range(count)]
    answer = client.post(f"/v1/problem-sets/{set_id}/solutions", json={"solutions": rows})
    assert answer.status_code == 200, answer.text


RULES = {"preset": "rules", "config": {"sampling": {"source": "brought"}}}


def post_job(client: TestClient, set_id: str, **more: Any) -> dict[str, Any]:
    """Post a job that needs no language model."""
    answer = client.post("/v1/injection-jobs", json={"problem_set": set_id, **RULES, **more})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body
