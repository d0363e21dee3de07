"""Streams and their keys: one that is revoked or has expired ends what it opened; times are the database's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.http import auth, events
from models.base import db_now
from models.jobs import InjectionJob
from models.session import Database
from models.states import JobState
from models.workspaces import ApiKey
from tests.api.conftest import bring, post_job, post_problems
from tests.api.http.test_auth import make_key
from tests.api.http.test_events import STREAM, parse
from tests.api.outputs import set_state
from tests.api.plain_clients import client, local

__all__ = ["client", "local"]


def revoke(database: Database, key_id: str) -> None:
    with database.begin() as session:
        assert auth.revoke_key(session, key_id)


def expire(database: Database, key_id: str) -> None:
    with database.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=db_now(-1)))


@pytest.fixture
def job_id(local: TestClient) -> str:
    set_id = post_problems(local)
    bring(local, set_id)
    return str(post_job(local, set_id)["id"])


def streamed(
    local: TestClient, job_id: str, headers: dict[str, str], then: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The events of a stream during which something happens, once it has been allowed to go on; then its job ends."""
    asked, happened = threading.Event(), threading.Event()
    allowed: Any = auth.still_allowed

    def asks(*arguments: Any) -> bool:
        answer: bool = allowed(*arguments)
        asked.set()
        happened.wait(30)
        return answer

    monkeypatch.setattr(events, "_ALLOWED_SECONDS", 0.0)
    monkeypatch.setattr(events, "still_allowed", asks)

    def act() -> None:
        asked.wait(30)
        then()
        happened.set()

    acting = threading.Thread(target=act)
    acting.start()
    answer = local.get(f"/v1/injection-jobs/{job_id}/events", headers={**STREAM, **headers})
    acting.join()
    assert answer.status_code == 200
    return [event["event"] for event in parse(answer.text)]


@pytest.mark.parametrize("end", [revoke, expire])
def test_a_stream_breaks_off_when_its_key_ends(
    local: TestClient, sqlite_database: Database, job_id: str, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, headers = make_key(sqlite_database)
    found = streamed(local, job_id, headers, lambda: end(sqlite_database, key_id), monkeypatch)
    assert found == ["queued"], "it does not say that the job has ended"
    assert local.get(f"/v1/injection-jobs/{job_id}/events", headers={**STREAM, **headers}).status_code == 401


def test_a_stream_goes_on_to_its_end_while_its_key_is_valid(
    local: TestClient, sqlite_database: Database, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, headers = make_key(sqlite_database)
    found = streamed(
        local, job_id, headers, lambda: set_state(sqlite_database, InjectionJob, job_id, JobState.FAILED), monkeypatch
    )
    assert found == ["queued", "end"]


def test_a_stream_without_a_key_breaks_off_once_there_is_one(
    local: TestClient, sqlite_database: Database, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert streamed(local, job_id, {}, lambda: make_key(sqlite_database) and None, monkeypatch) == ["queued"]


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_key_expires_by_the_clock_of_the_database(
    client: TestClient, database: Database, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the process that makes and checks it is off by more than its validity."""

    class Off(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(hours=hours)

    monkeypatch.setattr(auth, "datetime", Off)
    with database.begin() as session:
        key, secret = auth.create_key(session, "k", expires_in=timedelta(hours=1))
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get("/v1/usage", headers=headers).status_code == 200
    with database.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key.id).values(expires_at=db_now(-1)))
    assert client.get("/v1/usage", headers=headers).status_code == 401
