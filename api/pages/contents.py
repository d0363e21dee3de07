"""What the counts of a job's funnel count: its problems, its solutions and its edits, each with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response
from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from api.http.routing import ApiDep
from api.http.rows import PageRequest, paginate, path_row, where_given
from api.pages.diff import Diff, diff, plain
from api.pages.format import plural, sentence, visible
from api.pages.rendering import PageRoute, Viewer, page
from errata.types import Form
from models.jobs import EditRow, InjectionJob, ProblemOutcome, SolutionRow
from models.workspaces import ProblemRow

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ROWS = 30
_DRAWN = "drawn"  # of the filter ``role``: correct or incorrect
_NAME = Query(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]


@dataclass(frozen=True, slots=True)
class Content:
    """One row of a job: what it is about, its text, and what became of it. ``edit``: the edited step beside its own."""

    title: str
    text: str
    facts: tuple[str, ...]
    reason: str | None
    edit: Diff | None = None


@router.get("/jobs/{job_id}/{level}")
def show_contents(
    api: ApiDep,
    viewer: Viewer,
    job_id: str,
    level: str,
    reason: Annotated[str | None, _NAME] = None,
    verdict: Annotated[str | None, _NAME] = None,
    outcome: Annotated[str | None, _NAME] = None,
    kind: Annotated[str | None, _NAME] = None,
    form: Annotated[str | None, _NAME] = None,
    role: Annotated[str | None, _NAME] = None,
    evidence: Annotated[str | None, _NAME] = None,
    step: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    after: After = None,
) -> Response:
    """A page of a job's problems, solutions, steps or edits, filtered as its address says."""
    given = {"reason": reason, "verdict": verdict, "outcome": outcome, "kind": kind, "form": form, "role": role}
    given |= {"evidence": evidence, "step": None if step is None else str(step)}
    filters = {name: value for name, value in given.items() if value}
    if level not in _LEVELS:
        raise HTTPException(404, "There is no such page.")
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, viewer.workspace_id)
        rows, more = _LEVELS[level](session, job.id, filters, PageRequest(_ROWS, after))
        title = job.name or job.id
    query = urlencode({**filters, "after": more}) if more else None
    return page(
        "contents.html", job_id=job_id, title=title, level=level, rows=rows, filters=filters, more=query, section="jobs"
    )


def _problems(session: Session, job_id: str, filters: dict[str, str], asked: PageRequest) -> Any:
    query = where_given(
        select(ProblemRow).join(ProblemOutcome, ProblemOutcome.problem_id == ProblemRow.id),
        {
            ProblemOutcome.job_id: job_id,
            ProblemOutcome.outcome: filters.get("outcome"),
            ProblemOutcome.reason: filters.get("reason"),
        },
    )
    found = paginate(session, query, (ProblemRow.position,), asked)
    ids = [row.id for row in found.rows]
    outcomes = select(ProblemOutcome).where(ProblemOutcome.job_id == job_id, ProblemOutcome.problem_id.in_(ids))
    by_id = {row.problem_id: row for row in session.scalars(outcomes)}
    return [
        Content(
            f"problem {row.position}",
            row.question,
            (f"answer {row.gold_answer}", by_id[row.id].outcome),
            by_id[row.id].reason,
        )
        for row in found.rows
    ], found.next


def _solutions(session: Session, job_id: str, filters: dict[str, str], asked: PageRequest) -> Any:
    query = where_given(
        select(SolutionRow),
        {
            SolutionRow.job_id: job_id,
            SolutionRow.verdict: filters.get("verdict"),
            SolutionRow.reason: filters.get("reason"),
            SolutionRow.role: None if filters.get("role") == _DRAWN else filters.get("role"),
        },
    )
    if filters.get("role") == _DRAWN:
        query = query.where(SolutionRow.role.is_not(None))
    found = paginate(session, query, (SolutionRow.created_at, SolutionRow.id), asked)
    asked_of = _positions(session, found.rows)
    return [
        Content(
            f"problem {asked_of.get(row.problem_id, '')}, sample {row.sample_index}",
            row.text,
            tuple(
                fact
                for fact in (
                    row.verdict,
                    f"answered {row.extracted}" if row.extracted is not None else None,
                    f"drawn as {row.role}" if row.role else None,
                    row.source,
                )
                if fact
            ),
            row.reason,
        )
        for row in found.rows
    ], found.next


def _steps(session: Session, job_id: str, filters: dict[str, str], asked: PageRequest) -> Any:
    """The solutions whose steps are counted: each with the steps that were edited, and why the others were not."""
    query = select(SolutionRow).where(SolutionRow.job_id == job_id, SolutionRow.plan.is_not(None))
    if filters.get("reason"):
        # The plan is one JSON document; a reason is a name without characters that LIKE takes otherwise than written.
        query = query.where(cast(SolutionRow.plan, Text).contains(f'"{filters["reason"]}"', autoescape=True))
    found = paginate(session, query, (SolutionRow.created_at, SolutionRow.id), asked)
    positions = _positions(session, found.rows)
    return [_planned(row, positions.get(row.problem_id)) for row in found.rows], found.next


def _planned(row: SolutionRow, position: int | None) -> Content:
    plan = row.plan or {}
    edited, skipped = len(plan.get("edits", ())), Counter(plan.get("skipped", ()))
    why = tuple(f"{count} skipped: {sentence(reason)}" for reason, count in skipped.most_common())
    return Content(f"problem {position}, sample {row.sample_index}", row.text, (f"{edited} edited", *why), None)


def _edits(session: Session, job_id: str, filters: dict[str, str], asked: PageRequest) -> Any:
    query = where_given(
        select(EditRow),
        {
            EditRow.job_id: job_id,
            EditRow.reason: filters.get("reason"),
            EditRow.kind: filters.get("kind"),
            EditRow.evidence_kind: filters.get("evidence"),
            EditRow.step_index: int(filters["step"]) - 1 if "step" in filters else None,
        },
    )
    if form := filters.get("form"):
        # Edits of versions without forms stand.
        query = query.where(func.coalesce(EditRow.form, str(Form.STANDS)) == form)
    found = paginate(session, query, (EditRow.created_at, EditRow.id), asked)
    asked_of = _positions(session, found.rows)
    return [_edit(row, asked_of.get(row.problem_id)) for row in found.rows], found.next


def _edit(row: EditRow, position: int | None) -> Content:
    facts = [
        row.kind,
        row.form,
        row.editor,
        row.evidence_kind,
        plural(len(row.attempts), "attempt") if row.attempts else None,
    ]
    edited = row.edited
    reply = row.attempts[-1].get("reply") if row.attempts and edited is None else None
    shown = diff(visible(row.original), visible(edited)) if edited else Diff(plain(visible(row.original)), ())
    text = f"last reply: {reply}" if reply else ""
    return Content(
        f"problem {position}, step {row.step_index + 1}", text, tuple(fact for fact in facts if fact), row.reason, shown
    )


def _positions(session: Session, of: Any) -> dict[str, int]:
    ids = {row.problem_id for row in of}
    rows = session.execute(select(ProblemRow.id, ProblemRow.position).where(ProblemRow.id.in_(ids)))
    return {row.id: row.position for row in rows}


_LEVELS = {"problems": _problems, "solutions": _solutions, "steps": _steps, "edits": _edits}
