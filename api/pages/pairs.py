"""The pair browser's view models: one pair with its solution around it and its neighbors, and lists of pairs.

Order is by ``pair_key`` within a job, which has a unique index: previous, next and paging cost the same at any depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from api.pages.diff import Diff, Run, diff, excerpt, plain
from api.pages.proof import Proof, proof_of
from api.pages.text import short, visible
from errata.steps import split_steps
from errata.types import Domain, Step
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.workspaces import ProblemRow, ProblemSet

PAGE = 40
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pairs of a job to show; None: all."""

    type: str | None = None
    kind: str | None = None
    evidence: str | None = None

    def clauses(self, job_id: str) -> list[ColumnElement[bool]]:
        """As SQL conditions, the job's included."""
        wanted = [PairRow.job_id == job_id]
        for column, value in (
            (PairRow.type, self.type),
            (PairRow.error_kind, self.kind),
            (PairRow.evidence_kind, self.evidence),
        ):
            if value is not None:
                wanted.append(column == value)
        return wanted

    def query(self, **changes: str | None) -> str:
        """As a query string ("?kind=operator" or ""), with some values changed; None removes one."""
        values = {"type": self.type, "kind": self.kind, "evidence": self.evidence} | changes
        set_values = {name: value for name, value in values.items() if value}
        return "?" + urlencode(set_values) if set_values else ""

    @property
    def any(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.type or self.kind or self.evidence)


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter; ``href`` selects it, or clears it when it is selected."""

    label: str
    count: int
    selected: bool
    href: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A step of a solution for display; ``number`` counts from 1, None where it is not a step of its own."""

    number: int | None
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class PairLine:
    """A pair in a list: the changed spot of both sides, with a little around it."""

    id: str
    type: str
    kind: str | None
    evidence: str | None
    distance: int | None
    question: str
    chosen: tuple[Run, ...]
    rejected: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pair stands among the job's pairs that pass the filter; ``total`` stops at ``COUNT_LIMIT``."""

    previous: str | None
    next: str | None
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class PairView:
    """Everything the page of one pair shows. ``changed`` is None for a full pair: two solutions, not an edit."""

    row: PairRow
    job_name: str
    question: str
    earlier: tuple[Piece, ...]
    later: tuple[Piece, ...]
    changed: Diff | None
    chosen: tuple[Piece, ...]
    rejected: tuple[Piece, ...]
    proof: Proof
    gold_answer: str
    chosen_answer: str | None
    rejected_answer: str | None
    provenance: tuple[tuple[str, str], ...]

    @property
    def step_number(self) -> int | None:
        """The edited step, counted from 1."""
        return None if self.row.step_index is None else self.row.step_index + 1


def page_of(
    session: Session, job_id: str, filters: Filters, after: str | None = None, limit: int = PAGE
) -> tuple[list[PairLine], str | None]:
    """Up to ``limit`` pairs behind the pair with id ``after``, and the id to continue after."""
    query = select(PairRow).where(*filters.clauses(job_id))
    if after and (key := session.scalar(select(PairRow.pair_key).where(PairRow.id == after, PairRow.job_id == job_id))):
        query = query.where(PairRow.pair_key > key)
    rows = session.scalars(query.order_by(PairRow.pair_key).limit(limit + 1)).all()
    lines = [_line(row) for row in rows[:limit]]
    return lines, rows[limit - 1].id if len(rows) > limit else None


def newest_sample(session: Session, job_ids: Sequence[str]) -> tuple[str, PairLine] | None:
    """The first step pair of the first of ``job_ids`` that has one, with its job."""
    for job_id in job_ids:
        query = select(PairRow).where(*Filters(type="step").clauses(job_id)).order_by(PairRow.pair_key).limit(1)
        if (row := session.scalars(query).first()) is not None:
            return job_id, _line(row)
    return None


def _line(row: PairRow) -> PairLine:
    chosen, rejected = visible(row.chosen), visible(row.rejected)
    # Two whole solutions differ in a hundred ways: only an edit is marked.
    changed = Diff(plain(chosen), plain(rejected)) if row.type == "full" else diff(chosen, rejected)
    return PairLine(
        id=row.id,
        type=row.type,
        kind=row.error_kind,
        evidence=row.evidence_kind,
        distance=row.distance,
        question=short(row.question, 240),
        chosen=excerpt(changed.chosen),
        rejected=excerpt(changed.rejected),
    )


def choices(session: Session, job_id: str, filters: Filters) -> dict[str, list[Choice]]:
    """Values each filter can take among the job's first ``COUNT_LIMIT`` pairs, with their counts there."""
    columns: dict[str, Any] = {
        "type": PairRow.type,
        "kind": PairRow.error_kind,
        "evidence": PairRow.evidence_kind,
    }
    some = select(*columns.values()).where(PairRow.job_id == job_id).order_by(PairRow.pair_key).limit(COUNT_LIMIT)
    found: dict[str, list[Choice]] = {}
    for name, column in columns.items():
        inner = some.subquery()
        values = inner.c[column.key]
        counted = session.execute(select(values, func.count()).where(values.is_not(None)).group_by(values))
        found[name] = [
            Choice(value, count, value == getattr(filters, name), _toggled(job_id, filters, name, value))
            for value, count in sorted(counted.all(), key=lambda row: (-row[1], row[0]))
        ]
    return found


