"""Two evaluations beside each other: the paired difference, and the problems that flipped with both answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.evaluations import Flip, compare
from api.http.routing import ApiDep
from api.http.rows import path_row
from api.pages.evaluation import accuracy_of
from api.pages.format import percent
from api.pages.rendering import PageRoute, Viewer, page
from models.outputs import Evaluation, EvaluationSample
from models.states import JobState
from models.workspaces import LanguageModel, ProblemRow, ProblemSet

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_SHOWN = 20  # flips of each direction
_CHOICES = 200  # evaluations offered for a comparison; of each set the newest
_Chosen = Annotated[str | None, Query(max_length=80)]


@dataclass(frozen=True, slots=True)
class Flipped:
    """A problem that is right on one side only, with one answer of each side."""

    problem: ProblemRow
    before: EvaluationSample | None
    after: EvaluationSample | None


@router.get("/compare")
def choose(api: ApiDep, viewer: Viewer, before: _Chosen = None, after: _Chosen = None) -> Response:
    """Two finished evaluations to compare, or their comparison once both are chosen."""
    if before and after and before != after:
        return RedirectResponse(f"/evaluations/{quote(before, safe='')}/compare/{quote(after, safe='')}", 303)
    with api.db.read() as session:
        query = (
            select(Evaluation, ProblemSet.name, LanguageModel.name)
            .join(ProblemSet, ProblemSet.id == Evaluation.problem_set_id)
            .join(LanguageModel, LanguageModel.id == Evaluation.language_model_id)
            .where(Evaluation.workspace_id == viewer.workspace_id, Evaluation.state == JobState.SUCCEEDED)
            .order_by(ProblemSet.name, Evaluation.created_at.desc())
        )
        rows = session.execute(query.limit(_CHOICES)).all()
        options = [_option(*found) for found in rows]
    same = before is not None and before == after
    if not same:
        before, after = _likely([row for row, *_ in rows], before, after)
    return page("compare.html", options=options, before=before, after=after, same=same, section="evaluations")


def _likely(rows: Sequence[Evaluation], before: str | None, after: str | None) -> tuple[str | None, str | None]:
    """What is chosen in the form until somebody chooses: the newest, and the newest before it of the same set."""
    newest = sorted(rows, key=lambda row: row.created_at, reverse=True)
    known = {row.id: row for row in rows}
    for late in newest if after is None else [known[after]] if after in known else []:
        for early in newest if before is None else [known[before]] if before in known else []:
            if early.problem_set_id == late.problem_set_id and early.id != late.id:
                # Two that were chosen by nobody: the older one stands before the newer.
                return (before or early.id), (after or late.id)
    return before, after


def _option(row: Evaluation, problem_set: str, model: str) -> tuple[str, str]:
    told = accuracy_of(row, model, current=False)
    accuracy = f", {percent(told.value, 1)}" if told else ""
    return row.id, f"{problem_set}: {row.name or model}{accuracy} ({row.created_at:%Y-%m-%d %H:%M})"


@router.get("/evaluations/{before_id}/compare/{after_id}")
def show_comparison(api: ApiDep, viewer: Viewer, before_id: str, after_id: str) -> Response:
    """The difference on the problems that both answered, and what flipped."""
    with api.db.read() as session:
        before, after = (path_row(session, Evaluation, each, viewer.workspace_id) for each in (before_id, after_id))
        found = compare(session, before, after)
        gained = _flipped(session, before.id, after.id, found.gained_problems)
        lost = _flipped(session, before.id, after.id, found.lost_problems)
        titles = [row.name or side.language_model for row, side in ((before, found.before), (after, found.after))]
    return page(
        "comparison.html", found=found, gained=gained, lost=lost, titles=titles, shown=_SHOWN, section="evaluations"
    )


def _flipped(session: Session, before_id: str, after_id: str, flips: list[Flip]) -> list[Flipped]:
    ids = [flip.problem for flip in flips[:_SHOWN]]
    problems = {row.id: row for row in session.scalars(select(ProblemRow).where(ProblemRow.id.in_(ids)))}
    # The first sample stands for the others: the page says that there are several.
    samples = select(EvaluationSample).where(
        EvaluationSample.evaluation_id.in_((before_id, after_id)),
        EvaluationSample.problem_id.in_(ids),
        EvaluationSample.sample_index == 0,
    )
    answers = {(row.evaluation_id, row.problem_id): row for row in session.scalars(samples)}
    return [Flipped(problems[each], answers.get((before_id, each)), answers.get((after_id, each))) for each in ids]
