"""Comparing two evaluations problem by problem: the difference with its interval, and every flip."""

from __future__ import annotations

from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.orm import Session

from api.http.errors import Conflict, Invalid
from api.registry import model_names
from api.schemas.outputs import ComparisonOut, Flip, Side
from errata.types import Verdict
from models.outputs import Evaluation, EvaluationSample
from models.problems import ProblemRow
from models.results import compare as compare_samples
from models.states import JobState

LISTED_FLIPS = 1_000


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
    return ComparisonOut(
        before=_side(before, names),
        after=_side(after, names),
        delta=found["delta"],
        interval=found["interval"],
        p_value=found["p_value"],
        problems=found["problems"],
        gained=found["gained"],
        lost=found["lost"],
        gained_problems=[flip for flip in flips if flip.after >= 0.5][:LISTED_FLIPS],
        lost_problems=[flip for flip in flips if flip.after < 0.5][:LISTED_FLIPS],
        same_config=found["same_config"],
    )


def _side(row: Evaluation, names: dict[str, str]) -> Side:
    result = row.result or {}
    return Side(
        evaluation=row.id,
        language_model=names.get(row.language_model_id, ""),
        config=row.config,
        accuracy=result.get("accuracy"),
        interval=result.get("interval"),
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
        .where((old.c.share >= 0.5) != (new.c.share >= 0.5))
        .order_by(ProblemRow.position)
    )
    return [Flip(problem=problem, before=float(was), after=float(is_)) for problem, was, is_ in rows]
