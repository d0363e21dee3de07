"""What every long-running command shares: a database that is there and current, and an orderly end on signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from cli import CliError
from models import migrate
from models.session import Database
from models.settings import StoreSettings
from models.telemetry.port import PortRefused, metrics_port
from models.telemetry.tracing import TracingRefused, start_tracing, stop_tracing
from workers.child_process import watch_parent
from workers.settings import WorkerSettings


def upgrade_database(store: StoreSettings) -> None:
    """Bring the schema to this version's. Raises CliError."""
    try:
        migrate.upgrade(store.database_url)
    except (OperationalError, OSError) as error:
        raise _unreachable(error) from None
    except CommandError as error:
        raise CliError(f"the database is newer than this version, or not Errata's: {error}") from None


def reach_database(store: StoreSettings) -> Database:
    """The database of these settings, whatever its schema. Raises CliError when it is away."""
    try:
        db = Database(store.database_url, statement_seconds=store.statement_seconds)
        db.ping()
    except (OperationalError, OSError) as error:
        raise _unreachable(error) from None
    return db


def open_database(store: StoreSettings) -> Database:
    """The database of these settings. Raises CliError when it is away or its schema is not this version's."""
    db = reach_database(store)
    problems = migrate.check(store.database_url)
    if problems:
        db.dispose()
        more = f" and {len(problems) - 1} more" * (len(problems) > 1)
        raise CliError(f"the database is not at this version: {problems[0]}{more}; run `errata migrate`")
    return db


def _unreachable(error: OperationalError | OSError) -> CliError:
    if isinstance(error, OSError):
        return CliError(f"{error.filename}: {error.strerror}; set ERRATA_HOME to a folder that can be written")
    told = str(error.orig).strip().splitlines()[0]
    return CliError(f"the database cannot be reached: {told}; DATABASE_URL names it, or ERRATA_HOME its folder")


@contextmanager
def observed(role: str, settings: WorkerSettings | None = None) -> Iterator[None]:
    """Send traces where the environment asks for them, and show metrics on the port of ``settings``. Raises CliError.

    Without ``settings`` (the API, which has ``/metrics``) no port is opened.
    """
    token = settings.metrics_token if settings else None
    port = metrics_port(
        settings.metrics_host if settings else "", settings.metrics_port if settings else None,
        token.get_secret_value() if token else None,
    )  # fmt: skip
    try:
        start_tracing(role)
        with port:
            yield
    except (TracingRefused, PortRefused) as error:
        raise CliError(str(error)) from None
    finally:
        stop_tracing()


def need_broker(store: StoreSettings, command: str) -> None:
    """Raises CliError when messages would stay inside this process although ``command`` is one of several."""
    if store.embedded:
        raise CliError(f"`errata {command}` needs a broker that other processes reach: set BROKER_URL=redis://...")


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():  # not sys.exit: clean-up is what the second signal is impatient with
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_parent() -> None:
    """Be told to stop (SIGTERM) when standard input ends: the parent holds its other end, even if it is killed."""
    watch_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
