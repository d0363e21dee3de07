"""``/v1/evaluations``: measuring language models on problem sets, and comparing two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.comparison import compare
from api.http import events
from api.http.auth import Reader, Writer
from api.http.errors import Conflict, documented
from api.http.events import EVENT_RESPONSES, EventOut, LastEventId
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row
from api.progress import progress_of
from api.registry import body_model, model_names
from api.schemas.common import RowId
from api.schemas.outputs import ComparisonOut, EvaluationIn, EvaluationOut, EvaluationSampleOut
from errata.types import Verdict
from models.base import new_id
from models.outputs import Evaluation, EvaluationSample
from models.problems import ProblemSet
from models.states import JobState
from workers.dispatch import Hint, cancel, plan_evaluation, settle

router = make_router("/v1/evaluations", "evaluations")


@router.post("", status_code=202, responses=documented(409, 413, 415))
def create_evaluation(
    caller: Writer, api: ApiDep, who: IdempotencyDep, body: EvaluationIn, response: Response
) -> EvaluationOut:
    """Let a language model answer a problem set, and judge its answers."""
    hints: list[Hint] = []

    with api.db.begin() as session:

        def make() -> str:
            problem_set = body_row(session, ProblemSet, body.problem_set, caller.workspace_id, "problem_set")
            model = body_model(session, body.language_model, caller.workspace_id, "language_model")
            evaluation = Evaluation(
                id=new_id("eval"),
                workspace_id=caller.workspace_id,
                problem_set_id=problem_set.id,
                language_model_id=model.id,
                name=body.name,
                config=body.config.model_dump(mode="json"),
            )
            session.add(evaluation)
            session.flush()
            count = body.config.problem_count(problem_set.problem_count)
            hints.extend(plan_evaluation(session, evaluation, count))
            return evaluation.id

        row_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = _many(session, [session.get_one(Evaluation, row_id, populate_existing=True)])[0]
    api.dispatcher.send(hints)
    accepted(response, f"/v1/evaluations/{row_id}", replayed=not new)
    return answer


def _many(session: Session, rows: Sequence[Evaluation]) -> list[EvaluationOut]:
    progress = progress_of(session, Evaluation, rows)
    names = model_names(session, [row.language_model_id for row in rows])
    return [EvaluationOut.of(row, progress[row.id], names.get(row.language_model_id, "")) for row in rows]


@router.get("")
def list_evaluations(
    caller: Reader,
    api: ApiDep,
    page: PageDep,
    state: Annotated[JobState | None, Query()] = None,
    problem_set: Annotated[RowId | None, Query()] = None,
) -> Listing[EvaluationOut]:
    """Evaluations, newest first."""
    query = select(Evaluation).where(Evaluation.workspace_id == caller.workspace_id)
    if state is not None:
        query = query.where(Evaluation.state == state)
    with api.db.read() as session:
        if problem_set is not None:
            owner = body_row(session, ProblemSet, problem_set, caller.workspace_id, "problem_set")
            query = query.where(Evaluation.problem_set_id == owner.id)
        found = paginate(session, query, (Evaluation.created_at, Evaluation.id), page, descending=True)
        return Listing(data=_many(session, found.rows), has_more=bool(found.next), next=found.next)


@router.get("/{evaluation_id}", responses=documented(404))
def get_evaluation(caller: Reader, api: ApiDep, evaluation_id: str) -> EvaluationOut:
    """One evaluation with its result."""
    with api.db.read() as session:
        return _many(session, [path_row(session, Evaluation, evaluation_id, caller.workspace_id)])[0]


@router.post("/{evaluation_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_evaluation(caller: Writer, api: ApiDep, evaluation_id: str, response: Response) -> EvaluationOut:
    """Ask an evaluation to stop; the answers it has stay."""
    with api.db.begin() as session:
        row = path_row(session, Evaluation, evaluation_id, caller.workspace_id)
        if not cancel(session, Evaluation, row.id):
            raise Conflict(f"the evaluation has already ended: {row.state}")
        settle(session, Evaluation, row.id)
        answer = _many(session, [session.get_one(Evaluation, evaluation_id, populate_existing=True)])[0]
    accepted(response, f"/v1/evaluations/{evaluation_id}")
    return answer


@router.get("/{evaluation_id}/events", responses=EVENT_RESPONSES, response_model=Listing[EventOut])
def list_evaluation_events(
    request: Request, caller: Reader, api: ApiDep, evaluation_id: str, page: PageDep, last_event_id: LastEventId = None
) -> Any:
    """What happened to the evaluation: a list, or a stream."""
    return events.answer(request, api, Evaluation, evaluation_id, caller.workspace_id, page, last_event_id)


@router.get("/{evaluation_id}/samples", responses=documented(404))
def list_samples(
    caller: Reader,
    api: ApiDep,
    evaluation_id: str,
    page: PageDep,
    verdict: Annotated[Verdict | None, Query()] = None,
) -> Listing[EvaluationSampleOut]:
    """The model's answers with their verdicts."""
    with api.db.read() as session:
        evaluation = path_row(session, Evaluation, evaluation_id, caller.workspace_id)
        query = select(EvaluationSample).where(EvaluationSample.evaluation_id == evaluation.id)
        if verdict is not None:
            query = query.where(EvaluationSample.verdict == verdict)
        found = paginate(session, query, (EvaluationSample.problem_id, EvaluationSample.sample_index), page)
    data = [EvaluationSampleOut.of(row) for row in found.rows]
    return Listing(data=data, has_more=bool(found.next), next=found.next)


@router.get("/{evaluation_id}/comparison", responses=documented(404, 409))
def compare_evaluations(
    caller: Reader,
    api: ApiDep,
    evaluation_id: str,
    with_: Annotated[RowId, Query(alias="with", description="The evaluation afterwards; this one is before.")],
) -> ComparisonOut:
    """Compare this evaluation (before) with another one of the same problem set (after), problem by problem."""
    with api.db.read() as session:
        before = path_row(session, Evaluation, evaluation_id, caller.workspace_id)
        after = body_row(session, Evaluation, with_, caller.workspace_id, "with")
        return compare(session, before, after)
