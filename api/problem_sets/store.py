"""Problem sets in the database: one set per content, found again or inserted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.http.errors import Conflict
from api.problem_sets.ingest import ProblemFile
from api.problem_sets.shapes import reference_text
from api.quotas import admit_problems
from models.base import new_ids
from models.session import insert_ignore
from models.workspaces import BroughtSolution, ProblemRow, ProblemSet

REFERENCE = "reference"
"""The source of solutions that came with their problems."""
_WAIT_SECONDS = 50  # for another request that inserts the same content; less than a statement may take
_LOCK_NOT_AVAILABLE = "55P03"
_BATCH = 2000


@dataclass(frozen=True)
class Identity:
    """What makes two uploads one problem set, besides their content."""

    workspace_id: str
    name: str
    domain: str
    benchmark: bool = False


@dataclass(frozen=True)
class Origin:
    """On what terms problems may be used and where they come from, as far as their sender tells."""

    license: str | None = None
    source_url: str | None = None

    def adds_to(self, known: ProblemSet) -> bool:
        """Whether it tells anything that a set does not tell yet."""
        return bool((self.license and not known.license) or (self.source_url and not known.source_url))


def find_by_upload(session: Session, identity: Identity, upload_sha256: str) -> ProblemSet | None:
    """The set that the very same upload made."""
    return session.scalars(_of(identity).where(ProblemSet.upload_sha256 == upload_sha256)).first()


def store_problem_set(
    session: Session, identity: Identity, upload_sha256: str, problems: ProblemFile
) -> tuple[str, bool]:
    """Insert a set and its problems in the caller's transaction, unless one with this content is there.

    Its id, and whether it is new. Of equal requests at once the first inserts and the others wait for it. Raises
    Conflict where that takes too long.
    """
    _lock(session, identity, problems.content_sha256)
    found = session.scalars(_of(identity).where(ProblemSet.content_sha256 == problems.content_sha256)).first()
    if found is not None:
        return found.id, False
    admit_problems(session, identity.workspace_id, problems.count)
    session.add(
        ProblemSet(
            id=problems.set_id,
            workspace_id=identity.workspace_id,
            name=identity.name,
            domain=identity.domain,
            benchmark=identity.benchmark,
            problem_count=problems.count,
            content_sha256=problems.content_sha256,
            upload_sha256=upload_sha256,
            rejected=problems.bad.listed(),
            rejected_count=problems.bad.count,
            notes=problems.notes.listed(),
        )
    )
    session.flush()
    problems.rows.insert(session)
    return problems.set_id, True


def tell_origin(session: Session, problem_set_id: str, origin: Origin) -> None:
    """Keep licence and source where the set has none yet; what was told first stays."""
    told = {name: value for name, value in asdict(origin).items() if value}
    if told:
        stored = {name: func.coalesce(getattr(ProblemSet, name), value) for name, value in told.items()}
        session.execute(update(ProblemSet).where(ProblemSet.id == problem_set_id).values(stored))


def bring_references(session: Session, problem_set_id: str) -> int:
    """Bring the solutions that the set's problems came with, as solutions of one source; how many are new."""
    query = select(
        ProblemRow.id, ProblemRow.position, ProblemRow.gold_answer, ProblemRow.gold_solution, ProblemRow.meta
    )
    query = query.where(ProblemRow.problem_set_id == problem_set_id).order_by(ProblemRow.position).limit(_BATCH)
    after, added = -1, 0
    while rows := session.execute(query.where(ProblemRow.position > after)).all():
        after = rows[-1].position
        added += insert_ignore(session, BroughtSolution, list(_references(problem_set_id, rows)))
    return added


def _references(problem_set_id: str, rows: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for row_id, row in zip(new_ids("bro", len(rows)), rows, strict=True):
        problem: Mapping[str, Any] = row._mapping
        if (solution := reference_text(problem)) is not None:
            yield {
                "id": row_id,
                "problem_set_id": problem_set_id,
                "problem_id": problem["id"],
                "source": REFERENCE,
                "text": solution,
                "label": None,
            }


def _of(identity: Identity) -> Select[ProblemSet]:
    query = select(ProblemSet).where(
        ProblemSet.workspace_id == identity.workspace_id,
        ProblemSet.name == identity.name,
        ProblemSet.domain == identity.domain,
        ProblemSet.benchmark == identity.benchmark,
    )
    return query.order_by(ProblemSet.created_at, ProblemSet.id).limit(1)


def _lock(session: Session, identity: Identity, content_sha256: str) -> None:
    """Wait until nobody else inserts this content. (SQLite lets only one transaction write at all.)"""
    if session.get_bind().dialect.name != "postgresql":
        return
    key = f"{identity.workspace_id} {content_sha256}"
    session.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'"))
    try:
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Conflict("another request is storing the same problems", headers={"Retry-After": "5"}) from None
    session.execute(text("SET LOCAL lock_timeout = '10s'"))
