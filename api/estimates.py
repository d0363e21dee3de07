"""From a pilot's rows to a forecast: what each of its problems cost and gave, and totals for the whole set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.progress import progress_of
from api.registry import model_names
from api.schemas.estimates import EstimateOut, ForecastOut, IntervalOut, PilotOut, StageTokensOut
from errata.funnel import Funnel
from errata.statistics import total_interval
from models.jobs import EditRow, Estimate, InjectionJob, PairRow, ProblemOutcome, Shard, SolutionRow
from models.results import job_funnel
from models.states import JobState, Stage

_KINDS = ("prompt", "completion")


@dataclass
class Cost:
    """One problem of the pilot: its pairs by type, tokens by (stage, kind), and seconds of work."""

    pairs: Counter[str] = field(default_factory=Counter)
    tokens: dict[tuple[str, str], float] = field(default_factory=dict)
    seconds: float = 0.0

    def spent(self, stage: str) -> float:
        """Tokens of a stage."""
        return sum(self.tokens.get((stage, kind), 0.0) for kind in _KINDS)


def estimate_out(session: Session, estimate: Estimate) -> EstimateOut:
    """The answer for an estimate as it now stands."""
    pilot = session.get_one(InjectionJob, estimate.pilot_id, populate_existing=True)
    shard = session.scalars(select(Shard).where(Shard.injection_job_id == pilot.id)).one()
    funnel = job_funnel(session, pilot)
    positions = list(shard.positions or [])
    done = pilot.state == JobState.SUCCEEDED
    return EstimateOut(
        id=estimate.id,
        state=pilot.state,
        error=pilot.error,
        problem_set=pilot.problem_set_id,
        language_model=model_names(session, [pilot.language_model_id]).get(pilot.language_model_id or ""),
        preset=pilot.config.get("preset", "errata"),
        config=pilot.config,
        pilot=PilotOut(problems=len(positions), positions=positions, funnel=funnel.to_dict()),
        forecast=_forecast(list(costs(session, pilot.id, shard).values()), estimate.problems) if done else None,
        progress=progress_of(session, InjectionJob, [pilot])[pilot.id],
        created_at=estimate.created_at,
        started_at=pilot.started_at,
        finished_at=pilot.finished_at,
    )


def costs(session: Session, pilot_id: str, shard: Shard) -> dict[str, Cost]:
    """What each problem of a finished pilot gave and cost, by its id.

    Tokens of continuations are counted per shard: each problem bears as much as it has edits that were continued.
    Seconds are the engine's where a stage has one, split by tokens; verdicts took what each did; the rest is shared
    equally.
    """
    found = {row: Cost() for row in session.scalars(select(ProblemOutcome.problem_id).filter_by(job_id=pilot_id))}
    pairs = select(PairRow.problem_id, PairRow.type, func.count()).where(PairRow.job_id == pilot_id)
    for problem, type_, count in session.execute(pairs.group_by(PairRow.problem_id, PairRow.type)):
        found[problem].pairs[type_] = count
    for table, stage in ((SolutionRow, Stage.SAMPLE), (EditRow, Stage.EDIT)):
        sums = (func.sum(table.prompt_tokens), func.sum(table.completion_tokens))
        query = select(table.problem_id, *sums).where(table.job_id == pilot_id).group_by(table.problem_id)
        for problem, *spent in session.execute(query):
            found[problem].tokens |= {(stage, kind): float(n) for kind, n in zip(_KINDS, spent, strict=True)}
    _continuations(session, pilot_id, shard, found)
    _seconds(session, pilot_id, shard, found)
    return found


def _continuations(session: Session, pilot_id: str, shard: Shard, found: dict[str, Cost]) -> None:
    spent = Funnel.from_dict(shard.ledger.get("funnel") or {}).counts["tokens"].get(Stage.CONTINUE)
    edits = session.execute(select(EditRow.problem_id, EditRow.continuations).where(EditRow.job_id == pilot_id))
    continued = Counter(problem for problem, texts in edits if texts)
    for problem, count in continued.items() if spent else ():
        share = count / continued.total()
        found[problem].tokens |= {(Stage.CONTINUE, kind): spent[kind] * share for kind in _KINDS}


def _seconds(session: Session, pilot_id: str, shard: Shard, found: dict[str, Cost]) -> None:
    verdicts = select(SolutionRow.problem_id, func.sum(SolutionRow.verdict_seconds)).where(
        SolutionRow.job_id == pilot_id, SolutionRow.verdict_seconds.is_not(None)
    )
    for problem, judging in session.execute(verdicts.group_by(SolutionRow.problem_id)):
        found[problem].seconds += judging or 0.0
    took: dict[str, dict[str, float]] = shard.ledger.get("seconds") or {}
    for stage, seconds in took.items():
        if stage == Stage.GRADE:
            continue  # its verdicts have been counted, those judged between waves too
        by_tokens = math.fsum(cost.spent(stage) for cost in found.values())
        for cost in found.values():
            if seconds["engine"] and by_tokens:
                cost.seconds += seconds["engine"] * cost.spent(stage) / by_tokens
            else:
                cost.seconds += seconds["total"] / len(found)


def _forecast(found: Sequence[Cost], problems: int) -> ForecastOut:
    def total(values: Sequence[float], digits: int = 0) -> IntervalOut:
        return _rounded(total_interval(values, problems), digits)

    used = {stage for cost in found for stage, _ in cost.tokens}  # what the pilot had no use for is not forecast
    stages = [str(stage) for stage in Stage if stage in used]
    pairs, tokens = (
        [float(cost.pairs.total()) for cost in found],
        [sum(cost.tokens.values()) for cost in found],
    )
    return ForecastOut(
        problems=problems,
        pairs=total(pairs),
        pairs_by_type={t: total([float(cost.pairs[t]) for cost in found]) for t in ("step", "full")},
        tokens=total(tokens),
        tokens_by_stage={
            stage: StageTokensOut(
                **{kind: total([cost.tokens.get((stage, kind), 0.0) for cost in found]) for kind in _KINDS}
            )
            for stage in stages
        },
        tokens_per_pair=round(sum(tokens) / sum(pairs), 1) if sum(pairs) else None,
        seconds=total([cost.seconds for cost in found], 2),
    )


def _rounded(found: Any, digits: int) -> IntervalOut:
    """Bounds are rounded outwards, or rounding would cut the interval."""
    scale = 10**digits
    low, high = math.floor(found.low * scale + 1e-6) / scale, math.ceil(found.high * scale - 1e-6) / scale
    return IntervalOut(estimate=round(found.estimate, max(digits, 1)), low=low, high=high)
