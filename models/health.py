"""What the service needs, part by part: whether it is there, and what to do where it is not.

Nothing here tells of jobs, names of models or paths: anybody may ask the API for it (``/readyz``).
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import exists, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from models import migrate
from models.files import FileStore
from models.heartbeats import ProcessBeat, heard
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import Workspace

State = Literal["ok", "degraded", "failing"]
GIBIBYTE = 1024**3
_KEPT_SECONDS = 5.0
_ROLES = {
    "generation": ("jobs that ask a language model wait", "start `errata worker --queues generation`"),
    "grading": ("every job waits", "start `errata worker --queues grading`"),
    "sweeper": ("what dead workers held is not requeued, and no webhook is sent", "start `errata sweeper`"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service. ``failing``: nothing works without it. ``degraded``: something waits or soon will."""

    name: str
    state: State
    detail: str
    remedy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def overall(parts: Iterable[Part]) -> State:
    """The worst state of them."""
    states: set[State] = {part.state for part in parts}
    return "failing" if "failing" in states else "degraded" if "degraded" in states else "ok"


def check_database(db: Database) -> list[Part]:
    """The parts ``database`` and ``migrations``. Raises SQLAlchemyError where the database cannot be reached."""
    with db.read() as session:
        if not inspect(session.connection()).has_table(Workspace.__tablename__):
            return [Part("database", "ok", "it answers"), _behind("it has no tables")]
        session.scalar(select(exists(select(Workspace.id))))
        revision = migrate.revision(session.connection())
    found = {"head": None, "behind": _behind("its schema is older than this version")}
    current = migrate.standing(revision)
    if current == "newer":
        told = Part("migrations", "ok", "the schema is of a newer version, as it is amid an upgrade")
    elif current == "unknown":
        told = Part("migrations", "degraded", "the schema has no revision", "run `errata migrate`")
    else:
        told = found[current] or Part("migrations", "ok", "the schema is this version's")
    return [Part("database", "ok", "it answers"), told]


def _behind(detail: str) -> Part:
    return Part("migrations", "failing", detail, "run `errata migrate` of this version")


def check_broker(answers: Callable[[], bool]) -> Part:
    """Whether the broker answers. Without it jobs are accepted, and workers find them in the database, later."""
    if answers():
        return Part("broker", "ok", "it answers")
    remedy = "start the broker that BROKER_URL names; nothing is lost meanwhile"
    return Part("broker", "degraded", "the broker does not answer", remedy)


def check_storage(store: StoreSettings) -> Part:
    """Whether the file store takes files, and whether a local one has room: 1 GiB at least."""
    remedy = "make the folder or bucket of ERRATA_HOME or ERRATA_FILES_URL writable for this process"
    try:
        files = FileStore(store.files)
        files.probe(f"health-{os.getpid()}-{uuid4().hex}")
        root = files.local_root
        free = None if root is None else shutil.disk_usage(_existing(root)).free
    except Exception as error:  # every file system has its own
        return Part("storage", "failing", f"the file store cannot be written ({type(error).__name__})", remedy)
    if free is not None and free < GIBIBYTE:
        told = f"{free / GIBIBYTE:.1f} GiB are free"
        return Part("storage", "degraded", told, "free some space: freezes and checkpoints will fail")
    return Part("storage", "ok", "it can be written" + ("" if free is None else f", {free // GIBIBYTE} GiB are free"))


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def check_processes(db: Database, *, names: bool = False) -> list[Part]:
    """Workers heard per queue, the sweeper, and the part ``engine``: whether workers reach the models they need.

    ``names``: tell which engines are away. Raises SQLAlchemyError.
    """
    with db.read() as session:
        beats = heard(session)
    counts = Counter(beat.role for beat in beats)
    parts = []
    for role, (meaning, remedy) in _ROLES.items():
        name = role if role == "sweeper" else f"workers.{role}"
        if counts[role]:
            parts.append(Part(name, "ok", f"{counts[role]} heard"))
        else:
            parts.append(Part(name, "degraded", f"none was heard lately: {meaning}", remedy))
    return [*parts, _engines(beats, names=names)]


def _engines(beats: Iterable[ProcessBeat], *, names: bool) -> Part:
    away = sorted({str(name) for beat in beats for name in beat.away})
    if not away:
        return Part("engine", "ok", "no worker misses one")
    told = f"{len(away)} language models do not answer" + (f": {', '.join(away)}" if names else "")
    return Part("engine", "degraded", told, "start their servers; jobs that need them wait, and go on by themselves")


class Health:
    """The parts as they were a few seconds ago at most; the database is looked at anew each time."""

    def __init__(
        self, db: Database, store: StoreSettings, answers: Callable[[], bool], kept_seconds: float = _KEPT_SECONDS
    ) -> None:
        self._db, self._store, self._answers, self._kept_seconds = db, store, answers, kept_seconds
        self._lock = threading.Lock()
        self._slow: list[Part] = []
        self._looked_at = float("-inf")

    def parts(self) -> list[Part]:
        """Every part. Raises SQLAlchemyError where the database cannot be reached."""
        found = check_database(self._db)
        if any(part.state == "failing" for part in found):
            return found
        with self._lock:
            if time.monotonic() - self._looked_at >= self._kept_seconds:
                self._slow = [check_broker(self._answers), check_storage(self._store), *check_processes(self._db)]
                self._looked_at = time.monotonic()
            return [*found, *self._slow]


def unreachable(error: SQLAlchemyError) -> Part:
    """The part ``database`` where it cannot be reached."""
    told = f"the database cannot be reached ({type(getattr(error, 'orig', None) or error).__name__})"
    return Part("database", "failing", told, "start the database that DATABASE_URL names")
