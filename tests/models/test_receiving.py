"""Sets that are still coming in: unseen, in small transactions, and gone when nobody goes on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from models.deletion import purge
from models.receiving import Receiving, ReceivingLost, hide_abandoned
from models.session import Database, insert_ignore
from models.settings import StoreSettings
from models.workspaces import (
    DEFAULT_WORKSPACE,
    DELETED_WORKSPACE,
    RECEIVING_WORKSPACE,
    ProblemRow,
    ProblemSet,
    Workspace,
)

COLUMNS = ("id", "problem_set_id", "position", "question", "gold_answer", "meta")


def lines(set_id: str, start: int, count: int) -> bytes:
    rows = range(start, start + count)
    return "".join(f"prob_{n}\t{set_id}\t{n}\tq\\\\{n}\t{n}\t{{}}\n" for n in rows).encode()


def count(database: Database, table: Any, *conditions: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def workspace(database: Database) -> None:
    with database.begin() as session:
        insert_ignore(session, Workspace, [{"id": DEFAULT_WORKSPACE, "name": "default"}])


def test_a_set_is_seen_once_it_is_whole(database: Database) -> None:
    workspace(database)
    with Receiving(database, "pset_1", COLUMNS) as receiving:
        for start in range(0, 6000, 1500):
            receiving.add(lines("pset_1", start, 1500))
            with database.begin() as session:  # another writer, in the middle of it
                session.add(Workspace(id=f"ws_{start}", name=f"w{start}"))
        receiving.finish()
        assert count(database, ProblemRow) == 6000
        assert count(database, ProblemSet, ProblemSet.workspace_id != RECEIVING_WORKSPACE) == 0
        with database.begin() as session:
            receiving.show(session, workspace_id=DEFAULT_WORKSPACE, name="n", domain="math", content_sha256="c")
    with database.read() as session:
        row = session.scalars(select(ProblemSet)).one()
        problem = session.scalars(select(ProblemRow).where(ProblemRow.position == 5999)).one()
    assert (row.workspace_id, row.name) == (DEFAULT_WORKSPACE, "n")
    assert problem.question == "q\\5999"
    assert hide_abandoned(database, -60.0) == 0, "what is shown is nobody's to sweep"


def test_what_is_not_shown_is_hidden_and_purged(database: Database, tmp_path: Path) -> None:
    workspace(database)

    def rolled_back() -> None:
        with Receiving(database, "pset_1", COLUMNS) as receiving:
            receiving.add(lines("pset_1", 0, 100))
            receiving.finish()
            with database.begin() as session:
                receiving.show(session, workspace_id=DEFAULT_WORKSPACE)
                raise RuntimeError

    with pytest.raises(RuntimeError):
        rolled_back()
    assert count(database, ProblemSet, ProblemSet.workspace_id == DELETED_WORKSPACE) == 1
    assert purge(database, StoreSettings(ERRATA_HOME=tmp_path), 60)  # type: ignore[call-arg]
    assert (count(database, ProblemSet), count(database, ProblemRow)) == (0, 0)


def test_what_a_killed_upload_left_is_swept(database: Database, tmp_path: Path) -> None:
    workspace(database)
    killed = Receiving(database, "pset_1", COLUMNS)
    killed.add(lines("pset_1", 0, 100))
    killed.finish()
    assert hide_abandoned(database) == 0, "it may be going on"
    assert hide_abandoned(database, -60.0) == 1
    with pytest.raises(ReceivingLost), database.begin() as session:
        killed.show(session, workspace_id=DEFAULT_WORKSPACE)

    def go_on() -> None:
        killed.add(lines("pset_1", 100, 100))
        killed.finish()

    with pytest.raises(ReceivingLost):
        go_on()
    assert purge(database, StoreSettings(ERRATA_HOME=tmp_path), 60)  # type: ignore[call-arg]
    assert (count(database, ProblemSet), count(database, ProblemRow)) == (0, 0)
