"""Faults of single problems: what the method raises for one problem sets that problem aside and spares its shard.

Only calls of pure functions of the method stand inside ``ProblemErrors.of``. Engines, databases, leases, cancellations
and children keep their own ways (workers.runner), and so do errors that say something of the process: see ``_PROCESS``.

A shard bears ``bearable(problems)`` such problems over all its stages: 5 % of them, and always one. So a shard of 1 to
39 problems bears one: where a fault of the program meets every problem, shards of several fail as a whole, and a job of
shards of one problem fails because no problem is left.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from errata.funnel import Funnel
from errata.types import Reason
from models.base import storable
from models.events import record_shard_event
from models.jobs import ProblemError, ProblemOutcome
from models.leases import Lease
from models.session import insert_ignore
from models.states import Stage
from workers.engines.base import Cancelled, EngineError
from workers.stages.ledger import add_counts

_PROCESS = (MemoryError, SQLAlchemyError, EngineError, Cancelled, OSError)
_MESSAGE, _TRACE = 2000, 8000  # characters kept
_AFTER_GRADE = frozenset({Stage.EDIT, Stage.CONTINUE, Stage.PROVE, Stage.PAIR})


class TooManyProblemErrors(RuntimeError):
    """More problems of a shard raised than it bears; the first error is the cause."""


def bearable(problems: int) -> int:
    """How many problems of a shard may be set aside before the shard fails."""
    return max(1, problems * 5 // 100)


@dataclass
class ProblemErrors:
    """The problems of a shard that were set aside: ``earlier`` ones by other stages, ``found`` ones by this one."""

    problems: int = 1
    earlier: frozenset[str] = frozenset()
    found: dict[str, Exception] = field(default_factory=dict)

    def expect(self, problems: int, earlier: frozenset[str]) -> None:
        """The shard has so many problems, of which these were set aside before."""
        self.problems, self.earlier = problems, earlier

    def __contains__(self, problem_id: object) -> bool:
        return problem_id in self.found or problem_id in self.earlier

    @contextmanager
    def of(self, problem_id: str) -> Iterator[None]:
        """Set the problem aside where the block raises; ask ``problem_id in errors`` behind it.

        Raises TooManyProblemErrors where the shard bears no more, and what ``_PROCESS`` lists as it is.
        """
        try:
            yield
        except _PROCESS:
            raise
        except Exception as error:
            self.found.setdefault(problem_id, error)
            count, most = len(self.earlier | self.found.keys()), bearable(self.problems)
            if count > most:
                told = f"{count} of {self.problems} problems raised errors, and the shard bears {most}"
                raise TooManyProblemErrors(f"{told}; the last: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Type and message in one line."""
    return "".join(traceback.format_exception_only(error)).strip()[:_MESSAGE]


def store_errors(session: Session, lease: Lease, errors: ProblemErrors, *, in_funnel: bool) -> None:
    """Write what this stage set aside, in its fenced transaction; ``in_funnel``: the shard is an injection job's.

    The stage counts its own items of such a problem (samples, steps, edits); here the problem itself is counted.
    """
    if not errors.found:
        return
    insert_ignore(session, ProblemError, [_row(lease, *each) for each in errors.found.items()])
    for problem_id, error in errors.found.items():
        told = describe(error)[:500]
        record_shard_event(session, lease, "problem_failed", problem=problem_id, error=told)
    if not in_funnel:
        return
    dropped = {"outcome": "dropped", "reason": str(Reason.ERROR)}
    owner = {"job_id": lease.owner_id, "shard_id": lease.shard_id}
    part = Funnel()
    if lease.stage == Stage.SAMPLE:
        insert_ignore(session, ProblemOutcome, [{**owner, "problem_id": id_, **dropped} for id_ in errors.found])
        part.add("problems", "dropped", Reason.ERROR, count=len(errors.found))
    elif lease.stage in _AFTER_GRADE:
        mine = ProblemOutcome.problem_id.in_(list(errors.found))
        session.execute(update(ProblemOutcome).where(ProblemOutcome.job_id == lease.owner_id, mine).values(**dropped))
        part.add("problems", "kept", count=-len(errors.found))
        part.add("problems", "dropped", Reason.ERROR, count=len(errors.found))
    add_counts(session, lease, part)


def _row(lease: Lease, problem_id: str, error: Exception) -> dict[str, Any]:
    trace = "".join(traceback.format_exception(error))
    return {
        "shard_id": lease.shard_id,
        "problem_id": problem_id,
        "stage": str(lease.stage),
        "type": type(error).__name__[:200],
        # A text of the database holds no NUL, and an error may quote one.
        "message": storable(describe(error)),
        "trace": storable(trace[-_TRACE:]),
    }


def without(rows: Sequence[dict[str, Any]], errors: ProblemErrors) -> list[dict[str, Any]]:
    """The rows of problems that are not set aside."""
    return [row for row in rows if row["problem_id"] not in errors]
