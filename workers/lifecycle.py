"""A job from its plan to its end: cut into shards, cancelled, retried, and completed when no shard is left to run.

Rows change in the caller's transaction. The hints that are returned are sent by the caller after its commit.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.advice import advise
from errata.config import InjectionConfig
from errata.seeds import derive_seed
from models.base import db_now, new_id
from models.batches import forget_job
from models.evaluation_results import evaluation_result
from models.events import record
from models.jobs import InjectionJob, ProblemError, Shard
from models.leases import OWNERS, Owner, OwnerTable, column_of, shards_of
from models.outputs import Dataset, Evaluation, Rejudging
from models.results import job_funnel, rejudging_result
from models.session import update_returning
from models.states import SHARD_TERMINAL, TERMINAL, JobState, ShardState, Stage, move
from models.summaries import add_summary, settle_summary
from models.telemetry.tracing import traceparent
from models.workspaces import ProblemRow
from workers.app import GENERATION, GRADING

log = logging.getLogger(__name__)
_GENERATING = frozenset({Stage.SAMPLE, Stage.EDIT, Stage.CONTINUE, Stage.ANSWER})
#: Which of an injection job's waiting shards goes next, by queue: one of the stage with the fewest running shards, of
#: equal stages the first here. So while some shards sample others edit, and the thin end of one's requests meets the
#: thick of another's. Verdicts go before proofs: the engine waits for them.
STAGE_ORDER: dict[str, tuple[Stage, ...]] = {
    GENERATION: (Stage.CONTINUE, Stage.EDIT, Stage.SAMPLE),
    GRADING: (Stage.GRADE, Stage.PAIR, Stage.PROVE),
}
_JUDGED_AT_ONCE = 128  # problems per shard of an evaluation or a rejudging


@dataclass(frozen=True, slots=True)
class Hint:
    """A message to come: look at this shard. Losing, repeating or reordering hints changes nothing but latency."""

    shard_id: str
    queue: str


def hint_for(shard_id: str, stage: str) -> Hint:
    """The hint for a shard's next stage; stages that call no engine go to grading, so no GPU waits on them."""
    return Hint(shard_id, queue_of(stage))


def queue_of(stage: str) -> str:
    """The queue by which hints for this stage travel."""
    return GENERATION if stage in _GENERATING else GRADING


def stages_of(queue: str) -> list[Stage]:
    """The stages whose hints travel by ``queue``."""
    return [stage for stage in Stage if queue_of(stage) == queue]


def plan_injection(session: Session, job: InjectionJob, problem_count: int) -> list[Hint]:
    """Create the shards of ``job`` over problem positions ``[0, problem_count)``."""
    return _plan(session, job, Stage.SAMPLE, problem_count, InjectionConfig.model_validate(job.config).shard_size)


def plan_retry(session: Session, ended: InjectionJob, positions: list[int]) -> tuple[InjectionJob, list[Hint]]:
    """A new job with the configuration of an ended one, over these problem positions, with its shards and hints."""
    names = ("workspace_id", "problem_set_id", "language_model_id", "name", "prompt_versions", "prices", "priority")
    extending = ("extends", "extension")  # what an extension takes over, its retry does too
    given = {name: getattr(ended, name) for name in (*names, *extending)}
    # Its deadline was the old job's: it may have passed.
    config = {**ended.config, "stop": {**(ended.config.get("stop") or {}), "deadline": None}}
    job = InjectionJob(id=new_id("inj"), retry_of=ended.id, config=config, **given)
    session.add(job)
    return job, plan_positions(session, job, positions)


def plan_positions(session: Session, job: InjectionJob, positions: list[int]) -> list[Hint]:
    """Create the shards of ``job`` over these problem positions."""
    size = InjectionConfig.model_validate(job.config).shard_size
    return _plan(session, job, Stage.SAMPLE, len(positions), size, positions)


