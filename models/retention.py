"""What is deleted because it is old: one :class:`Rule` per kind of row, each with the setting that says how old.

To add a kind, add a rule to ``RULES`` and its setting to ``WorkerSettings`` (a field, and its name in ``retention``).
The sweeper and ``errata purge`` apply every rule whose setting is given; what no setting names is kept for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, inspect, or_, select, text, tuple_, update
from sqlalchemy.orm import aliased

from errata.types import Verdict
from models.access import AuditEntry, BrowserSession
from models.base import Base, db_now
from models.cached_answers import CachedAnswer
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.leases import OWNERS
from models.outputs import Event, Rejudging, TrainingRun, VerdictChangeRow
from models.session import Database
from models.states import TERMINAL
from models.studies import Campaign, Study
from models.workspaces import DELETED_WORKSPACE, IdempotencyKey

_ROWS = 2_000  # per transaction
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows that go when they are older than a setting says.

    ``old(days)`` says which; ``told`` what they are, for people.
    """

    name: str
    setting: str
    told: str
    table: type[Base]
    old: Callable[[float], ColumnElement[bool]]


def _old_events(days: float) -> ColumnElement[bool]:
    """Events of what has ended or is gone: of what goes on, the whole history is kept."""
    subjects = [*(table for _, table in OWNERS), TrainingRun, Study, Campaign]
    goes_on = [exists().where(table.id == Event.subject_id, table.state.not_in(sorted(TERMINAL))) for table in subjects]
    return and_(Event.created_at < db_now(-_DAY * days), ~or_(*goes_on))


def _old_jobs(days: float) -> Select[Any]:
    """Jobs that ended so long ago, whose samples are all there and are neither being judged again nor added to."""
    added = aliased(InjectionJob)
    of_it = or_(added.extends == InjectionJob.id, added.retry_of == InjectionJob.id)
    extended = exists().where(of_it, added.state.not_in(sorted(TERMINAL)))
    judged = exists().where(Rejudging.injection_job_id == InjectionJob.id, Rejudging.state.not_in(sorted(TERMINAL)))
    return select(InjectionJob.id).where(
        InjectionJob.state.in_(sorted(TERMINAL)),
        InjectionJob.finished_at < db_now(-_DAY * days),
        InjectionJob.samples_deleted_at.is_(None),
        InjectionJob.workspace_id != DELETED_WORKSPACE,
        ~judged,
        ~extended,
    )


def _unused_edits(jobs: Any) -> ColumnElement[bool]:
    return and_(EditRow.job_id.in_(jobs), ~exists().where(PairRow.edit_id == EditRow.id))


def _unused_samples(jobs: Any) -> ColumnElement[bool]:
    """Samples that are not correct: datasets are frozen from pairs and correct samples, and are to stay the same."""
    used = (
        exists().where(PairRow.solution_id == SolutionRow.id),
        exists().where(PairRow.rejected_solution_id == SolutionRow.id),
        exists().where(VerdictChangeRow.solution_id == SolutionRow.id),
    )
    wrong = or_(SolutionRow.verdict.is_(None), SolutionRow.verdict != Verdict.CORRECT)
    return and_(SolutionRow.job_id.in_(jobs), wrong, ~or_(*used))


#: In the order in which rows can go.
RULES: tuple[Rule, ...] = (
    Rule(
        "idempotency_keys",
        "idempotency_days",
        "keys of requests that may come again",
        IdempotencyKey,
        lambda days: IdempotencyKey.created_at < db_now(-_DAY * days),
    ),
    # Nothing is done with a session that has expired; it lies about for as long as such a key, which is days.
    Rule(
        "sessions",
        "idempotency_days",
        "sign-ins that have expired",
        BrowserSession,
        lambda days: BrowserSession.expires_at < db_now(-_DAY * days),
    ),
    Rule(
        "audit",
        "audit_days",
        "entries of the audit log",
        AuditEntry,
        lambda days: AuditEntry.created_at < db_now(-_DAY * days),
    ),
    Rule(
        "answers",
        "cache_days",
        "answers kept for the same requests, and not used again",
        CachedAnswer,
        lambda days: CachedAnswer.used_at < db_now(-_DAY * days),
    ),
    Rule("events", "event_days", "events of what has ended", Event, _old_events),
    Rule(
        "edits",
        "sample_days",
        "edits that gave no pair, of jobs that have ended",
        EditRow,
        lambda days: _unused_edits(_old_jobs(days)),
    ),
    Rule(
        "samples",
        "sample_days",
        "samples that are not correct and in no pair, of jobs that have ended",
        SolutionRow,
        lambda days: _unused_samples(_old_jobs(days)),
    ),
)
_OF_JOBS: dict[type[Base], Callable[[Any], ColumnElement[bool]]] = {
    EditRow: _unused_edits,
    SolutionRow: _unused_samples,
}


def count_old(db: Database, days: Mapping[str, float | None]) -> dict[str, int]:
    """How many rows each rule would delete now; ``days`` by setting. Changes nothing."""
    with db.read() as session:
        return {
            rule.name: session.scalar(select(func.count()).select_from(rule.table).where(rule.old(limit))) or 0
            for rule in RULES
            if (limit := days.get(rule.setting)) is not None
        }


def delete_old(db: Database, days: Mapping[str, float | None], seconds: float = float("inf")) -> dict[str, int]:
    """Delete what the rules name, in small transactions, for about ``seconds``: rows that went, by rule.

    Raises what the database raises; what is gone by then stays gone, and the next call goes on.
    """
    until, gone = time.monotonic() + seconds, {}
    for rule in RULES:
        limit = days.get(rule.setting)
        if limit is not None and rule.table not in _OF_JOBS:
            gone[rule.name] = _delete(db, rule.table, rule.old(limit), until)
    if (limit := days.get("sample_days")) is not None:
        of_jobs = {rule.name: rule.table for rule in RULES if rule.table in _OF_JOBS}
        gone |= dict.fromkeys(of_jobs, 0)
        with db.read() as session:
            jobs = list(session.scalars(_old_jobs(limit).order_by(InjectionJob.finished_at)))
        for job_id in jobs:
            for name, table in of_jobs.items():
                gone[name] += _delete(db, table, _OF_JOBS[table]([job_id]), until)
            if time.monotonic() > until:
                break
            # Last, so that a deletion that is interrupted goes on with this job.
            with db.begin() as session:
                session.execute(
                    update(InjectionJob).where(InjectionJob.id == job_id).values(samples_deleted_at=db_now())
                )
    return gone


def _delete(db: Database, table: type[Base], condition: ColumnElement[bool], until: float) -> int:
    keys = inspect(table).primary_key
    key = keys[0] if len(keys) == 1 else tuple_(*keys)
    some = delete(table).where(key.in_(select(*keys).where(condition).limit(_ROWS)))
    gone = 0
    while time.monotonic() <= until:
        with db.begin() as session:
            result: Any = session.execute(some.execution_options(synchronize_session=False))
        gone += result.rowcount
        if result.rowcount < _ROWS:
            break
    return gone


def compact(db: Database) -> None:
    """Give space back: SQLite's file is written anew; PostgreSQL vacuums, so that later rows take the space.

    On SQLite nobody can write meanwhile. Raises ``sqlalchemy.exc.OperationalError``, on a full disk for example.
    """
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT", sqlite_begin="DEFERRED") as connection:
        if db.is_postgres:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM (ANALYZE)"))
            return
    raw = db.engine.raw_connection()
    try:
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.close()
