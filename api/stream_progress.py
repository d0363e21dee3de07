"""What an event stream tells of a job between its events: how far it is, without what no reader needs every second."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.schemas import Progress

_OF_SHARDS = {"fraction", "problems_done", "problems_total", "eta_seconds", "inside", "tokens", "made"}
_OF_RUNS = ("step", "total_steps", "doing", "seconds_per_step", "eta_seconds")


def streamed(answer: BaseModel) -> dict[str, Any]:
    """How far a job or training run is, as JSON values; empty where it has not moved.

    Of a job: its fraction, problems, stages (``stages``: stage -> state -> shards), what the running ones have made,
    its tokens and ETA in seconds. Of a training run: step, steps in all, phase, pace and ETA.
    """
    progress = getattr(answer, "progress", None)
    if isinstance(progress, Progress):
        if not (progress.fraction or progress.inside):
            return {}
        told = progress.model_dump(mode="json", include=_OF_SHARDS, exclude_none=True)
        told["stages"] = progress.shards.stages
    else:
        row = answer.model_dump(mode="json", include=set(_OF_RUNS), exclude_none=True)
        if not (row.get("step") or row.get("doing")):
            return {}
        told = row
        if steps := row.get("total_steps"):
            told["fraction"] = round(row["step"] / steps, 4)
    return {name: value for name, value in told.items() if value not in ({}, None)}