def _toggled(job_id: str, filters: Filters, name: str, value: str) -> str:
    """The list with this filter value chosen, or without it where it is chosen already."""
    chosen = getattr(filters, name) == value
    return f"/jobs/{job_id}/pairs{filters.query(**{name: None if chosen else value})}"


def place(session: Session, row: PairRow, filters: Filters) -> Place:
    """Neighbors and position of a pair under a filter; the pair itself need not pass it."""
    clauses = filters.clauses(row.job_id)
    ids = select(PairRow.id).where(*clauses)
    before, behind = PairRow.pair_key < row.pair_key, PairRow.pair_key > row.pair_key
    earlier = select(PairRow.id).where(*clauses, PairRow.pair_key <= row.pair_key)
    return Place(
        previous=session.scalar(ids.where(before).order_by(PairRow.pair_key.desc()).limit(1)),
        next=session.scalar(ids.where(behind).order_by(PairRow.pair_key).limit(1)),
        index=_count(session, earlier),
        total=_count(session, ids),
    )


def _count(session: Session, ids: Any) -> int:
    return session.scalar(select(func.count()).select_from(ids.limit(COUNT_LIMIT).subquery())) or 0


def pair_view(session: Session, row: PairRow) -> PairView:
    """One pair with what surrounds it: the solution's other steps, both answers, how it was made and proven."""
    job = session.get_one(InjectionJob, row.job_id)
    solution = session.get_one(SolutionRow, row.solution_id)
    rejected = session.get(SolutionRow, row.rejected_solution_id) if row.rejected_solution_id else None
    edit = session.get(EditRow, row.edit_id) if row.edit_id else None
    problem = session.get_one(ProblemRow, row.problem_id)
    domain = Domain(session.get_one(ProblemSet, problem.problem_set_id).domain)
    whole = row.type == "full"
    earlier, later = ((), ()) if whole else _around(row, solution, domain)
    return PairView(
        row=row,
        job_name=job.name or job.id,
        question=visible(row.question),
        earlier=earlier,
        later=later,
        changed=None if whole else diff(visible(row.chosen), visible(row.rejected)),
        chosen=_whole(row.chosen, domain) if whole else (),
        rejected=_whole(row.rejected, domain) if whole else (),
        proof=proof_of(row.evidence_kind, row.evidence or {}, row.type),
        gold_answer=visible(problem.gold_answer),
        chosen_answer=visible(solution.extracted) if solution.extracted else None,
        rejected_answer=visible(rejected.extracted) if rejected and rejected.extracted else None,
        provenance=tuple(_provenance(row, solution, edit)),
    )


def _around(row: PairRow, solution: SolutionRow, domain: Domain) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """The solution's steps before the edited one and behind it, as they stand in the stored solution.

    Later steps are left out where the pair's sides already hold what follows (mode ``dynamic``).
    """
    steps = split_steps(solution.text, domain)
    if row.start is None or row.end is None or row.step_index is None:
        return (), ()
    if not (row.step_index < len(steps) and steps[row.step_index].start == row.start):
        # Cut by rules that have changed since: show the text around the edit without step numbers.
        return (Piece(None, plain(visible(row.prefix.strip()))),), ()
    follows = row.chosen == solution.text[row.start : row.end]
    later = steps[row.step_index + 1 :] if follows else ()
    return _pieces(solution.text, steps[: row.step_index], preamble=True), _pieces(solution.text, later)


def _pieces(text: str, steps: Sequence[Step], *, preamble: bool = False) -> tuple[Piece, ...]:
    shown = [Piece(step.index + 1, plain(visible(text[step.start : step.end].strip()))) for step in steps]
    before = text[: steps[0].start].strip() if steps else ""
    if preamble and before:
        shown.insert(0, Piece(None, plain(visible(before))))
    return tuple(shown)


def _whole(text: str, domain: Domain) -> tuple[Piece, ...]:
    return _pieces(text, split_steps(text, domain), preamble=True)


def _provenance(row: PairRow, solution: SolutionRow, edit: EditRow | None) -> Sequence[tuple[str, str]]:
    by_model = row.language_model is not None
    facts = [
        ("Solution by", solution.source),
        ("Edited by", None if row.type == "full" else row.language_model or row.prompt_version),
        ("Prompt", row.prompt_version if by_model else None),
        ("Seed", None if row.seed is None else str(row.seed)),
        ("Replies needed", str(len(edit.attempts)) if edit and len(edit.attempts) > 1 else None),
        ("Characters", None if row.start is None or row.end is None else f"{row.start}–{row.end} of the solution"),
    ]
    return [(label, short(value)) for label, value in facts if value]
