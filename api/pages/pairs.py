"""Browsing a job's pairs: which ones, a page of them, the values to filter by, and the neighbors of one.

Order is that of ``/v1/pairs``, oldest first: every filter has an index that ends in it, so that previous, next and
paging cost the same at any depth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast, get_args
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_
from sqlalchemy.orm import Session

from api.http.rows import PageRequest, at_row, cursor_of, paginate, rows_behind
from api.pages.diff import Diff, Run, diff, excerpt, plain
from api.pages.format import short, visible
from errata.proof import is_consistent
from errata.types import Domain, EvidenceKind
from models.curation import ReviewFilter, needs_index_first, review_condition
from models.jobs import InjectionJob, PairRow, SolutionRow
from models.workspaces import ProblemSet

PAGE = 40
SEARCHED = 20_000  # pairs that one look for a text goes through: no index helps, and a page must answer at once
REVIEWS = get_args(ReviewFilter)
COUNT_LIMIT = 10_000
_EXAMPLES = 12  # pairs of a job that the overview chooses its example from
_LONGEST_EXAMPLE = 5_000  # characters of a solution whose equations are read for it
_ORDER = (PairRow.created_at, PairRow.id)
#: A filter's name in addresses -> what it compares.
_COLUMNS: dict[str, Any] = {
    "type": PairRow.type,
    "kind": PairRow.error_kind,
    "editor": PairRow.editor,
    "evidence": PairRow.evidence_kind,
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pairs of a job to show; None: all."""

    type: str | None = None
    kind: str | None = None
    editor: str | None = None
    evidence: str | None = None
    review: str | None = None
    q: str | None = None

    @property
    def values(self) -> dict[str, str]:
        """What is filtered, by name; empty when all pairs are shown."""
        return {name: value for name in (*_COLUMNS, "review", "q") if (value := getattr(self, name))}

    def clauses(self, job_id: str) -> list[ColumnElement[bool]]:
        """As SQL conditions, the job's included; the text that is searched is not among them."""
        found = [PairRow.job_id == job_id]
        found += [_COLUMNS[name] == value for name, value in self.values.items() if name in _COLUMNS]
        return found if self.review is None else [*found, review_condition(cast(ReviewFilter, self.review))]

    def query(self, **changes: str | None) -> str:
        """As a query string ("?kind=operator" or ""), with some values changed; None removes one."""
        values = {name: value for name, value in (self.values | changes).items() if value}
        return "?" + urlencode(values) if values else ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter; ``href`` selects it, or clears it when it is selected."""

    label: str
    count: int
    selected: bool
    href: str


@dataclass(frozen=True, slots=True)
class PairExcerpt:
    """A pair in a list: the changed spot of both sides, with a little around it."""

    row: PairRow
    question: str
    chosen: tuple[Run, ...]
    rejected: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a pair stands among the job's pairs that pass the filter; ``total`` stops at ``COUNT_LIMIT``."""

    previous: str | None
    next: str | None
    index: int
    total: int


def page_of(
    session: Session, job_id: str, filters: Filters, after: str | None = None, limit: int = PAGE
) -> tuple[list[PairExcerpt], str | None]:
    """Up to ``limit`` pairs behind the cursor ``after``, and the next cursor. Raises Invalid for what is no cursor."""
    clauses = filters.clauses(job_id)
    query = select(PairRow).where(*clauses)
    if filters.q:
        return _search(session, query, filters, clauses, PageRequest(limit, after))
    found = paginate(session, query, _ORDER, PageRequest(limit, after), index_first=needs_index_first(filters.review))
    return [_excerpt(row) for row in found.rows], found.next


def _search(
    session: Session, query: Select[Any], filters: Filters, clauses: Sequence[ColumnElement[bool]], page: PageRequest
) -> tuple[list[PairExcerpt], str | None]:
    """As ``page_of``, of the next ``SEARCHED`` pairs those that hold the text; the cursor goes on behind them."""
    behind = [] if page.after is None else [rows_behind(_ORDER, page.after)]
    keys = select(*_ORDER).where(*clauses, *behind).order_by(*_ORDER)
    end = session.execute(keys.offset(SEARCHED - 1).limit(1)).one_or_none()
    texts = (PairRow.question, PairRow.chosen, PairRow.rejected)
    holds = or_(*(text.icontains(filters.q, autoescape=True) for text in texts))
    query = query.where(holds)
    if end is not None:
        query = query.where(tuple_(*_ORDER) <= tuple_(*at_row(_ORDER, end)))
    found = paginate(session, query, _ORDER, page)
    further = None if end is None else cursor_of(_ORDER, end)
    return [_excerpt(row) for row in found.rows], found.next or further


