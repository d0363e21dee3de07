"""How far a job has come: shares from its shards, and the time left at the pace so far. Clocks are the database's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.jobs import InjectionJob, Shard
from models.outputs import Dataset, Evaluation
from models.states import TERMINAL, JobState, ShardState, Stage

Owner = type[InjectionJob] | type[Dataset] | type[Evaluation]
STAGES: dict[Owner, tuple[Stage, ...]] = {
    InjectionJob: (Stage.SAMPLE, Stage.GRADE, Stage.EDIT, Stage.PROVE, Stage.PAIR),
    Dataset: (Stage.FREEZE,),
    Evaluation: (Stage.ANSWER, Stage.JUDGE),
}
_COLUMNS = {
    InjectionJob: Shard.injection_job_id,
    Dataset: Shard.dataset_id,
    Evaluation: Shard.evaluation_id,
}
MIN_SHARE_FOR_ETA = 0.03


@dataclass(frozen=True, slots=True)
class StageProgress:
    """Shards of one owner as one stage sees them: past it, in it, waiting for it, and stopped in it."""

    stage: str
    done: int
    running: int
    waiting: int
    quarantined: int
    total: int

    @property
    def share(self) -> float:
        """Share of the shards that are past this stage."""
        return self.done / self.total if self.total else 0.0

    @property
    def active(self) -> bool:
        """Whether a shard is being computed here now."""
        return self.running > 0


@dataclass(frozen=True, slots=True)
class Progress:
    """One owner's shards, stage by stage."""

    stages: tuple[StageProgress, ...]
    shards: int
    quarantined: int

    @property
    def share(self) -> float:
        """Mean over stages: every stage counts alike, since none is known to be longer beforehand."""
        return sum(stage.share for stage in self.stages) / len(self.stages) if self.shards else 0.0


def load(session: Session, owner: Owner, ids: Sequence[str]) -> dict[str, Progress]:
    """Progress of each of ``ids``, in one query that counts shards and loads none."""
    if not ids:
        return {}
    column = _COLUMNS[owner]
    query = select(column, Shard.stage, Shard.state, func.count()).where(column.in_(ids))
    counts: dict[str, dict[tuple[str, str], int]] = {row_id: {} for row_id in ids}
    for row_id, stage, state, count in session.execute(query.group_by(column, Shard.stage, Shard.state)):
        counts[str(row_id)][(stage, state)] = count
    return {row_id: of_counts(STAGES[owner], counts[row_id]) for row_id in ids}


def of_counts(stages: Sequence[Stage], counts: dict[tuple[str, str], int]) -> Progress:
    """Progress from the number of shards per (stage, state)."""
    shards = sum(counts.values())
    # Continuations belong to proof: a job without them never enters that stage, so it has no column of its own.
    order: dict[str, int] = {stage: i for i, stage in enumerate(stages)}
    order.setdefault(Stage.CONTINUE, order.get(Stage.PROVE, 0))

    def count(index: int, *states: str) -> int:
        return sum(n for (stage, state), n in counts.items() if order.get(stage, 0) == index and state in states)

    finished = sum(n for (_, state), n in counts.items() if state == ShardState.DONE)
    seen = []
    for index, stage in enumerate(stages):
        past = sum(n for (at, state), n in counts.items() if order.get(at, 0) > index and state != ShardState.DONE)
        running, waiting = count(index, ShardState.RUNNING), count(index, ShardState.QUEUED)
        seen.append(
            StageProgress(stage, finished + past, running, waiting, count(index, ShardState.QUARANTINED), shards)
        )
    return Progress(tuple(seen), shards, sum(stage.quarantined for stage in seen))


def eta_seconds(state: str, share: float, started_at: datetime | None, now: datetime) -> float | None:
    """Seconds left at the pace so far; None while that would be a guess (not running, or hardly begun)."""
    if state != JobState.RUNNING or started_at is None or share < MIN_SHARE_FOR_ETA:
        return None
    return (now - started_at).total_seconds() * (1 - share) / share


def elapsed_seconds(started_at: datetime | None, finished_at: datetime | None, now: datetime) -> float | None:
    """Seconds from start to end, or until now; None before the start."""
    return None if started_at is None else max(0.0, ((finished_at or now) - started_at).total_seconds())


def is_live(state: str) -> bool:
    """Whether the row can still change, so that its page should be looked at again."""
    return state not in TERMINAL
