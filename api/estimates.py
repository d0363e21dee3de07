"""``/v1/injection-jobs:estimate`` and ``/v1/estimates``: what a job would make and cost, forecast from a pilot.

A pilot is an injection job over a few problems of the set. From its rows comes what each of its problems cost and gave,
and from that the totals for the whole set.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from api.http.routing import make_router
from api.injection_jobs.jobs import InjectionJobIn, add_injection_job
from api.jobs import JobResource
from api.language_models import find_model, model_names
from api.progress import progress_of
from api.schemas import Progress, StateOut, key_of
from api.stop_forecast import StopForecastOut, forecast_stop
from errata.config import InjectionConfig
from errata.editor_choice import Yield, kind_yields, overrides_of, pays, suggest
from errata.funnel import Funnel, editor_yields
from errata.prices import read_prices
from errata.statistics import total_interval
from errata.stopping import Limit
from errata.types import Domain
from models.base import new_id
from models.jobs import EditRow, Estimate, InjectionJob, PairRow, ProblemOutcome, Shard, SolutionRow, pilot_workspace
from models.outputs import Event
from models.results import job_funnel
from models.states import JobState, Stage
from models.workspaces import LanguageModel, ProblemSet
from workers.dispatch import Hint, can_score, plan_pilot

router = make_router("/v1", "estimates")
_KINDS = ("prompt", "completion")


class EstimateIn(InjectionJobIn):
    """The job as it would be posted, and how many of its problems the pilot takes."""

    pilot_problems: int = Field(
        16, ge=2, le=256, description="Problems of the pilot, spread over the set; all where it has fewer."
    )


class IntervalOut(BaseModel):
    """A forecast with its 95 % interval."""

    estimate: float
    low: float
    high: float


class StageTokensOut(BaseModel):
    """Tokens of one stage."""

    prompt: IntervalOut
    completion: IntervalOut


class ForecastOut(BaseModel):
    """Totals for the whole problem set. The intervals say what the choice of the pilot's problems leaves open."""

    problems: int
    pairs: IntervalOut
    pairs_by_type: dict[str, IntervalOut]
    tokens: IntervalOut = Field(description="Prompt and completion, all stages.")
    tokens_by_stage: dict[str, StageTokensOut]
    tokens_per_pair: float | None
    seconds: IntervalOut = Field(
        description="Work of one worker, shard after shard at the pilot's pace; shards in flight at once share it."
    )
    stop: StopForecastOut | None = Field(
        None, description="Where the job stops, if it has limits: before these totals."
    )


class KindYieldOut(BaseModel):
    """Edits of one kind that an editor was asked for, and the share proven; ``pays``: null where they are too few."""

    asked: int
    proven: int
    proven_share: float | None
    pays: bool | None


class EditorYieldOut(KindYieldOut):
    """What the pilot's edits by one editor gave and cost. Those of a fallback are the steps where others failed."""

    editor: str
    kept: int = Field(description="Past screening.")
    kept_share: float | None
    pairs: int
    prompt_tokens: int
    completion_tokens: int
    tokens_per_pair: float | None
    kinds: dict[str, KindYieldOut]


class PilotOut(BaseModel):
    """What the pilot was; its pairs are in no list and in no dataset."""

    problems: int
    positions: list[int] = Field(description="Which problems of the set, from 0.")
    funnel: dict[str, Any]


class EstimateOut(StateOut):
    """An estimate. State and progress are the pilot's; ``forecast`` is there once it has succeeded."""

    object: Literal["estimate"] = "estimate"
    problem_set: str = Field(validation_alias="problem_set_id")
    language_model: str | None
    preset: Annotated[str, key_of("preset", "errata")] = Field(validation_alias="config")
    config: dict[str, Any]
    pilot: PilotOut
    forecast: ForecastOut | None
    editors: list[EditorYieldOut] | None = Field(description="Which editors and kinds pay; there with the forecast.")
    suggested_config: dict[str, Any] | None = Field(
        description="The job's `config` without editors and kinds that do not pay; post it with the same preset."
    )
    suggestion: str | None = Field(description="Why, in a sentence.")
    progress: Progress


def new_estimate(session: Session, workspace_id: str, body: EstimateIn) -> tuple[Estimate, list[Hint]]:
    """Add an estimate and its pilot in the caller's transaction. Raises Invalid naming the field."""
    pilot, problem_set = add_injection_job(session, workspace_id, body)
    count = problem_set.problem_count
    if count == 0:
        raise Invalid.field("problem_set", "the set has no problems", "post one that has some")
    # No key opens the pilots' workspace: so its pairs reach no list and no dataset.
    pilot.workspace_id = pilot_workspace(session)
    session.flush()
    hints = plan_pilot(session, pilot, count, body.pilot_problems)
    row = Estimate(id=new_id("est"), workspace_id=workspace_id, pilot_id=pilot.id, problems=count)
    session.add(row)
    session.flush()
    return row, hints


