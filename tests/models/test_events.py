"""Events are seen in the order of their ids: whoever goes on behind the last one seen misses none."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.events import after, record
from models.session import Database
from models.workspaces import Workspace
from tests.processes import until


@pytest.fixture
def workspace(database: Database) -> str:
    with database.begin() as session:
        session.add(Workspace(id="ws_1", name="one"))
    return "ws_1"


def kinds(database: Database, last: int = 0) -> list[tuple[int, str]]:
    with database.read() as session:
        return [(row.id, row.type) for row in after(session, "inj_1", last)]


def test_an_event_comes_with_its_transaction_or_not_at_all(database: Database, workspace: str) -> None:
    with suppress(RuntimeError), database.begin() as session:
        record(session, workspace, "inj_1", "lost")
        raise RuntimeError
    with database.begin() as session:
        record(session, workspace, "inj_1", "queued")
        assert kinds(database) == []
        record(session, workspace, "inj_1", "running")
    assert [kind for _, kind in kinds(database)] == ["queued", "running"]


def test_a_session_that_rolls_back_and_goes_on_has_forgotten(database: Database, workspace: str) -> None:
    with Session(database.engine) as session:
        for kind, end in (("first", session.commit), ("lost", session.rollback), ("second", session.commit)):
            session.connection()  # begins
            record(session, workspace, "inj_1", kind)
            end()
    assert [kind for _, kind in kinds(database)] == ["first", "second"]


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
def test_who_commits_later_has_the_greater_id(database: Database, workspace: str) -> None:
    with database.begin() as slow:
        record(slow, workspace, "inj_1", "slow")
        slow.flush()
        with database.begin() as fast:
            record(fast, workspace, "inj_1", "fast")
        [(last, kind)] = kinds(database)
        assert kind == "fast"
    assert [kind for _, kind in kinds(database, last)] == ["slow"]


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
def test_commits_of_one_subject_wait_for_each_other(database: Database, workspace: str) -> None:
    ended: list[str] = []

    def write(subject: str) -> None:
        with database.begin() as session:
            record(session, workspace, subject, "told")
        ended.append(subject)

    with database.begin() as committing:
        committing.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('inj_1', 0))"))
        waiting = threading.Thread(target=write, args=["inj_1"])
        waiting.start()
        ours = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        query = text(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {ours}")
        until(lambda: committing.scalar(query) == 1, "the second to wait")
        write("inj_2")
        assert ended == ["inj_2"]
    waiting.join(60)
    assert ended == ["inj_2", "inj_1"]
