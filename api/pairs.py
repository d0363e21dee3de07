"""``/v1/pairs``: browsing preference pairs of all jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import FieldError, NotFound, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row, sent, where_given
from api.schemas import ProblemName, RowAnswer, RowId
from errata.types import EditorName, EvidenceKind, Form
from models.curation import ReviewFilter, needs_index_first, review_condition
from models.jobs import InjectionJob, PairRow
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1/pairs", "pairs")


class PairOut(RowAnswer):
    """One pair: ``question`` + ``prefix`` is the prompt, ``chosen`` and ``rejected`` differ in the error."""

    object: Literal["pair"] = "pair"
    id: str
    job: str = Field(validation_alias="job_id")
    problem: str = Field(validation_alias="problem_id")
    external_id: str | None = Field(description="Your own id of the problem.")
    gold_answer: str
    solution: str = Field(validation_alias="solution_id")
    rejected_solution: str | None = Field(validation_alias="rejected_solution_id")
    edit: str | None = Field(validation_alias="edit_id")
    type: Literal["step", "full"]
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None = Field(description="Counts from 0; null for full pairs.")
    start: int | None = Field(description="Offset of the chosen step in its solution.")
    end: int | None
    error_kind: str | None
    form: str | None = Field(description="stands or consistent; null for full pairs and pairs of earlier versions.")
    editor: str | None = Field(description="words, slip, rule, mined or random-token; null where there is no form.")
    distance: int | None
    evidence_kind: str | None
    evidence: dict[str, Any] | None
    source: str
    language_model: str | None
    prompt_version: str | None
    seed: int | None
    error_rate: float | None = Field(description="How often the model errs at the step; null where not measured.")
    review: Literal["accepted", "rejected"] | None = Field(description="The verdict that stands; null without one.")
    created_at: datetime


def pair_answers(session: Session, pairs: Sequence[PairRow]) -> list[PairOut]:
    """Pairs as answers, with what their problems add."""
    columns = (ProblemRow.id, ProblemRow.external_id, ProblemRow.gold_answer)
    found = session.execute(select(*columns).where(ProblemRow.id.in_({pair.problem_id for pair in pairs})))
    problems = {row.id: {"external_id": row.external_id, "gold_answer": row.gold_answer} for row in found}
    return [PairOut.of(pair, **problems[pair.problem_id]) for pair in pairs]


def named_problems(session: Session, workspace_id: str, name: str, problem_set_id: str | None = None) -> list[str]:
    """Ids of the problems with this id, or else with this one of the caller's own, in one set or in all of them.

    Raises NotFound, naming the field: a misspelt id is no empty list.
    """
    of_set = select(ProblemRow.id).join(ProblemSet, ProblemSet.id == ProblemRow.problem_set_id)
    of_set = of_set.where(ProblemSet.workspace_id == workspace_id)
    if problem_set_id is not None:
        of_set = of_set.where(ProblemSet.id == problem_set_id)
    for column in (ProblemRow.id, ProblemRow.external_id):
        if found := list(session.scalars(of_set.where(column == name))):
            return found
    where = "" if problem_set_id is None else " of the job's problem set"
    remedy = "give an id from GET /v1/problem-sets/{id}/problems, or your own id of a problem"
    message = f"no problem{where} has this id, neither ours nor your own"
    raise NotFound(f"problem: {message}", [FieldError(field="problem", message=message, remedy=remedy)])


def _problem_set_of(session: Session, job_id: str, workspace_id: str) -> str:
    """The problem set of the caller's job. Raises Invalid naming the field ``job``."""
    # The column alone: the whole row, with its settings, costs as much as a page of pairs.
    of_job = select(InjectionJob.problem_set_id).where(InjectionJob.id == job_id)
    found = session.scalar(of_job.where(InjectionJob.workspace_id == workspace_id))
    return found or body_row(session, InjectionJob, job_id, workspace_id, "job").problem_set_id


@router.get("", responses=documented(404), response_model=Listing[PairOut])
def list_pairs(
    caller: Reader,
    api: ApiDep,
    page: PageDep,
    job: Annotated[RowId | None, Query(description="Of one injection job.")] = None,
    type_: Annotated[Literal["step", "full"] | None, Query(alias="type")] = None,
    error_kind: Annotated[RowId | None, Query()] = None,
    form: Annotated[Form | None, Query()] = None,
    editor: Annotated[EditorName | None, Query()] = None,
    evidence: Annotated[EvidenceKind | None, Query()] = None,
    problem: Annotated[ProblemName | None, Query(description="Of one problem: its id, or your own id of it.")] = None,
    review: Annotated[
        ReviewFilter | None, Query(description="Which review stands; not_rejected: accepted ones and those without.")
    ] = None,
) -> Response:
    """Pairs, oldest first."""
    filters = {
        # A job is looked up in the caller's workspace below, and its pairs are there too. Told both, PostgreSQL may
        # walk along the workspace's pairs, past those of every older job.
        PairRow.workspace_id: caller.workspace_id if job is None else None,
        PairRow.job_id: job,
        PairRow.type: type_,
        PairRow.error_kind: error_kind,
        PairRow.form: form,
        PairRow.editor: editor,
        PairRow.evidence_kind: evidence,
    }
    query = where_given(select(PairRow), filters)
    if review is not None:
        query = query.where(review_condition(review))
    with api.db.look() as session:
        set_id = None
        if job is not None:
            set_id = _problem_set_of(session, job, caller.workspace_id)
        if problem is not None:
            named = named_problems(session, caller.workspace_id, problem, set_id)
            if len(named) == 1 and not api.db.is_postgres:
                # A problem has few pairs. Wrapped, the other columns offer SQLite no index that it would prefer.
                given = {column: value for column, value in filters.items() if value is not None}
                query = select(PairRow).where(*(func.coalesce(column, "") == value for column, value in given.items()))
                query = query.where(PairRow.problem_id == named[0])
                query = query if review is None else query.where(review_condition(review))
            else:
                query = query.where(PairRow.problem_id.in_(named))
        order = (PairRow.created_at, PairRow.id)
        found = paginate(session, query, order, page, index_first=needs_index_first(review))
        answers = pair_answers(session, found.rows)
    return sent(found.listing_of(answers))


@router.get("/{pair_id}", responses=documented(404))
def get_pair(caller: Reader, api: ApiDep, pair_id: str) -> PairOut:
    """One pair."""
    with api.db.read() as session:
        return pair_answers(session, [path_row(session, PairRow, pair_id, caller.workspace_id)])[0]
