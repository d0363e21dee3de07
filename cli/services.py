"""What every long-running command shares: a database that is there and current, and an orderly end on signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sqlalchemy.exc import OperationalError

from cli.refusal import Refused
from models import migrate
from models.session import Database
from models.settings import StoreSettings


def open_database(store: StoreSettings) -> Database:
    """The database of these settings. Raises Refused when it is away or its schema is not this version's."""
    db = Database(store.database_url)
    try:
        db.ping()
        problems = migrate.check(store.database_url)
    except OperationalError as error:
        db.dispose()
        raise Refused(f"the database cannot be reached: {str(error.orig).strip().splitlines()[0]}") from None
    if problems:
        db.dispose()
        raise Refused(f"the database does not match this version ({problems[0]}); run `errata migrate`")
    return db


def need_broker(store: StoreSettings, command: str) -> None:
    """Raises Refused when messages would stay inside this process although ``command`` is one of several."""
    if store.embedded:
        raise Refused(f"`errata {command}` needs a broker that other processes reach: set BROKER_URL=redis://...")


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
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

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
