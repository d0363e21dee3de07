"""Tells the database that this process lives, what it does, and which engines it cannot reach (models.heartbeats)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from models.heartbeats import beat, leave
from models.logs import DATABASE, engines_away
from models.session import Database, passing

log = logging.getLogger(__name__)


class Beats:
    """Beats every ``seconds`` in a thread of its own, until the block ends, whatever else this process does."""

    def __init__(self, db: Database, process: str, roles: Sequence[str], seconds: float) -> None:
        self._db, self._process, self._roles, self._seconds = db, process, tuple(dict.fromkeys(roles)), seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def __enter__(self) -> Beats:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._guarded(self.beat)
            if self._done.wait(self._seconds):
                break
        self._guarded(self.leave)

    def beat(self) -> None:
        """Beat once."""
        with self._db.begin() as session:
            for role in self._roles:
                beat(session, self._process, role, self._seconds, engines_away())

    def leave(self) -> None:
        """Tell that this process ends."""
        with self._db.begin() as session:
            for role in self._roles:
                leave(session, self._process, role)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SQLAlchemyError as error:
            if not passing(error):
                log.exception("this process cannot tell that it lives")
            DATABASE.away(log, error)