def missing_positions(session: Session, job: InjectionJob) -> list[int]:
    """Positions of the problems that an ended job lacks, in order: of shards not done, and those in error.

    Not those that it skipped at a limit of its own: an extension takes them up.
    """
    found: set[int] = set()
    lost = (Shard.injection_job_id == job.id) & (Shard.state != ShardState.DONE) & Shard.skipped.is_(None)
    for shard in session.scalars(select(Shard).where(lost)):
        found |= set((shard.positions or range(shard.stop))[shard.start : shard.stop])
    errors = select(ProblemError.problem_id).join(Shard, ProblemError.shard_id == Shard.id)
    failed = errors.where(Shard.injection_job_id == job.id)
    found |= set(session.scalars(select(ProblemRow.position).where(ProblemRow.id.in_(failed))))
    return sorted(found)


def plan_pilot(session: Session, job: InjectionJob, problem_count: int, wanted: int) -> list[Hint]:
    """Create the one shard of a pilot: of ``wanted`` equal parts of the set (at most one per problem) a problem each.

    Drawn by seed within its part, as evenly spaced ones would miss what comes periodically. One shard, so that the
    engine gets them together, as it gets a job's.
    """
    taken = min(wanted, problem_count)
    seed = derive_seed(InjectionConfig.model_validate(job.config).seed, "pilot", problem_count, taken)
    return _plan(session, job, Stage.SAMPLE, taken, taken, pilot_positions(problem_count, taken, seed))


