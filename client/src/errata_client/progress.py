"""How far a job is, as the service tells it, and what every record is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base: immutable; unknown fields are allowed, as a newer service may send them."""

    # Schemas are built when they are first used: the command line imports all of them and uses few.
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), defer_build=True)


class Shards(Record):
    """Shards per state, and per stage those not ended."""

    total: int
    queued: int
    running: int
    done: int
    quarantined: int
    cancelled: int
    skipped: int = 0
    stages: dict[str, dict[str, int]] = {}


class StageProgress(Record):
    """What the running shards of one stage have made so far, of at most ``total``; ``tokens`` are generated ones."""

    unit: str
    made: int
    total: int
    tokens: int
    doing: str | None = None


class Progress(Record):
    """How far a job is; ``fraction`` is 1 at its end. ``made``: samples and edits so far, told of a single job."""

    fraction: float
    shards: Shards
    problems_done: int
    problems_total: int
    elapsed_seconds: float | None = None
    problems_per_second: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = None
    inside: dict[str, StageProgress] = {}
    tokens: dict[str, int] = {}
    made: dict[str, int] = {}
