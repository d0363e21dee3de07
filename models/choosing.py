"""Which waiting shard goes next: by a hint, and for a worker that has none. Nothing here writes.

What a choice costs does not grow with the shards that wait: each stage's first waiting shard is one step into an
index, and beyond how many run, waiting ones are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ScalarSelect, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, aliased

from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, OwnerTable, is_waiting, owner_in
from models.states import JobState, ShardState, Stage
from models.workspaces import PILOT_WORKSPACE


@dataclass(frozen=True, slots=True)
class Choice:
    """A shard to claim, with what a claim has to know of its owner.

    ``stage`` is None where the owner is no injection job: then any stage will do. ``begun``: the owner was not queued
    any more, which it never is again. ``limited``: the owner has limits (``config.stop``).
    """

    shard_id: str
    owner: tuple[OwnerTable, str]
    stage: Stage | None
    begun: bool
    limited: bool


def choose_shard(session: Session, shard_id: str, first: Sequence[Stage]) -> Choice | None:
    """The shard to claim for a hint that names ``shard_id``: one of the same injection job that waits at these stages.

    It is taken from the stage with the fewest running shards; of equal stages, from the earliest in ``first``. Near the
    end of the job, when no more shards wait than run, it is the one with the most stages left: started last, it would
    run on after all others. A shard that must run alone comes last. None: no shard of the job waits at these stages.
    Shards of other owners are not exchanged: the answer is the named one.
    """
    row = session.execute(_looked(tuple(first)), {"shard_id": shard_id}).first()
    if row is None:
        return None
    owner = next((table, owner_id) for column, table in OWNERS if (owner_id := getattr(row, column)) is not None)
    if row.injection_job_id is None:
        return Choice(shard_id, owner, None, begun=False, limited=False)
    stop = {} if row.workspace_id == PILOT_WORKSPACE else row.stop or {}
    limited = any(limit is not None for limit in stop.values())
    about = (row.owner_state != JobState.QUEUED, limited)
    running = {stage: getattr(row, f"running_{at}") for at, stage in enumerate(first)}
    found = {stage: getattr(row, f"first_{at}") for at, stage in enumerate(first)}
    # The shard that the hint names is as good as any other of its stage.
    if row.state == ShardState.QUEUED and row.next_run_at is None and not row.alone and row.stage in found:
        found[Stage(row.stage)] = shard_id
    waiting = sum(getattr(row, f"waiting_{at}") for at in range(len(first)))
    near_end = waiting <= sum(running.values())
    for stage in sorted(first, key=tuple(Stage).index if near_end else running.__getitem__):
        if found[stage] is not None:
            return Choice(found[stage], owner, stage, *about)
    # What waits now waits alone or is not due: there is little of it, and it is put in order. Told to walk along the
    # positions, PostgreSQL would pass every shard that is done.
    at_stages = or_(*(Shard.stage == stage for stage in first))
    rest = select(Shard.id, Shard.stage).where(Shard.injection_job_id == row.injection_job_id, is_waiting(), at_stages)
    last = session.execute(rest.order_by(Shard.position + 0).limit(1)).first()
    return None if last is None else Choice(last.id, owner, Stage(last.stage), *about)


@cache  # there are as many as there are queues
def _looked(first: tuple[Stage, ...]) -> Select[Any]:
    """The named shard, its job, and of each stage how many shards run, which waits first, and how many wait.

    ``waiting`` is counted up to one more than run at all these stages.
    """
    named = aliased(Shard)
    job = select(named.injection_job_id).where(named.id == bindparam("shard_id")).scalar_subquery()

    # By equality of the stage PostgreSQL may walk along the job's positions instead, past every shard that is done: its
    # statistics do not know that those come first. In this order only the index of states and stages is.
    def waits(stage: Stage) -> Select[Any]:
        at_stage = and_(Shard.state == ShardState.QUEUED, Shard.stage.between(stage, stage))
        query = select(Shard.id).where(Shard.injection_job_id == job, at_stage)
        return query.order_by(Shard.stage, Shard.position)

    def earliest(stage: Stage) -> ScalarSelect[str]:
        return waits(stage).where(is_waiting(), ~Shard.alone).limit(1).scalar_subquery()

    def counted(query: Any) -> ScalarSelect[int]:
        return select(func.count()).select_from(query.subquery()).scalar_subquery()

    runs = select(Shard.id).where(Shard.injection_job_id == job, Shard.state == ShardState.RUNNING)
    most = counted(runs.where(or_(*(Shard.stage == stage for stage in first)))) + 1
    owner = (InjectionJob.state.label("owner_state"), InjectionJob.config["stop"].label("stop"))
    columns = (*(getattr(named, column) for column, _ in OWNERS), named.stage, named.state)
    return (
        select(
            *(*columns, named.next_run_at, named.alone, *owner, InjectionJob.workspace_id),
            *(counted(runs.where(Shard.stage == stage)).label(f"running_{at}") for at, stage in enumerate(first)),
            *(earliest(stage).label(f"first_{at}") for at, stage in enumerate(first)),
            *(counted(waits(stage).limit(most)).label(f"waiting_{at}") for at, stage in enumerate(first)),
        )
        .outerjoin(InjectionJob, InjectionJob.id == named.injection_job_id)
        .where(named.id == bindparam("shard_id"))
    )


def unheard_shard(session: Session, stages: Sequence[Stage], seconds: float) -> str | None:
    """A shard that may run now at one of these stages and whose last hint, if any, is older than ``seconds``.

    Those without a hint first, then the one whose hint is oldest.
    """
    at_stages = or_(*(Shard.stage == stage for stage in stages))
    waits = select(Shard.id).where(is_waiting(), at_stages, owner_in(JobState.QUEUED, JobState.RUNNING)).limit(1)
    # Two statements: either is one step into the index of shards that wait, together they would look at all of them.
    bare = waits.where(Shard.hinted_at.is_(None)).order_by(Shard.created_at, Shard.position)
    found = session.scalar(bare)
    if found is not None:
        return found
    return session.scalar(waits.where(Shard.hinted_at <= db_now(-seconds)).order_by(Shard.hinted_at))
