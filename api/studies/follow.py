"""Going on with every study and campaign that has not ended: a look at each, in a transaction of its own.

Any number of processes may follow: a row is locked while it is looked at, and one that another process looks at is
left to it. What goes wrong at one study delays no other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.studies.campaign import look_at_campaign
from api.studies.parts import PartFailed, Parts, Waiting
from api.studies.study import look_at_study
from errata.study_config import StudyConfig
from models.events import record
from models.logs import DATABASE
from models.session import Database, passing
from models.states import TERMINAL, JobState, move
from models.studies import Campaign, Study
from workers.dispatch import Dispatcher, Hint

log = logging.getLogger(__name__)
FOLLOW_SECONDS = 2.0
_TABLES: tuple[type[Study] | type[Campaign], ...] = (Study, Campaign)


def follow(db: Database, dispatcher: Dispatcher) -> int:
    """Look once at every study and campaign that has not ended; how many. Raises what the database raises."""
    with db.read() as session:
        open_ones = [
            (table, row_id)
            for table in _TABLES
            for row_id in session.scalars(select(table.id).where(table.state.not_in(sorted(TERMINAL))))
        ]
    for table, row_id in open_ones:
        try:
            with db.begin() as session:
                hints = look(session, table, row_id)
            dispatcher.send(hints)
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("%s cannot go on", row_id)
    return len(open_ones)


def look(session: Session, table: type[Study] | type[Campaign], row_id: str) -> list[Hint]:
    """Go on with one in the caller's transaction; returns hints to send after the commit."""
    query = select(table).where(table.id == row_id, table.state.not_in(sorted(TERMINAL)))
    row: Any = session.scalars(query.with_for_update(skip_locked=True)).first()
    if row is None:
        return []
    if row.state == JobState.QUEUED:
        move(session, table, row_id, JobState.RUNNING)
        record(session, row.workspace_id, row_id, "running")
    concurrency = StudyConfig.model_validate(row.config).concurrency if table is Study else 1
    parts = Parts(session, row, concurrency)
    if row.state == JobState.CANCELLING:
        if parts.cancel_all():
            _end(session, row, JobState.CANCELLED)
        return parts.hints
    try:
        if table is Study:
            _go_on_with_study(session, row, parts)
        else:
            result = look_at_campaign(session, row, parts)
            _end(session, row, JobState.SUCCEEDED, result=result)
    except Waiting:
        pass
    except PartFailed as error:
        # What is open of it would be for nothing.
        parts.cancel_all()
        rounds = (row.result or {}).get("rounds", [])
        _end(session, row, JobState.FAILED, error=str(error), partial=len(rounds) > 1)
    return parts.hints


def _go_on_with_study(session: Session, row: Study, parts: Parts) -> None:
    result = look_at_study(session, row, parts)
    if result is None:
        return
    failed = {name: arm["failed"] for name, arm in result["arms"].items() if arm["failed"]}
    told = "; ".join(f"arm {name}: {why}" for name, why in failed.items()) or None
    state = JobState.FAILED if len(failed) == len(result["arms"]) else JobState.SUCCEEDED
    _end(session, row, state, result=result, error=told, partial=bool(failed) and state == JobState.SUCCEEDED)


def _end(session: Session, row: Any, state: JobState, **values: Any) -> None:
    move(session, type(row), row.id, state, **values)
    told = {name: values[name] for name in ("error", "partial") if values.get(name)}
    record(session, row.workspace_id, row.id, state, **told)
    log.info("job finished", extra={"job": row.id, "kind": row.__tablename__, "state": str(state)})


@contextmanager
def following(db: Database, dispatcher: Dispatcher, stop: threading.Event) -> Iterator[None]:
    """A thread that follows while the block runs, and until ``stop`` is set."""
    ended = threading.Event()

    def run() -> None:
        while not (stop.is_set() or ended.is_set()):
            try:
                follow(db, dispatcher)
            except SQLAlchemyError as error:
                if not passing(error):
                    log.exception("studies cannot go on, trying again in %s s", FOLLOW_SECONDS)
                DATABASE.away(log, error)
            ended.wait(FOLLOW_SECONDS)

    thread = threading.Thread(target=run, name="studies", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)
