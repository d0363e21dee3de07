"""``/v1/injection-jobs/{id}/problems``: what became of every problem, above all of those that made no pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import ApiDep
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, paginate, path_row
from api.schemas.common import RowId
from api.schemas.judging import JobProblemOut
from models.jobs import InjectionJob, ProblemOutcome, SolutionRow
from models.problems import ProblemRow

router = make_router("/v1/injection-jobs", "injection jobs")


@router.get("/{job_id}/problems", responses=documented(404))
def list_job_problems(
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    outcome: Annotated[Literal["kept", "dropped"] | None, Query()] = None,
    reason: Annotated[RowId | None, Query(description="Why it was dropped, such as label_suspect.")] = None,
) -> Listing[JobProblemOut]:
    """The job's problems in posting order, as far as they have been graded.

    ``reason=label_suspect`` lists those whose samples agree with each other against gold: look at their labels.
    """
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        query = (
            select(ProblemRow)
            .join(ProblemOutcome, ProblemOutcome.problem_id == ProblemRow.id)
            .where(ProblemOutcome.job_id == job.id)
        )
        if outcome is not None:
            query = query.where(ProblemOutcome.outcome == outcome)
        if reason is not None:
            query = query.where(ProblemOutcome.reason == reason)
        found = paginate(session, query, (ProblemRow.position,), page)
        data = _described(session, job.id, found.rows)
    return Listing(data=data, has_more=bool(found.next), next=found.next)


def _described(session: Session, job_id: str, problems: Sequence[ProblemRow]) -> list[JobProblemOut]:
    ids = [problem.id for problem in problems]
    rows = select(ProblemOutcome).where(ProblemOutcome.job_id == job_id, ProblemOutcome.problem_id.in_(ids))
    outcomes = {row.problem_id: row for row in session.scalars(rows)}
    answers: dict[str, dict[str, int]] = defaultdict(dict)
    counted = (
        select(SolutionRow.problem_id, SolutionRow.extracted, func.count())
        .where(SolutionRow.job_id == job_id, SolutionRow.problem_id.in_(ids), SolutionRow.extracted.is_not(None))
        .group_by(SolutionRow.problem_id, SolutionRow.extracted)
        .order_by(func.count().desc(), SolutionRow.extracted)
    )
    for problem_id, extracted, count in session.execute(counted):
        answers[problem_id][str(extracted)] = count
    return [JobProblemOut.of(problem, outcomes[problem.id], answers[problem.id]) for problem in problems]
