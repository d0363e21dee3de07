"""Estimates: what an injection job would make and cost, from a pilot."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas.common import Progress
from api.schemas.injection_jobs import InjectionJobIn


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


class PilotOut(BaseModel):
    """What the pilot was; its pairs are in no list and in no dataset."""

    problems: int
    positions: list[int] = Field(description="Which problems of the set, from 0.")
    funnel: dict[str, Any]


class EstimateOut(BaseModel):
    """An estimate. State and progress are the pilot's; ``forecast`` is there once it has succeeded."""

    object: Literal["estimate"] = "estimate"
    id: str
    state: str
    error: str | None
    problem_set: str
    language_model: str | None
    preset: str
    config: dict[str, Any]
    pilot: PilotOut
    forecast: ForecastOut | None
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
