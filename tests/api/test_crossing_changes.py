"""Two requests that change the same at the same moment, on PostgreSQL: on SQLite one writes at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, func, select

from models.curation import Retraction, set_tags
from models.outputs import Event
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemSet
from tests.api.conftest import post_problems
from tests.api.plain_clients import client
from tests.processes import until
from tests.workers.test_cancel_race import waiting

__all__ = ["client"]
pytestmark = [
    pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
]
REASON = {"reason": "r"}


@contextmanager
def meanwhile(database: Database, ask: Callable[[], httpx.Response]) -> Iterator[tuple[Any, list[httpx.Response]]]:
    """A session whose transaction is committed once the request waits for it; then the request's answer is there."""
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(ask()))
    with database.begin() as session:
        yield session, answers
        session.flush()
        asking.start()
        until(lambda: waiting(database) or answers, "the request to wait")
    asking.join(60)


def test_the_tags_of_the_last_request_stand_alone(client: TestClient, database: Database) -> None:
    set_id = post_problems(client)
    url = f"/v1/problem-sets/{set_id}"
    with meanwhile(database, lambda: client.patch(url, json={"tags": ["second"]})) as (session, answers):
        session.scalars(select(ProblemSet).where(ProblemSet.id == set_id).with_for_update()).one()
        set_tags(session, DEFAULT_WORKSPACE, set_id, ["first"])
    assert answers[0].json()["tags"] == client.get(url).json()["tags"] == ["second"]


def test_a_name_that_is_taken_at_the_same_moment_is_a_conflict(client: TestClient, database: Database) -> None:
    post_problems(client)
    common: dict[str, Any] = {"workspace_id": DEFAULT_WORKSPACE, "engine": "transformers", "config": {}}
    with database.begin() as session:
        session.add(LanguageModel(**common, id="model_a", name="a", training_run_id="train_a"))
    with meanwhile(database, lambda: client.patch("/v1/models/a", json={"name": "b"})) as (session, answers):
        session.add(LanguageModel(**common, id="model_b", name="b", training_run_id="train_b"))
    assert (answers[0].status_code, answers[0].json()["type"]) == (409, "urn:errata:problem:conflict")


def test_a_retraction_is_taken_back_once(client: TestClient, database: Database) -> None:
    set_id = post_problems(client)
    problem = client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"][0]["id"]
    retract = f"/v1/problem-sets/{set_id}/retract"
    url = f"/v1/retractions/{client.post(retract, json={'problem': problem, **REASON}).json()['id']}"
    with meanwhile(database, lambda: client.delete(url)) as (session, answers):
        session.execute(delete(Retraction))
    with database.read() as session:
        told = session.scalar(select(func.count()).where(Event.type == "retraction_withdrawn"))
    assert (answers[0].status_code, told) == (404, 0)
