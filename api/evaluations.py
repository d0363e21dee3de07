"""``/v1/evaluations``: measuring language models on problem sets, and comparing two of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import Conflict, Invalid, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, body_row, child_listing, path_row
from api.jobs import JobResource
from api.language_models import body_model, model_names
from api.schemas import JobOut, ModelName, Name, Request, RowAnswer, RowId, key_of
from errata.output_config import EvaluationConfig
from errata.types import Verdict
from models.base import new_id
from models.outputs import Evaluation, EvaluationSample
from models.results import compare as compare_samples
from models.states import JobState
from models.workspaces import ProblemRow, ProblemSet
from workers.dispatch import Hint, plan_evaluation

router = make_router("/v1/evaluations", "evaluations")
LISTED_FLIPS = 1_000


class EvaluationIn(Request):
    """An evaluation: one language model's answers to one problem set."""

    problem_set: RowId
    language_model: ModelName
    config: EvaluationConfig = EvaluationConfig()
    name: Name | None = None


class EvaluationOut(JobOut):
    """An evaluation; ``result`` holds accuracy with its 95 % interval once it has succeeded."""

    object: Literal["evaluation"] = "evaluation"
    name: str | None
    problem_set: str = Field(validation_alias="problem_set_id")
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None
    tags: list[str] = Field(default_factory=list)


class EvaluationSampleOut(RowAnswer):
    """One answer of an evaluation."""

    object: Literal["evaluation_sample"] = "evaluation_sample"
    problem: str = Field(validation_alias="problem_id")
    sample_index: int
    text: str
    seed: int
    prompt_tokens: int
    completion_tokens: int
    verdict: str | None
    extracted: str | None


class Side(RowAnswer):
    """One side of a comparison, with the accuracy of its whole evaluation."""

    evaluation: str = Field(validation_alias="id")
    language_model: str
    config: dict[str, Any]
    accuracy: Annotated[float | None, key_of("accuracy")] = Field(validation_alias="result")
    interval: Annotated[list[float] | None, key_of("interval")] = Field(validation_alias="result", description="95 %.")


class Flip(BaseModel):
    """A problem right on one side only; for several samples, the shares of right answers lie on both sides of 0.5."""

    problem: str
    before: float
    after: float


class ComparisonOut(BaseModel):
    """Two evaluations compared problem by problem; ``delta`` is after minus before, with a 95 % interval."""

    object: Literal["comparison"] = "comparison"
    before: Side
    after: Side
    delta: float
    interval: list[float]
    p_value: float
    problems: int = Field(description="Problems with a verdict on both sides; nothing else is compared.")
    gained: int
    lost: int = Field(description="Negative flips: right before, wrong after.")
    gained_problems: list[Flip] = Field(description="The first of them, in the order of the set.")
    lost_problems: list[Flip]
    same_config: bool = Field(description="A difference in decoding is a difference too.")


def new_evaluation(session: Session, workspace_id: str, body: EvaluationIn) -> tuple[Evaluation, list[Hint]]:
    """Add an evaluation in the caller's transaction. Raises Invalid naming the field."""
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    model = body_model(session, body.language_model, workspace_id, "language_model")
    evaluation = Evaluation(
        id=new_id("eval"),
        workspace_id=workspace_id,
        problem_set_id=problem_set.id,
        language_model_id=model.id,
        name=body.name,
        config=body.config.model_dump(mode="json"),
    )
    session.add(evaluation)
    session.flush()
    return evaluation, plan_evaluation(session, evaluation, body.config.problem_count(problem_set.problem_count))


jobs = JobResource(
    table=Evaluation,
    body=EvaluationIn,
    model=EvaluationOut,
    name="evaluation",
    create=new_evaluation,
    references={"problem_set": ProblemSet},
    texts={
        "create": "Let a language model answer a problem set, and judge its answers.",
        "list": "Evaluations, newest first.",
        "get": "One evaluation with its result.",
        "cancel": "Ask an evaluation to stop; the answers it has stay.",
    },
)
jobs.register(router)


@router.get("/{evaluation_id}/samples", responses=documented(404))
def list_samples(
    caller: Reader,
    api: ApiDep,
    evaluation_id: str,
    page: PageDep,
    verdict: Annotated[Verdict | None, Query()] = None,
) -> Listing[EvaluationSampleOut]:
    """The model's answers with their verdicts."""
    filters = {EvaluationSample.evaluation_id: evaluation_id, EvaluationSample.verdict: verdict}
    keys = (EvaluationSample.problem_id, EvaluationSample.sample_index)
    return child_listing(
        EvaluationSampleOut.of, api.db, Evaluation, evaluation_id, caller.workspace_id, keys, page, filters
    )


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


def compare(session: Session, before: Evaluation, after: Evaluation) -> ComparisonOut:
    """``after`` minus ``before`` on the problems both have judged answers to. Raises Conflict and Invalid."""
    for row in (before, after):
        if row.state != JobState.SUCCEEDED:
            raise Conflict(f"evaluation {row.id} is {row.state}; compare it once it has succeeded")
    if before.problem_set_id != after.problem_set_id:
        raise Invalid.field("with", "it evaluates another problem set", "give an evaluation of the same problem set")
    try:
        found = compare_samples(session, before.id, after.id)
    except ValueError as error:
        raise Conflict(str(error)) from None
    flips = _flips(session, before.id, after.id)
    names = model_names(session, [before.language_model_id, after.language_model_id])
    return ComparisonOut.model_validate(
        found
        | {
            "before": Side.of(before, language_model=names.get(before.language_model_id, "")),
            "after": Side.of(after, language_model=names.get(after.language_model_id, "")),
            "gained_problems": [flip for flip in flips if flip.after >= 0.5][:LISTED_FLIPS],
            "lost_problems": [flip for flip in flips if flip.after < 0.5][:LISTED_FLIPS],
        }
    )


def _flips(session: Session, before_id: str, after_id: str) -> list[Flip]:
    """Problems whose share of right answers crossed one half, in the order of the set."""
    shares = []
    for evaluation_id in (before_id, after_id):
        right = cast(case((EvaluationSample.verdict == Verdict.CORRECT, 1), else_=0), Integer)
        query = select(EvaluationSample.problem_id, (func.sum(right) * 1.0 / func.count()).label("share"))
        judged = (EvaluationSample.evaluation_id == evaluation_id, EvaluationSample.verdict.is_not(None))
        shares.append(query.where(*judged).group_by(EvaluationSample.problem_id).subquery())
    old, new = shares
    rows = session.execute(
        select(ProblemRow.id, old.c.share, new.c.share)
        .join(old, old.c.problem_id == ProblemRow.id)
        .join(new, new.c.problem_id == ProblemRow.id)
        # With one sample a share is 0 or 1, so this is "right on one side only".
        .where((old.c.share >= 0.5) != (new.c.share >= 0.5))
        .order_by(ProblemRow.position)
    )
    return [Flip(problem=problem, before=float(was), after=float(is_)) for problem, was, is_ in rows]
