"""The migrations build exactly the tables of the code, on both databases, once, whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.config import CommandLine
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from models import migrate
from models.migrate import Base


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def schema(engine: Engine) -> dict[str, Any]:
    """What the database itself says of its tables: columns, keys, CHECKs, indexes, each with its name."""
    reader = inspect(engine)
    tables = [name for name in reader.get_table_names() if name != "alembic_version"]

    def named(rows: Any) -> list[Any]:
        # The condition of a partial index is an object without a readable form of its own.
        plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
        return sorted((str(sorted(row.items(), key=str)) for row in plain), key=str)

    return {
        name: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in reader.get_columns(name)},
            "primary": reader.get_pk_constraint(name)["constrained_columns"],
            "checks": named(reader.get_check_constraints(name)),
            "uniques": named(reader.get_unique_constraints(name)),
            "foreign": named(reader.get_foreign_keys(name)),
            "indexes": named(reader.get_indexes(name)),
        }
        for name in tables
    }


def _plain(value: Any) -> Any:
    return {name: str(option) for name, option in value.items()} if isinstance(value, dict) else value


def test_upgrade_builds_what_the_code_declares(database_url: str, engine: Engine) -> None:
    migrate.upgrade(database_url)
    migrated = schema(engine)
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
    Base.metadata.create_all(engine)
    declared = schema(engine)
    assert set(migrated) == set(Base.metadata.tables)
    assert migrated == declared


def test_check_is_clean_after_upgrade_and_names_what_is_missing(database_url: str, engine: Engine) -> None:
    before = migrate.check(database_url)
    assert "no revision" in before[0]
    migrate.upgrade(database_url)
    assert migrate.check(database_url) == []
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE metrics"))
    assert any("metrics" in difference for difference in migrate.check(database_url))


def test_upgrade_again_keeps_rows(database_url: str, engine: Engine) -> None:
    migrate.upgrade(database_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'one', '2026-01-01 00:00:00')")
        )
    migrate.upgrade(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM workspaces")) == 1


def test_downgrade_leaves_nothing(database_url: str, engine: Engine) -> None:
    migrate.upgrade(database_url)
    migrate.downgrade(database_url, "base")
    assert schema(engine) == {}
    migrate.upgrade(database_url)
    assert set(schema(engine)) == set(Base.metadata.tables)


def test_several_processes_may_upgrade_at_once(database_url: str) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            migrate.upgrade(database_url)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.check(database_url) == []


def test_another_writer_at_the_very_start_is_waited_for(tmp_path: Path) -> None:
    """SQLite gives up at once where a file becomes a write-ahead log under another's write lock."""
    other = sqlite3.connect(tmp_path / "errata.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    url = f"sqlite:///{tmp_path / 'errata.db'}"
    migrate.upgrade(url)
    release.join()
    other.close()
    assert migrate.check(url) == []


def test_a_failing_migration_leaves_the_schema_as_it_was(database_url: str, engine: Engine) -> None:
    def fail() -> None:
        with migrate.connect(database_url) as connection:
            connection.execute(text("CREATE TABLE half (id INTEGER)"))
            connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(DBAPIError):
        fail()
    assert inspect(engine).get_table_names() == []


def test_the_alembic_command_reads_database_url(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(migrate.SCRIPTS.parent)
    CommandLine().main(["upgrade", "head"])
    assert set(Base.metadata.tables) < set(inspect(engine).get_table_names())