def pilot_positions(problem_count: int, taken: int, seed: int) -> list[int]:
    """Which problems a pilot of ``taken`` of them takes, in order."""
    rng = random.Random(seed)
    edges = [at * problem_count // taken for at in range(taken + 1)]
    return [rng.randrange(*part) for part in pairwise(edges)]


def plan_dataset(session: Session, dataset: Dataset) -> list[Hint]:
    """Create the one shard that freezes ``dataset``."""
    return _plan(session, dataset, Stage.FREEZE, 1, 1)


def plan_evaluation(session: Session, evaluation: Evaluation, problem_count: int) -> list[Hint]:
    """Create the shards of ``evaluation`` over problem positions ``[0, problem_count)``."""
    return _plan(session, evaluation, Stage.ANSWER, problem_count, _JUDGED_AT_ONCE)


def plan_rejudging(session: Session, rejudging: Rejudging, problem_count: int) -> list[Hint]:
    """Create the shards of ``rejudging`` over problem positions ``[0, problem_count)``."""
    return _plan(session, rejudging, Stage.REJUDGE, problem_count, _JUDGED_AT_ONCE)


def _plan(
    session: Session, owner: Owner, stage: Stage, stop: int, size: int, positions: list[int] | None = None
) -> list[Hint]:
    """Create shards of ``size`` over ``[0, stop)``: problem positions, or indices of ``positions``."""
    session.flush()
    if isinstance(owner, InjectionJob):
        add_summary(session, owner)
    hints, trace = [], traceparent()
    for position, start in enumerate(range(0, stop, size)):
        place: dict[str, Any] = {"position": position, "start": start, "stop": min(start + size, stop)}
        if positions is not None:  # each shard keeps its own part of the list
            part = positions[start : start + size]
            place |= {"start": 0, "stop": len(part), "positions": part}
        # Marked as hinted although the hint goes out after the commit: the sweeper would send a second one meanwhile.
        shard = Shard(id=new_id("shard"), stage=stage, hinted_at=db_now(), traceparent=trace, **place)
        setattr(shard, column_of(type(owner)), owner.id)
        session.add(shard)
        hints.append(hint_for(shard.id, stage))
    session.flush()
    record(session, owner.workspace_id, owner.id, "queued", shards=len(hints))
    return hints


def cancel(session: Session, table: OwnerTable, row_id: str) -> bool:
    """Request cancellation. Waiting shards end at once, running ones at their next check; False: already terminal.

    What earlier stages stored stays. The row becomes ``cancelled`` when no shard runs any more (complete_owner).
    """
    # The owner's row first: claims and ends of stages lock it before a shard, and a deadlock needs two orders.
    if not move(session, table, row_id, JobState.CANCELLING):
        return session.scalar(select(table.state).where(table.id == row_id)) == JobState.CANCELLING
    waiting = shards_of(table, row_id) & (Shard.state == ShardState.QUEUED)
    update_returning(session, Shard, waiting, Shard.id, state=ShardState.CANCELLED)
    workspace = session.scalar(select(table.workspace_id).where(table.id == row_id))
    record(session, str(workspace), row_id, "cancelling")
    return True


def pause(session: Session, job: InjectionJob) -> bool:
    """Let no shard of the job be claimed; running stages give theirs back at their next check. False: it has ended."""
    going = (InjectionJob.id == job.id) & InjectionJob.state.in_([JobState.QUEUED, JobState.RUNNING])
    at = func.coalesce(InjectionJob.paused_at, db_now())
    if update_returning(session, InjectionJob, going, InjectionJob.id, paused_at=at).first() is None:
        return False
    record(session, job.workspace_id, job.id, "paused")
    return True


def resume(session: Session, job: InjectionJob) -> list[Hint] | None:
    """Let a paused job go on: hints for its waiting shards. None: it was not paused, or is not in work any more."""
    going = InjectionJob.state.in_([JobState.QUEUED, JobState.RUNNING])
    paused = (InjectionJob.id == job.id) & going & InjectionJob.paused_at.is_not(None)
    if update_returning(session, InjectionJob, paused, InjectionJob.id, paused_at=None).first() is None:
        return None
    record(session, job.workspace_id, job.id, "resumed")
    waiting = (Shard.injection_job_id == job.id) & (Shard.state == ShardState.QUEUED)
    rows = update_returning(session, Shard, waiting, Shard.id, Shard.stage, hinted_at=db_now())
    return [hint_for(row.id, row.stage) for row in rows]


def retry_quarantined(session: Session, job_id: str) -> list[Hint]:
    """Requeue a running job's quarantined shards with a clean record. A finished job's are retried in a new job."""
    clean: dict[str, Any] = {"failures": 0, "interruptions": 0, "alone": False, "error": None, "next_run_at": None}
    quarantined = (Shard.injection_job_id == job_id) & (Shard.state == ShardState.QUARANTINED)
    values = {"state": ShardState.QUEUED, "hinted_at": db_now(), **clean}
    rows = update_returning(session, Shard, quarantined, Shard.id, Shard.stage, **values)
    return [hint_for(row.id, row.stage) for row in rows]


def complete_owner(session: Session, table: OwnerTable, row_id: str) -> str | None:
    """Move a job to its terminal state, with its result, if all its shards have ended. Returns the new state.

    None: shards still wait or run, or the job has ended before.
    """
    # Locked before the shards are counted: of two workers that finish the last two shards at once, the second counts
    # after the first's commit and sees both done.
    found: Any = session.scalars(select(table).where(table.id == row_id).with_for_update()).first()
    row: Owner | None = found
    if row is None or row.state in TERMINAL:
        return None
    counted = select(Shard.state, func.count()).where(shards_of(table, row_id)).group_by(Shard.state)
    counts: dict[str, int] = {row[0]: row[1] for row in session.execute(counted)}
    if counts.keys() - SHARD_TERMINAL:
        return None
    # Shards that ended before any was claimed (an empty plan): a queued job has no way to an end but through running.
    if row.state == JobState.QUEUED and not move(session, table, row_id, JobState.RUNNING):
        return None
    state, values = _end_of(session, row, counts)
    if not move(session, table, row_id, state, **values):
        return None
    forget_job(session, shards_of(table, row_id))
    if isinstance(row, InjectionJob):
        settle_summary(session, row_id)
    told = {name: value for name, value in values.items() if name in ("error", "partial")}
    if state == JobState.SUCCEEDED and (advice := advise(values["funnel"]) if "funnel" in values else None):
        told["advice"] = advice
    record(session, row.workspace_id, row_id, state, **told)
    figures = {name: count for name, count in counts.items() if count}
    if funnel := values.get("funnel"):
        figures |= {"problems": funnel["problems"]["total"], "pairs": funnel["pairs"]["total"]}
    log.info("job finished", extra={"job": row_id, "kind": table.__tablename__, "state": str(state), **figures})
    return state


def _end_of(session: Session, row: Owner, counts: dict[str, int]) -> tuple[JobState, dict[str, Any]]:
    """How a job ends, and the columns that say so. ``counts``: its shards by state."""
    done, quarantined = counts.get(ShardState.DONE, 0), counts.get(ShardState.QUARANTINED, 0)
    values: dict[str, Any] = {}
    min_yield = 1.0
    if isinstance(row, InjectionJob):
        values["funnel"] = job_funnel(session, row).to_dict()
        min_yield = InjectionConfig.model_validate(row.config).min_yield
    if row.state == JobState.CANCELLING:
        return JobState.CANCELLED, values | {"partial": done > 0}
    failed, share = _failed_problems(session, row)
    if quarantined or failed:
        total, whole = done + quarantined, done - share
        told = (
            [f"{quarantined} of {total} shards were quarantined: {_first_error(session, row)}"] if quarantined else []
        )
        told += [f"{failed} problems raised errors: {_first_problem_error(session, row)}"] if failed else []
        values |= {"partial": whole > 0, "error": "; ".join(told)}
        # A job is held to its yield of problems; an evaluation or a rejudging may lack problems, but no shard.
        kept = whole if isinstance(row, InjectionJob) else done
        if whole <= 0 or kept / total < min_yield:
            return JobState.FAILED, values
    if isinstance(row, Evaluation):
        values["result"] = evaluation_result(session, row.id)
    if isinstance(row, Rejudging):
        values["result"] = rejudging_result(session, row.id)
    return JobState.SUCCEEDED, values


def _failed_problems(session: Session, row: Owner) -> tuple[int, float]:
    """How many problems of done shards were set aside, and how many shards they make up together."""
    size = Shard.stop - Shard.start
    counted = select(size, func.count()).join(ProblemError, ProblemError.shard_id == Shard.id).group_by(Shard.id, size)
    done = counted.where(shards_of(type(row), row.id), Shard.state == ShardState.DONE)
    found = [(row[0], row[1]) for row in session.execute(done)]
    return sum(count for _, count in found), sum(count / problems for problems, count in found)


def _first_problem_error(session: Session, row: Owner) -> str:
    query = select(ProblemError.message).join(Shard, ProblemError.shard_id == Shard.id)
    of_done = query.where(shards_of(type(row), row.id), Shard.state == ShardState.DONE)
    return session.scalars(of_done.order_by(Shard.position, ProblemError.problem_id).limit(1)).first() or "unknown"


def _first_error(session: Session, row: Owner) -> str:
    query = select(Shard.error).where(shards_of(type(row), row.id), Shard.state == ShardState.QUARANTINED)
    return session.scalars(query.order_by(Shard.position).limit(1)).first() or "unknown"


def find_incomplete(session: Session) -> list[tuple[OwnerTable, str]]:
    """Jobs that go on although all their shards have ended: the last one's worker died before it completed them."""
    found: list[tuple[OwnerTable, str]] = []
    for column, table in OWNERS:
        open_shards = select(Shard.id).where(
            getattr(Shard, column) == table.id, Shard.state.in_([ShardState.QUEUED, ShardState.RUNNING])
        )
        rows = session.scalars(select(table.id).where(table.state.not_in(sorted(TERMINAL)), ~open_shards.exists()))
        found += [(table, row_id) for row_id in rows]
    return found
