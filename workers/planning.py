"""Cutting work into shards, and ending it early: row changes made in the caller's transaction, hints returned."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from errata.seeds import derive_seed
from models.base import db_now, new_id
from models.events import record
from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, Owner, OwnerTable
from models.outputs import Dataset, Evaluation, Rejudging
from models.states import SHARD_TERMINAL, JobState, ShardState, Stage, move
from workers.app import GENERATION, GRADING

_GENERATING = frozenset({Stage.SAMPLE, Stage.EDIT, Stage.CONTINUE, Stage.ANSWER})
#: Which of an injection job's waiting shards goes next, by queue: one of the stage that fewest are at, of equals the
#: first here. So while some shards sample others edit, and the thin end of one's requests meets the thick of another's
#: instead of all shards being thin at once. Verdicts go before proofs: the engine waits for them.
FIRST: dict[str, tuple[Stage, ...]] = {
    GENERATION: (Stage.CONTINUE, Stage.EDIT, Stage.SAMPLE),
    GRADING: (Stage.GRADE, Stage.PAIR, Stage.PROVE),
}
EVALUATION_SHARD = 128  # problems
REJUDGING_SHARD = 128


@dataclass(frozen=True, slots=True)
class Hint:
    """A message to come: look at this shard. Losing, repeating or reordering hints changes nothing but latency."""

    shard_id: str
    queue: str


def hint_for(shard_id: str, stage: str) -> Hint:
    """The hint for a shard's next stage; stages that call no engine go to grading, so no GPU waits on them."""
    return Hint(shard_id, GENERATION if stage in _GENERATING else GRADING)


def stages_of(queue: str) -> list[Stage]:
    """The stages whose hints travel by ``queue``."""
    return [stage for stage in Stage if (stage in _GENERATING) == (queue == GENERATION)]


def column_of(owner: OwnerTable) -> str:
    """The shard column that names an owner of this table."""
    return next(column for column, table in OWNERS if table is owner)


def plan_injection(session: Session, job: InjectionJob, problem_count: int, *, first: int = 0) -> list[Hint]:
    """Create the shards of ``job`` over problem positions ``[first, problem_count)``."""
    size = InjectionConfig.model_validate(job.config).shard_size
    return _plan(session, job, Stage.SAMPLE, first, problem_count, size)


def plan_pilot(session: Session, job: InjectionJob, problem_count: int, wanted: int) -> list[Hint]:
    """Create the one shard of a pilot: of ``wanted`` equal parts of the set (at most one per problem) a problem each.

    Drawn by seed within its part, as evenly spaced ones would miss what comes periodically. One shard, so that the
    engine gets them together, as it gets a job's.
    """
    taken = min(wanted, problem_count)
    seed = derive_seed(InjectionConfig.model_validate(job.config).seed, "pilot", problem_count, taken)
    return _plan(session, job, Stage.SAMPLE, 0, taken, taken, pilot_positions(problem_count, taken, seed))


def pilot_positions(problem_count: int, taken: int, seed: int) -> list[int]:
    """Which problems a pilot of ``taken`` of them takes, in order."""
    rng = random.Random(seed)
    edges = [at * problem_count // taken for at in range(taken + 1)]
    return [rng.randrange(*part) for part in pairwise(edges)]


def plan_dataset(session: Session, dataset: Dataset) -> list[Hint]:
    """Create the one shard that freezes ``dataset``."""
    return _plan(session, dataset, Stage.FREEZE, 0, 1, 1)


def plan_evaluation(session: Session, evaluation: Evaluation, problem_count: int) -> list[Hint]:
    """Create the shards of ``evaluation`` over problem positions ``[0, problem_count)``."""
    return _plan(session, evaluation, Stage.ANSWER, 0, problem_count, EVALUATION_SHARD)


def plan_rejudging(session: Session, rejudging: Rejudging, problem_count: int) -> list[Hint]:
    """Create the shards of ``rejudging`` over problem positions ``[0, problem_count)``."""
    return _plan(session, rejudging, Stage.REJUDGE, 0, problem_count, REJUDGING_SHARD)


def _plan(
    session: Session, owner: Owner, stage: Stage, first: int, stop: int, size: int, positions: list[int] | None = None
) -> list[Hint]:
    column = column_of(type(owner))
    session.flush()
    taken = session.scalar(select(func.count()).where(getattr(Shard, column) == owner.id)) or 0
    hints = []
    for position, start in enumerate(range(first, stop, size), start=taken):
        place = {"position": position, "start": start, "stop": min(start + size, stop), "positions": positions}
        shard = Shard(id=new_id("shard"), stage=stage, hinted_at=db_now(), **place)
        setattr(shard, column, owner.id)
        session.add(shard)
        hints.append(hint_for(shard.id, stage))
    session.flush()
    record(session, owner.workspace_id, owner.id, "queued", shards=len(hints))
    return hints


def cancel(session: Session, table: OwnerTable, row_id: str) -> bool:
    """Request cancellation. Waiting shards end at once, running ones at their next check; False: already terminal.

    What earlier stages stored stays. The row itself becomes ``cancelled`` when no shard runs any more (workers.settle).
    """
    if not move(session, table, row_id, JobState.CANCELLING):
        return session.scalar(select(table.state).where(table.id == row_id)) == JobState.CANCELLING
    end = update(Shard).where(getattr(Shard, column_of(table)) == row_id, Shard.state == ShardState.QUEUED)
    session.execute(end.values(state=ShardState.CANCELLED).execution_options(synchronize_session=False))
    workspace = session.scalar(select(table.workspace_id).where(table.id == row_id))
    record(session, str(workspace), row_id, "cancelling")
    return True


def retry_quarantined(session: Session, job_id: str) -> list[Hint]:
    """Requeue a running job's quarantined shards with a clean record. A finished job's are retried in a new job."""
    statement = (
        update(Shard)
        .where(Shard.injection_job_id == job_id, Shard.state == ShardState.QUARANTINED)
        .values(state=ShardState.QUEUED, failures=0, interruptions=0, alone=False, error=None, next_run_at=None)
        .values(hinted_at=db_now())
        .returning(Shard.id, Shard.stage)
        .execution_options(synchronize_session=False)
    )
    return [hint_for(shard_id, stage) for shard_id, stage in session.execute(statement)]


def unfinished(session: Session, table: OwnerTable, row_id: str) -> int:
    """How many shards of a row are not yet done, quarantined or cancelled."""
    query = select(func.count()).where(
        getattr(Shard, column_of(table)) == row_id, Shard.state.not_in(sorted(SHARD_TERMINAL))
    )
    return session.scalar(query) or 0


def hints_for(session: Session, shard_ids: Iterable[str]) -> list[Hint]:
    """Hints for shards as they now stand."""
    rows = session.execute(select(Shard.id, Shard.stage).where(Shard.id.in_(list(shard_ids))))
    return [hint_for(shard_id, stage) for shard_id, stage in rows]
