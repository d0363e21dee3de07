"""``/v1/evaluations``: measuring language models on problem sets, and comparing two of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select
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
from models.evaluation_results import compare as compare_answers
from models.evaluation_results import config_of, rates_of
from models.outputs import Evaluation, EvaluationSample
from models.states import JobState
from models.workspaces import LanguageModel, ProblemRow, ProblemSet
from workers.dispatch import Hint, can_score, plan_evaluation

router = make_router("/v1/evaluations", "evaluations")
LISTED_FLIPS = 1_000
_AT_ONCE = 500  # ids in one statement


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


class TemperatureDifference(BaseModel):
    """The paired difference at one temperature that both evaluations have."""

    temperature: float
    delta: float
    interval: list[float]
    p_value: float
    problems: int
    gained: int
    lost: int


class ErrorProfileOut(BaseModel):
    """First errors of a side's wrong answers by kind, read from their arithmetic (docs/method.md)."""

    compared: int = Field(description="Wrong answers that had a right solution beside them, at most about 2,000.")
    counts: dict[str, int]
    unclassified: int


class ComparisonOut(BaseModel):
    """Two evaluations compared problem by problem; ``delta`` is after minus before, with a 95 % interval.

    Figures and flips are those of each side's first temperature; ``temperatures`` has all that both sides have.
    """

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
    temperatures: list[TemperatureDifference] = []
    error_profile: dict[Literal["before", "after"], ErrorProfileOut] | None = Field(
        None, description="With `profile=true`. Scored evaluations have no answers to read."
    )


def new_evaluation(session: Session, workspace_id: str, body: EvaluationIn) -> tuple[Evaluation, list[Hint]]:
    """Add an evaluation in the caller's transaction. Raises Invalid naming the field."""
    problem_set = body_row(session, ProblemSet, body.problem_set, workspace_id, "problem_set")
    model = body_model(session, body.language_model, workspace_id, "language_model")
    check_scoring(session, body.config, problem_set, model)
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


def check_scoring(session: Session, config: EvaluationConfig, problem_set: ProblemSet, model: LanguageModel) -> None:
    """Raises Invalid where scores are asked for that the engine does not tell, or of solutions that there are not."""
    if config.method == "sample" and not config.entropy:
        return
    field = "config.entropy" if config.entropy else "config.method"
    if can_score(model.engine, model.config) is False:
        told = f"the engine of '{model.name}' tells no log-probabilities of a given text"
        raise Invalid.field(field, told, "name a model of engine transformers or vllm; or only sample, without entropy")
    if config.method == "score" and any(at not in (0.0, 1.0) for at in config.at) and model.engine != "transformers":
        told = f"engine '{model.engine}' tells log-probabilities at temperature 1 alone"
        raise Invalid.field("config.temperatures", told, "give 0 and 1, or serve the model by transformers")
    if config.method != "score":
        return
    lacking = select(func.count()).where(ProblemRow.problem_set_id == problem_set.id)
    if config.limit is not None:
        lacking = lacking.where(ProblemRow.position < config.limit)
    if count := session.scalar(lacking.where(func.coalesce(ProblemRow.gold_solution, "") == "")):
        told = f"{count} of the problems bring no solution that could be scored"
        raise Invalid.field("config.method", told, "upload the set with a `solution` for each, or set method 'sample'")


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
    profile: Annotated[bool, Query(description="Also read the first errors of both sides' wrong answers.")] = False,
) -> ComparisonOut:
    """Compare this evaluation (before) with another one of the same problem set (after), problem by problem."""
    with api.db.read() as session:
        before = path_row(session, Evaluation, evaluation_id, caller.workspace_id)
        after = body_row(session, Evaluation, with_, caller.workspace_id, "with")
        return compare(session, before, after, profile=profile)


def compare(session: Session, before: Evaluation, after: Evaluation, *, profile: bool = False) -> ComparisonOut:
    """``after`` minus ``before`` on the problems both have judged answers to. Raises Conflict and Invalid."""
    for row in (before, after):
        if row.state != JobState.SUCCEEDED:
            raise Conflict(f"evaluation {row.id} is {row.state}; compare it once it has succeeded")
    if before.problem_set_id != after.problem_set_id:
        raise Invalid.field("with", "it evaluates another problem set", "give an evaluation of the same problem set")
    try:
        found = compare_answers(session, before.id, after.id, profile=profile)
    except ValueError as error:
        raise Conflict(str(error)) from None
    flips = _flips(session, before, after)
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


def _flips(session: Session, before: Evaluation, after: Evaluation) -> list[Flip]:
    """Problems whose share of right answers crossed one half, in the order of the set."""
    # With one sample a share is 0 or 1, so this is "right on one side only".
    old, new = (rates_of(session, row)[config_of(row).at[0]] for row in (before, after))
    crossed = [each for each in old if each in new and (old[each] >= 0.5) != (new[each] >= 0.5)]
    found: list[tuple[int, str]] = []
    for at in range(0, len(crossed), _AT_ONCE):
        query = select(ProblemRow.id, ProblemRow.position).where(ProblemRow.id.in_(crossed[at : at + _AT_ONCE]))
        found += [(position, each) for each, position in session.execute(query)]
    return [Flip(problem=each, before=float(old[each]), after=float(new[each])) for _, each in sorted(found)]
