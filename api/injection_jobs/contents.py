"""``/v1/injection-jobs/{id}/...``: what a job's stages wrote: its funnel, problems, solutions, edits and pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, child_listing, paginate, path_row, where_given
from api.pairs import PairOut, named_problems, pair_answers
from api.schemas import ProblemName, RowAnswer, RowId
from errata.types import EditorName, EvidenceKind, Form, Verdict
from models.jobs import EditRow, InjectionJob, PairRow, ProblemOutcome, SolutionRow
from models.results import job_funnel
from models.states import TERMINAL
from models.workspaces import ProblemRow

T = TypeVar("T")
router = make_router("/v1/injection-jobs", "injection jobs")


class FunnelOut(BaseModel):
    """The funnel of a job: what became of every problem, sample, step, edit and pair, with tokens per stage."""

    object: Literal["funnel"] = "funnel"
    job: str
    complete: bool = Field(description="Whether the job has ended; until then the counts still grow.")
    problems: dict[str, Any]
    samples: dict[str, Any]
    steps: dict[str, Any]
    edits: dict[str, Any]
    pairs: dict[str, Any]
    tokens: dict[str, Any]
    figures: dict[str, float | None]


class SolutionOut(RowAnswer):
    """One sample or brought solution, with its verdict; ``reason`` says why it was not drawn for pairs."""

    object: Literal["solution"] = "solution"
    id: str
    job: str = Field(validation_alias="job_id")
    problem: str = Field(validation_alias="problem_id")
    sample_index: int
    source: str
    text: str
    seed: int | None
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    label: bool | None
    verdict: str | None
    extracted: str | None
    verifier: str | None
    verdict_seconds: float | None = Field(description="How long the comparison took.")
    role: str | None
    reason: str | None
    created_at: datetime


class EditOut(RowAnswer):
    """One edit of one step; ``start`` and ``end`` are offsets into the solution, ``reason`` is why it made no pair."""

    object: Literal["edit"] = "edit"
    id: str
    job: str = Field(validation_alias="job_id")
    problem: str = Field(validation_alias="problem_id")
    solution: str = Field(validation_alias="solution_id")
    step_index: int
    kind: str
    form: str | None = Field(description="stands or consistent; null for edits of earlier versions.")
    editor: str | None = Field(description="words, slip, rule, mined or random-token; null like form.")
    start: int
    end: int
    original: str
    edited: str | None
    attempts: list[Any]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    distance: int | None
    reason: str | None
    evidence_kind: EvidenceKind | None
    evidence: dict[str, Any] | None
    continuations: dict[str, Any] | None
    created_at: datetime


class JobProblemOut(RowAnswer):
    """What became of one problem in one job; ``answers`` are what its samples answered, the most frequent first."""

    object: Literal["job_problem"] = "job_problem"
    job: str = Field(validation_alias="job_id")
    problem: str = Field(validation_alias="problem_id")
    position: int
    external_id: str | None
    question: str
    gold_answer: str
    outcome: str = Field(description="kept or dropped.")
    reason: str | None = Field(description="Why it was dropped, such as label_suspect or no_correct.")
    answers: dict[str, int]
    unreadable: dict[str, int] = Field(
        description="Samples without a readable answer by reason, such as cut_at_limit, nothing_written, thoughts_only."
    )


@router.get("/{job_id}/funnel", responses=documented(404))
def get_funnel(caller: Reader, api: ApiDep, job_id: str) -> FunnelOut:
    """The job's funnel; it adds up exactly once the job is complete."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        counts = job_funnel(session, job).to_dict()
        return FunnelOut(job=job.id, complete=job.state in TERMINAL, **counts)


@router.get("/{job_id}/solutions", responses=documented(404))
def list_solutions(
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    problem: Annotated[ProblemName | None, Query(description="Of one problem: its id, or your own id of it.")] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
) -> Listing[SolutionOut]:
    """The job's samples with their verdicts."""
    if problem is not None:
        with api.db.read() as session:
            job = path_row(session, InjectionJob, job_id, caller.workspace_id)
            problem = named_problems(session, caller.workspace_id, problem, job.problem_set_id)[0]
    filters = {SolutionRow.problem_id: problem, SolutionRow.verdict: verdict}
    return _children(SolutionOut.of, SolutionRow, caller, api, job_id, page, filters)