def sound_step_pair(session: Session, job_ids: Sequence[str]) -> PairExcerpt | None:
    """A step pair whose solution holds, of the first of ``job_ids`` that has one among its first few; else None.

    A solution may reach the right answer by a false calculation: its pair is stored, but it is no example. One that is
    proven by replay comes first, because every value behind its edit was followed.
    """
    for job_id in job_ids:
        query = (
            select(PairRow, SolutionRow.text, ProblemSet.domain)
            .join(SolutionRow, SolutionRow.id == PairRow.solution_id)
            .join(InjectionJob, InjectionJob.id == PairRow.job_id)
            .join(ProblemSet, ProblemSet.id == InjectionJob.problem_set_id)
            .where(PairRow.job_id == job_id, PairRow.type == "step")
            .order_by(*_ORDER)
        )
        rows = session.execute(query.limit(_EXAMPLES))
        found = [row for row, solution, domain in rows if domain != Domain.MATH or _holds(solution)]
        if found:
            return _excerpt(min(found, key=lambda row: row.evidence_kind != EvidenceKind.REPLAY))
    return None


@lru_cache(maxsize=256)  # the overview asks again every few seconds
def _holds(solution: str) -> bool:
    try:
        return is_consistent(solution[:_LONGEST_EXAMPLE])
    except (ArithmeticError, RecursionError, ValueError):  # of one text: it is no example, and the page goes on
        return False


def _excerpt(row: PairRow) -> PairExcerpt:
    chosen, rejected = visible(row.chosen), visible(row.rejected)
    # Two whole solutions differ in a hundred ways: only an edit is marked.
    changed = Diff(plain(chosen), plain(rejected)) if row.type == "full" else diff(chosen, rejected)
    return PairExcerpt(row, short(row.question, 240), excerpt(changed.chosen), excerpt(changed.rejected))


def choices(session: Session, job_id: str, filters: Filters) -> dict[str, list[Choice]]:
    """Values each filter can take among the job's first ``COUNT_LIMIT`` pairs, with their counts there."""
    some = select(*_COLUMNS.values()).where(PairRow.job_id == job_id).order_by(*_ORDER).limit(COUNT_LIMIT).subquery()
    # One look at those pairs for all filters: their values come together in few ways.
    counts: dict[str, Counter[str]] = {name: Counter() for name in _COLUMNS}
    for *values, count in session.execute(select(*some.c, func.count()).group_by(*some.c)):
        for name, value in zip(_COLUMNS, values, strict=True):
            if value is not None:
                counts[name][value] += count
    found: dict[str, list[Choice]] = {}
    for name, counted in counts.items():
        chosen = getattr(filters, name)
        found[name] = []
        for value, count in sorted(counted.items(), key=lambda row: (-row[1], row[0])):
            href = f"/jobs/{job_id}/pairs{filters.query(**{name: None if value == chosen else value})}"
            found[name].append(Choice(value, count, value == chosen, href))
    return found


def position(session: Session, row: PairRow, filters: Filters) -> Position:
    """Neighbors and number of a pair under a filter; the pair itself need not pass it."""
    ids = select(PairRow.id).where(*filters.clauses(row.job_id))
    keys, here = tuple_(*_ORDER), tuple_(*at_row(_ORDER, (row.created_at, row.id)))
    backwards = (key.desc() for key in _ORDER)
    return Position(
        previous=session.scalar(ids.where(keys < here).order_by(*backwards).limit(1)),
        next=session.scalar(ids.where(keys > here).order_by(*_ORDER).limit(1)),
        index=_count(session, ids.where(keys <= here)),
        total=_count(session, ids),
    )


def _count(session: Session, ids: Select[str]) -> int:
    # A count without a limit would read every pair of the job for one small number. Without the order, PostgreSQL may
    # go through the table in the hope of finding so many early, and read the pairs of every older job.
    some = ids.order_by(*_ORDER).limit(COUNT_LIMIT)
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0