def _answer(session: Session, estimate: Estimate) -> EstimateOut:
    pilot = session.get_one(InjectionJob, estimate.pilot_id, populate_existing=True)
    shard = session.scalars(select(Shard).where(Shard.injection_job_id == pilot.id)).one()
    positions = list(shard.positions or [])
    done = pilot.state == JobState.SUCCEEDED
    funnel = job_funnel(session, pilot)
    found = costs(session, pilot.id, shard) if done else None
    suggestion = _suggestion(session, estimate.workspace_id, pilot, funnel) if done else None
    return EstimateOut.of(
        pilot,
        id=estimate.id,
        created_at=estimate.created_at,
        language_model=model_names(session, [pilot.language_model_id]).get(pilot.language_model_id or ""),
        pilot=PilotOut(problems=len(positions), positions=positions, funnel=funnel.to_dict()),
        forecast=_stopping(pilot, _forecast(list(found.values()), estimate.problems)) if found is not None else None,
        editors=_editors(funnel.counts) if done else None,
        suggested_config=suggestion[0] if suggestion else None,
        suggestion=suggestion[1] if suggestion else None,
        progress=progress_of(session, InjectionJob, [pilot])[pilot.id],
    )


def _editors(counts: dict[str, Any]) -> list[EditorYieldOut]:
    judged = pays(counts)
    return [
        EditorYieldOut(
            editor=editor,
            pays=judged[editor].pays,
            kept_share=told["kept"] / told["asked"] if told["asked"] else None,
            kinds={kind: _kind(found) for kind, found in kind_yields(counts, editor).items()},
            **told,
        )
        for editor, told in editor_yields(counts).items()
    ]


def _kind(found: Yield) -> KindYieldOut:
    return KindYieldOut(asked=found.asked, proven=found.proven, proven_share=found.share, pays=found.pays)


def _suggestion(session: Session, workspace_id: str, pilot: InjectionJob, funnel: Funnel) -> tuple[dict[str, Any], str]:
    """The overrides that a job should have instead, and why."""
    config = InjectionConfig.model_validate(pilot.config)
    domain = Domain(session.get_one(ProblemSet, pilot.problem_set_id).domain)
    missing = select(Event.id).where(Event.subject_id == pilot.id, Event.type == "editor_unavailable").limit(1)
    # With brought solutions and rules a pilot has no model; then there is none to score them either.
    model = session.get(LanguageModel, pilot.language_model_id) if pilot.language_model_id else None
    if config.editing.editor_model is not None:
        model = find_model(session, config.editing.editor_model, workspace_id)
    scored = model is not None and can_score(model.engine, model.config) is not False
    slips = scored and domain in (Domain.MATH, Domain.CHOICE) and session.scalar(missing) is None
    found = suggest(config, funnel.counts, domain, slips=slips)
    return overrides_of(found.config, domain), found.why


estimates = JobResource(
    table=Estimate,
    body=EstimateIn,
    model=EstimateOut,
    name="estimate",
    create=new_estimate,
    create_path="/injection-jobs:estimate",
    create_name="estimate_injection_job",
    answers=lambda session, rows: [_answer(session, row) for row in rows],
    states=None,  # state and events are the pilot's
    has_events=False,
    leased=lambda estimate: (InjectionJob, estimate.pilot_id),
    texts={
        "create": "Run a pilot over a few problems and forecast pairs, tokens and time of the whole job."
        " Starts no job.",
        "list": "Estimates, newest first.",
        "get": "One estimate, with its forecast once the pilot has succeeded.",
        "cancel": "Stop the pilot.",
    },
).register(router)


@dataclass
class Cost:
    """One problem of the pilot: its pairs by type, tokens by (stage, kind), and seconds of work."""

    pairs: Counter[str] = field(default_factory=Counter)
    tokens: dict[tuple[str, str], float] = field(default_factory=dict)
    seconds: float = 0.0

    def spent(self, stage: str) -> float:
        """Tokens of a stage."""
        return sum(self.tokens.get((stage, kind), 0.0) for kind in _KINDS)


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
    # By the number of continued edits, as the engine counts a shard's continuations together.
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
    pairs = [float(cost.pairs.total()) for cost in found]
    tokens = [sum(cost.tokens.values()) for cost in found]
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


def _stopping(pilot: InjectionJob, forecast: ForecastOut) -> ForecastOut:
    """The forecast with where the job stops."""
    config = InjectionConfig.model_validate(pilot.config)
    stages, prices = forecast.tokens_by_stage.values(), read_prices(pilot.prices)
    each = forecast.tokens_by_stage.items()
    totals: dict[Limit, float] = {
        "accepted_pairs": forecast.pairs.estimate,
        "generated_tokens": sum(stage.completion.estimate for stage in stages),
        "prompt_tokens": sum(stage.prompt.estimate for stage in stages),
        "money": sum(prices.of(name, s.prompt.estimate, s.completion.estimate) for name, s in each) if prices else 0.0,
    }
    stop = forecast_stop(config.stop, totals, forecast.problems, config.shard_size)
    return forecast.model_copy(update={"stop": stop})


def _rounded(found: Any, digits: int) -> IntervalOut:
    """Bounds are rounded outwards, or rounding would cut the interval."""
    scale = 10**digits
    low, high = math.floor(found.low * scale + 1e-6) / scale, math.ceil(found.high * scale - 1e-6) / scale
    return IntervalOut(estimate=round(found.estimate, max(digits, 1)), low=low, high=high)
