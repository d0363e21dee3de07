"""``/readyz`` names each part of the service, with its state and what to do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text, update

from api.http.errors import Unavailable
from api.service import readyz
from models import health, migrate
from models.base import db_now
from models.health import GIBIBYTE, Health, check_database, check_processes, check_storage
from models.heartbeats import ProcessBeat, beat, forget_dead, heard, leave
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from workers.beats import Beats


def parts(client: CheckedClient) -> dict[str, dict[str, Any]]:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    return {part["name"]: part for part in answer.json()["parts"]}


def test_what_is_missing_is_named_with_a_remedy(local: CheckedClient, sqlite_database: Database) -> None:
    client, database = local, sqlite_database
    found = parts(client)
    assert [found[name]["state"] for name in ("database", "storage", "engine")] == ["ok"] * 3
    for name in ("workers.generation", "workers.grading", "sweeper", "broker", "migrations"):
        assert found[name]["state"] == "degraded", name
        assert found[name]["remedy"]
    with database.begin() as session:
        beat(session, "here:1", "grading", 10.0, ["secret-model"])
        beat(session, "here:2", "grading", 10.0)
        beat(session, "here:2", "grading", 10.0)
    state: Any = client.app
    state.state.health = Health(database, state.state.api.store, lambda: True)
    found = parts(client)
    assert found["workers.grading"]["detail"] == "2 heard"
    assert found["broker"]["state"] == "ok"
    assert found["engine"]["state"] == "degraded"
    assert "secret-model" not in str(found), "anybody may ask"
    assert "secret-model" in str(check_processes(database, names=True))


def test_processes_that_are_silent_or_leave_are_not_heard(database: Database) -> None:
    with database.begin() as session:
        for name in ("a", "b", "c"):
            beat(session, name, "sweeper", 10.0)
        leave(session, "a", "sweeper")
        session.execute(update(ProcessBeat).where(ProcessBeat.process == "b").values(expires_at=db_now(-1)))
        assert [row.process for row in heard(session)] == ["c"]
        session.execute(update(ProcessBeat).where(ProcessBeat.process == "b").values(expires_at=db_now(-90_000)))
        forget_dead(session)
        assert session.get(ProcessBeat, ("b", "sweeper"), populate_existing=True) is None


def test_a_process_beats_from_its_start_to_its_end(sqlite_database: Database) -> None:
    beats = Beats(sqlite_database, "here:1", ["grading", "generation", "grading"], 3600.0)
    beats.beat()
    with sqlite_database.read() as session:
        assert [row.role for row in heard(session)] == ["generation", "grading"]
    with beats:
        pass  # its thread leaves before the block has ended
    with sqlite_database.read() as session:
        assert heard(session) == []


def test_the_schema(database: Database) -> None:
    def state() -> tuple[str, str]:
        part = check_database(database)[1]
        return part.state, part.detail

    assert state()[0] == "degraded", "made without migrations"
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0011')"))
    assert state() == ("failing", "its schema is older than this version")
    for revision, expected in ((migrate._revisions()[0], "ok"), ("9999", "ok")):  # amid an upgrade it may be newer
        with database.engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
        assert state()[0] == expected


def test_storage(store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_storage(store).state == "ok"
    assert not list(tmp_path.rglob("health-*")), "nothing stays behind"
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: type("Usage", (), {"free": GIBIBYTE // 2})())
    low = check_storage(store)
    assert (low.state, low.detail) == ("degraded", "0.5 GiB are free")
    (tmp_path / "file").write_text("")
    broken = check_storage(StoreSettings(ERRATA_HOME=tmp_path / "file"))  # type: ignore[call-arg]
    assert broken.state == "failing"
    assert str(tmp_path) not in broken.detail


def test_a_database_that_is_away_is_a_refusal_that_says_so(store: StoreSettings) -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    state = SimpleNamespace(health=Health(away, store, lambda: True))
    with pytest.raises(Unavailable) as refused:
        readyz(cast(Any, SimpleNamespace(app=SimpleNamespace(state=state))))
    away.dispose()
    assert [error.field for error in refused.value.errors] == ["database"]
    assert "DATABASE_URL" in refused.value.errors[0].remedy