@router.get("/{job_id}/edits", responses=documented(404))
def list_edits(
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    kind: Annotated[RowId | None, Query()] = None,
    form: Annotated[Form | None, Query()] = None,
    editor: Annotated[EditorName | None, Query()] = None,
    evidence: Annotated[EvidenceKind | None, Query()] = None,
    reason: Annotated[RowId | None, Query(description="Why an edit made no pair.")] = None,
) -> Listing[EditOut]:
    """The job's edits, rejected ones with their reason."""
    filters = {
        EditRow.kind: kind,
        EditRow.form: form,
        EditRow.editor: editor,
        EditRow.evidence_kind: evidence,
        EditRow.reason: reason,
    }
    return _children(EditOut.of, EditRow, caller, api, job_id, page, filters)


@router.get("/{job_id}/pairs", responses=documented(404))
def list_job_pairs(caller: Reader, api: ApiDep, job_id: str, page: PageDep) -> Listing[PairOut]:
    """The job's pairs; /v1/pairs has filters."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, caller.workspace_id)
        query = select(PairRow).where(PairRow.job_id == job.id)
        found = paginate(session, query, (PairRow.created_at, PairRow.id), page)
        return found.listing_of(pair_answers(session, found.rows))


def _children(
    answer: Callable[[Any], T],
    table: type[SolutionRow] | type[EditRow],
    caller: Reader,
    api: ApiDep,
    job_id: str,
    page: PageDep,
    filters: Mapping[InstrumentedAttribute[Any], Any],
) -> Listing[T]:
    """One page of a job's rows in the order in which they were made."""
    keys, of_job = (table.created_at, table.id), {table.job_id: job_id, **filters}
    return child_listing(answer, api.db, InjectionJob, job_id, caller.workspace_id, keys, page, of_job)


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
        filters = {ProblemOutcome.job_id: job.id, ProblemOutcome.outcome: outcome, ProblemOutcome.reason: reason}
        query = select(ProblemRow).join(ProblemOutcome, ProblemOutcome.problem_id == ProblemRow.id)
        found = paginate(session, where_given(query, filters), (ProblemRow.position,), page)
        outcomes = _outcomes(session, job.id, found.rows)
    return found.listing(lambda problem: JobProblemOut.of(problem, **outcomes[problem.id]))


def _outcomes(session: Session, job_id: str, problems: Sequence[ProblemRow]) -> dict[str, dict[str, Any]]:
    """What a job says of each problem: its outcome, and what its samples answered with how many said so."""
    ids = [problem.id for problem in problems]
    answers: dict[str, dict[str, int]] = defaultdict(dict)
    counted = (
        select(SolutionRow.problem_id, SolutionRow.extracted, func.count())
        .where(SolutionRow.job_id == job_id, SolutionRow.problem_id.in_(ids), SolutionRow.extracted.is_not(None))
        .group_by(SolutionRow.problem_id, SolutionRow.extracted)
        .order_by(func.count().desc(), SolutionRow.extracted)
    )
    for problem_id, extracted, count in session.execute(counted):
        answers[problem_id][str(extracted)] = count
    unreadable: dict[str, dict[str, int]] = defaultdict(dict)
    unread = (
        select(SolutionRow.problem_id, SolutionRow.reason, func.count())
        .where(SolutionRow.job_id == job_id, SolutionRow.problem_id.in_(ids), SolutionRow.verdict == Verdict.UNPARSABLE)
        .group_by(SolutionRow.problem_id, SolutionRow.reason)
        .order_by(SolutionRow.reason)
    )
    for problem_id, reason, count in session.execute(unread):
        unreadable[problem_id][str(reason)] = count
    rows = select(ProblemOutcome).where(ProblemOutcome.job_id == job_id, ProblemOutcome.problem_id.in_(ids))
    columns = ("job_id", "problem_id", "outcome", "reason")
    return {
        row.problem_id: {"answers": answers[row.problem_id], "unreadable": unreadable[row.problem_id]}
        | {name: getattr(row, name) for name in columns}
        for row in session.scalars(rows)
    }
