"""Problem sets in the database: one set per content, found again or inserted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.http.errors import Conflict, Unavailable
from api.problem_sets.ingest import ProblemFile
from api.problem_sets.shapes import reference_text
from api.quotas import admit_problems
from models.base import new_ids
from models.receiving import Receiving, ReceivingLost
from models.session import Database, insert_ignore
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

    Of problems that are stored already the set is shown.

    Its id, and whether it is new. Of equal requests at once the first inserts and the others wait for it. Raises
    Conflict where that takes too long.
    """
    _lock(session, identity, problems.content_sha256)
    found = session.scalars(_of(identity).where(ProblemSet.content_sha256 == problems.content_sha256)).first()
    if found is not None:
        return found.id, False
    admit_problems(session, identity.workspace_id, problems.count)
    values = {
        **asdict(identity),
        "problem_count": problems.count,
        "content_sha256": problems.content_sha256,
        "upload_sha256": upload_sha256,
        "rejected": problems.bad.listed(),
        "rejected_count": problems.bad.count,
        "notes": problems.notes.listed(),
    }
    if problems.receiving and problems.stored:
        _show(session, problems.receiving, values)
    else:
        session.add(ProblemSet(id=problems.set_id, **values))
        session.flush()
        problems.rows.insert(session)
    return problems.set_id, True


def _show(session: Session, receiving: Receiving, values: dict[str, Any]) -> None:
    try:
        receiving.show(session, **values)
    except ReceivingLost:
        raise Unavailable("storing the problems paused for too long; send them again") from None


def tell_origin(session: Session, problem_set_id: str, origin: Origin) -> None:
    """Keep licence and source where the set has none yet; what was told first stays."""
    told = {name: value for name, value in asdict(origin).items() if value}
    if told:
        stored = {name: func.coalesce(getattr(ProblemSet, name), value) for name, value in told.items()}
        session.execute(update(ProblemSet).where(ProblemSet.id == problem_set_id).values(stored))


def bring_references(session: Session, problem_set_id: str) -> int:
    """Bring the solutions that the set's problems came with, as solutions of one source; how many are new."""
    after: int | None = -1
    total = 0
    while after is not None:
        after, added = _bring_some(session, problem_set_id, after)
        total += added
    return total


def bring_references_early(db: Database, problems: ProblemFile) -> None:
    """The same for a set that nobody sees yet: in small transactions, so that other writers need not wait."""
    after: int | None = -1
    while after is not None:
        with db.begin() as session:
            after, _ = _bring_some(session, problems.set_id, after)


def _bring_some(session: Session, problem_set_id: str, after: int) -> tuple[int | None, int]:
    """Bring those of the next problems behind ``after``: the last position, None at the end; and how many are new."""
    row = ProblemRow
    query = select(row.id, row.position, row.gold_answer, row.gold_solution, row.meta)
    query = query.where(row.problem_set_id == problem_set_id, row.position > after).order_by(row.position)
    rows = session.execute(query.limit(_BATCH)).all()
    added = insert_ignore(session, BroughtSolution, list(_references(problem_set_id, rows)))
    return rows[-1].position if rows else None, added


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
