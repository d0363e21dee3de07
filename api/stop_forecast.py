"""Where a job with limits is expected to stop, from the forecast of all of its problem set."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import BaseModel, Field

from errata.stopping import Limit, StopConfig


class StopForecastOut(BaseModel):
    """The limit of `config.stop` that is reached first. What runs at that moment still ends: about one shard more."""

    limit: str | None = Field(description="Null: the problem set ends before any limit is reached.")
    problems: int = Field(description="Problems that are begun until then.")
    overshoot: int = Field(description="At most so many problems more are begun before: those of one shard.")


def forecast_stop(
    stop: StopConfig, totals: Mapping[Limit, float], problems: int, shard_size: int
) -> StopForecastOut | None:
    """Where it stops, if ``problems`` would bring ``totals``; None for a job without limits. Deadlines are left out."""
    if not stop.told:
        return None
    needed: dict[Limit, int] = {}
    for name, limit in stop.limits.items():
        if totals[name] > 0:
            needed[name] = math.ceil(limit * problems / totals[name])
    first = min(needed, key=lambda name: needed[name], default=None)
    if first is None or needed[first] >= problems:
        return StopForecastOut(limit=None, problems=problems, overshoot=0)
    return StopForecastOut(limit=first, problems=needed[first], overshoot=min(shard_size, problems - needed[first]))
