"""Engines and sessions: one ``Database`` per process, short transactions, the same promises on both databases."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Result, create_engine, event, insert, make_url, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from models.base import Base
from models.connections import BoundedConnection
from models.logs import DATABASE

log = logging.getLogger(__name__)
STATEMENT_SECONDS = 60.0
_SQLITE_WAIT_SECONDS = 30
_PASSING_ON_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_IOERR")
#: Classes and codes of SQLSTATE (PostgreSQL, appendix A): connection, resources, shutdown and start, rollback, locks.
_PASSING_STATES = ("08", "53", "57P", "40", "55P03")


class Database:
    """An engine and its sessions. ``begin()`` is one transaction: committed on success, rolled back on error.

    On PostgreSQL the server ends a statement after ``statement_seconds``, and an idle transaction too. A connection on
    which nothing is heard for a quarter longer than that is given up.
    """

    def __init__(self, url: str, *, pool_size: int = 10, statement_seconds: float = STATEMENT_SECONDS) -> None:
        self.url = url
        if url.startswith("sqlite"):
            self.engine = _sqlite_engine(url)
        else:
            self.engine = _postgres_engine(url, pool_size, statement_seconds)
        # Rows stay readable after their commit: stages compute with rows of sessions that are closed.
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def is_postgres(self) -> bool:
        """Whether this is PostgreSQL (else SQLite)."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A writing transaction (``BEGIN IMMEDIATE`` on SQLite, so that no claim is read before it is locked)."""
        with self._sessions() as session, session.begin():
            yield session
        DATABASE.back(log)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A reading transaction: rolled back at the end; takes no write lock on SQLite."""
        with self._sessions() as session:
            session.connection(execution_options={"sqlite_begin": "DEFERRED"})
            DATABASE.back(log)
            yield session

    @contextmanager
    def look(self) -> Iterator[Session]:
        """Reading without a transaction on PostgreSQL: each statement sees what is committed when it begins.

        So it is with ``read`` there, whose begin and end cost two round trips more. No row can be locked and no result
        streamed. On SQLite this is ``read``.
        """
        if not self.is_postgres:
            with self.read() as session:
                yield session
            return
        with self._sessions() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            DATABASE.back(log)
            yield session

    def ping(self) -> None:
        """Raises ``sqlalchemy.exc.OperationalError`` when the database cannot be reached."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def passing(error: SQLAlchemyError) -> bool:
    """Whether the database may take the same transaction later: it was away, full or busy, or broke up a deadlock."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError | ProgrammingError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return str(getattr(error.orig, "sqlite_errorname", "")).startswith(_PASSING_ON_SQLITE)
    state = getattr(error.orig, "sqlstate", None)  # none where no connection came about or it broke
    return error.connection_invalidated or state is None or str(state).startswith(_PASSING_STATES)


def insert_ignore(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose unique keys are new, and say how many those were. Column defaults apply.

    All rows have the same keys. One prepared statement for all of them: a statement that lists the rows would be put
    together anew for every call, which costs more than the insertion.
    """
    if not rows:
        return 0
    make: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(session.get_bind().dialect.name, insert)
    statement = make(table.__table__).on_conflict_do_nothing()
    session.flush()
    # Without the option the count of an INSERT is -1 on PostgreSQL.
    options = {"preserve_rowcount": True}
    return session.connection().execute(statement, list(rows), execution_options=options).rowcount


def update_by_key(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Update the rows whose primary keys these have, each with its other values. All have the same columns."""
    if rows:  # without rows SQLAlchemy would update the whole table
        session.execute(update(table), rows)


def update_returning(
    session: Session, table: type[Base], condition: ColumnElement[bool], *returning: Any, **values: Any
) -> Result[Any]:
    """One ``UPDATE ... RETURNING``: the rows that ``condition`` still held for, as they are after it.

    Objects of the session are neither searched nor expired; those that are returned get the new values.
    """
    statement = update(table).where(condition).values(**values).returning(*returning)
    return session.execute(statement.execution_options(synchronize_session=False, populate_existing=True))


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


# The switch to the write-ahead log finds another connection's lock and, unlike other statements, does not wait for it:
# the busy timeout does not count here.
@retry(
    retry=retry_if_exception(_is_busy), stop=stop_after_delay(_SQLITE_WAIT_SECONDS), wait=wait_fixed(0.02), reraise=True
)
def use_wal(connection: sqlite3.Connection) -> None:
    """Write-ahead logging, which a file keeps once it has it. Raises ``sqlite3.OperationalError``."""
    connection.execute("PRAGMA journal_mode=WAL")


def _postgres_engine(url: str, pool_size: int, statement_seconds: float) -> Engine:
    bound = round(1000 * statement_seconds)
    # The pool pings so that a restarted server costs one reconnect.
    engine = create_engine(
        url,
        hide_parameters=True,  # they hold texts of users, and errors are logged and stored
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=15,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 5,
            "options": f"-c statement_timeout={bound} -c lock_timeout={min(10_000, bound)} "
            f"-c idle_in_transaction_session_timeout={bound}",
            "keepalives": 1,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30000,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **options)
        connection.answer_seconds = 1.25 * statement_seconds
        return connection

    return engine


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _SQLITE_WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin for us; see _begin
        # NORMAL: with a write-ahead log a power cut may take back the last commits, but damages nothing. Foreign keys
        # are off by default in SQLite.
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        use_wal(connection)

    # A deferred transaction that first reads and then writes fails with SQLITE_BUSY, without waiting, when another one
    # wrote in between; and two workers could read the same free shard. IMMEDIATE takes the write lock at the start.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine
