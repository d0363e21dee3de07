"""Bringing a database to the newest schema, and telling whether it is there.

Used by the command line and by ``migrations/env.py``. Two processes may upgrade at once: the second waits for the
first (an advisory lock on PostgreSQL, the write lock on SQLite) and then finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url, text

from models import (  # noqa: F401  # every table
    access,
    batches,
    cached_answers,
    completions,
    curation,
    heartbeats,
    studies,
    uploads,
    webhooks,
)
from models.base import Base
from models.session import use_wal

__all__ = ["Base", "check", "connect", "downgrade", "revision", "standing", "upgrade"]

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"
LOCK_TIMEOUT_SECONDS = 10  # a migration gives up on a table in use rather than queue every request behind itself
STATEMENT_TIMEOUT_SECONDS = 600
_LOCK_KEY = 0x45525241  # "ERRA"


def upgrade(db_url: str, revision: str = "head") -> None:
    """Apply every migration up to ``revision``; nothing happens when the database is there already.

    Raises ``alembic.util.CommandError`` when the database is at a revision this version does not know.
    """
    with connect(db_url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(db_url: str, revision: str) -> None:
    """Undo migrations down to ``revision`` (``base``: every table is dropped, with what is in it)."""
    with connect(db_url) as connection:
        command.downgrade(_config(connection), revision)


def check(db_url: str) -> list[str]:
    """What keeps the database from matching the tables of this version: empty when it is current.

    Names the missing migration, else every difference autogenerate sees (tables, columns, types, indexes, unique keys,
    foreign keys; not CHECKs). Changes nothing.
    """
    with connect(db_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": Base.metadata})
        found = context.get_current_heads()
        wanted = ScriptDirectory.from_config(_config(connection)).get_heads()
        if set(found) != set(wanted):
            return [f"it is at {' '.join(found) or 'no revision'} instead of {' '.join(wanted)}"]
        return [repr(difference) for difference in compare_metadata(context, Base.metadata)]


def revision(connection: Connection) -> str | None:
    """The revision that a database is at; None where it has none."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """This version's newest revision, and all that it knows."""
    scripts = ScriptDirectory(str(SCRIPTS))
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())


def standing(found: str | None) -> Literal["head", "behind", "newer", "unknown"]:
    """How a database's revision stands to this version; ``newer`` is one that this version does not know."""
    head, known = _revisions()
    if found is None:
        return "unknown"
    return "head" if found == head else "behind" if found in known else "newer"


@contextmanager
def connect(db_url: str) -> Iterator[Connection]:
    """One transaction for a whole run of migrations: on an error the schema stays as it was, on both databases."""
    engine = _engine(db_url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            yield connection
    finally:
        engine.dispose()


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _engine(db_url: str) -> Engine:
    if not db_url.startswith("sqlite"):
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS * 1000}"
        return create_engine(db_url, poolclass=NullPool, connect_args={"connect_timeout": 5, "options": options})
    path = make_url(db_url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(db_url, poolclass=NullPool, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver commits before DDL
        use_wal(connection)
        connection.execute("PRAGMA foreign_keys=OFF")  # batch mode rebuilds tables that others refer to

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
