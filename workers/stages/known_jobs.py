"""What never changes about a job, kept between the stages of its shards: its configuration is read and checked once.

A job's configuration is fixed when it is accepted, all but its limits (``stop``), which are read anew for every stage.
So are the model that it names and the limit that it reached.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from errata.types import Domain
from models.jobs import InjectionJob
from models.workspaces import ProblemSet

_KEPT = 64  # jobs of one database: more than a worker has shards of at once
_lock = threading.Lock()
_known: WeakKeyDictionary[Any, OrderedDict[str, KnownJob]] = WeakKeyDictionary()


@dataclass(frozen=True)
class KnownJob:
    """What of an injection job is the same at every stage; ``config.stop`` is not."""

    workspace_id: str
    problem_set_id: str
    config: InjectionConfig
    domain: Domain
    prompt_versions: Mapping[str, str]
    extends: str | None
    takes_over: bool


def known_job(session: Session, job_id: str) -> KnownJob:
    """The job as this process knows it, read from the database the first time. Raises NoResultFound."""
    bind = session.get_bind()
    with _lock:
        jobs = _known.setdefault(bind, OrderedDict())
        if job_id in jobs:
            jobs.move_to_end(job_id)
            return jobs[job_id]
    found = _read(session, job_id)
    with _lock:
        jobs[job_id] = found
        while len(jobs) > _KEPT:
            jobs.popitem(last=False)
    return found


def _read(session: Session, job_id: str) -> KnownJob:
    row = session.get_one(InjectionJob, job_id)
    domain = Domain(session.get_one(ProblemSet, row.problem_set_id).domain)
    takes_over = "edits_per_solution" in (row.extension or {})
    named = (row.workspace_id, row.problem_set_id, InjectionConfig.model_validate(row.config), domain)
    return KnownJob(*named, dict(row.prompt_versions or {}), row.extends, takes_over)
