"""How far a job or a training run is, and how long it will take: the one answer that JSON and pages both give.

A shard counts by the share of its stages that lie behind it, and the stage that runs by what it has made. A quarantined
or cancelled shard has ended: nothing more is computed for it, so it counts in full for the fraction and the time left.
What is lost with it is told apart, as ``quarantined`` and ``cancelled`` among the shards, and never by a smaller
fraction.

All times are the database's. Nothing here writes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Float, Integer, case, cast, func, select
from sqlalchemy.orm import Session

from api.schemas import Progress, ShardCounts, StageProgress
from errata.funnel import Funnel
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.leases import OWNERS, Owner, OwnerTable
from models.outputs import Dataset, Evaluation, Event, Metric, Rejudging, TrainingRun
from models.states import SHARD_TERMINAL, TERMINAL, JobState, ShardState, Stage, TrainingState
from models.summaries import SKIPPED, settled_groups

#: The stages of each kind of job, in order.
STAGES: dict[OwnerTable, tuple[Stage, ...]] = {
    InjectionJob: (Stage.SAMPLE, Stage.GRADE, Stage.EDIT, Stage.CONTINUE, Stage.PROVE, Stage.PAIR),
    Dataset: (Stage.FREEZE,),
    Evaluation: (Stage.ANSWER, Stage.JUDGE),
    Rejudging: (Stage.REJUDGE,),
}
MIN_FRACTION_FOR_ETA = 0.03  # below it the first shards' start-up dominates, and the quotient is a guess
# Only some jobs have continuations: a stage of its own would stand on the page of every job, mostly for nothing.
_COUNTED_WITH = {Stage.CONTINUE: Stage.PROVE}
_OWNER_COLUMNS: dict[OwnerTable, Any] = {table: getattr(Shard, column) for column, table in OWNERS}
_MAX_QUEUED = 10_000
_ENDED = SHARD_TERMINAL | {SKIPPED}

_RECENT_STEPS = 200  # the speed of a run is taken from these
_WRITE_WINDOW = timedelta(seconds=0.5)  # a trainer writes once a second: metrics closer together were written at once
_ATTEMPT_STARTED = "training.running"  # the event at the start of every attempt


#: What a stage makes, as the reader is told it; of the other stages nothing is told before they end.
UNITS = {
    Stage.SAMPLE: "samples",
    Stage.EDIT: "edits",
    Stage.CONTINUE: "continuations",
    Stage.ANSWER: "answers",
    Stage.FREEZE: "pairs",
}


class ShardGroup(NamedTuple):
    """The shards of one job that share stage and state; ``problems`` counts those of all of them.

    ``inside``: the share of the stage that each running one has done, added up. ``made`` of ``total`` items and
    generated ``tokens`` are theirs, too.
    """

    stage: str
    state: str
    shards: int
    problems: int
    inside: float = 0.0
    made: int = 0
    total: int = 0
    tokens: int = 0
    doing: str | None = None

    @property
    def told(self) -> StageProgress | None:
        """What the running shards of a stage tell; None where they do not."""
        unit = UNITS.get(Stage(self.stage))
        if unit is None or not (self.total or self.doing):
            return None
        return StageProgress(unit=unit, made=self.made, total=self.total, tokens=self.tokens, doing=self.doing)


@dataclass(frozen=True, slots=True)
class StageShards:
    """A job's shards as one stage sees them: past it, in it, waiting for it, and quarantined in it.

    ``inside``: of those in it, the share that each has done, added up. ``told``: what they tell of it.
    """

    stage: str
    done: int
    running: int
    waiting: int
    quarantined: int
    total: int
    inside: float = 0.0
    told: tuple[StageProgress, ...] = ()

    @property
    def share(self) -> float:
        """Share of this stage that is done for all shards, from 0 to 1."""
        return (self.done + self.inside) / self.total if self.total else 0.0


def progress_of(session: Session, table: OwnerTable, rows: Sequence[Owner]) -> dict[str, Progress]:
    """The progress of each row, by id: one grouped query for all of them, which loads no shard."""
    if not rows:
        return {}
    ends = [row.finished_at for row in rows if row.finished_at is not None]
    # What has ended needs no clock.
    now = max(ends) if len(ends) == len(rows) else session.scalars(select(db_now())).one()
    ended = [row.id for row in rows if table is InjectionJob and row.state in TERMINAL]
    settled = settled_groups(session, ended)
    groups = _groups(session, table, [row.id for row in rows if row.id not in settled])
    groups |= {row_id: [ShardGroup(*group) for group in found] for row_id, found in settled.items()}
    waiting = queue_positions(session, table) if any(row.state == JobState.QUEUED for row in rows) else {}
    return {row.id: _progress(row, STAGES[table], groups[row.id], now, waiting.get(row.id)) for row in rows}


def stages_of(session: Session, table: OwnerTable, row_id: str) -> list[StageShards]:
    """One job's shards, stage by stage."""
    return count_stages(STAGES[table], _groups(session, table, [row_id])[row_id])


def count_stages(stages: Sequence[Stage], groups: Sequence[ShardGroup]) -> list[StageShards]:
    """``stages_of`` from counts. Continuations count with the proof that they are for."""
    shown = [stage for stage in stages if stage not in _COUNTED_WITH]
    total = sum(group.shards for group in groups)
    counted = []
    for index, stage in enumerate(shown):
        here: Counter[str] = Counter()
        inside, told = 0.0, []
        for group in groups:
            at = shown.index(_COUNTED_WITH.get(Stage(group.stage), Stage(group.stage)))
            # A finished shard keeps the name of its last stage, though it is past that one too.
            if at > index or group.state == ShardState.DONE:
                here["past"] += group.shards
            elif at == index:
                here[group.state] += group.shards
                inside += group.inside
                told += [group.told] if group.told else []
        running, waiting, quarantined = (here[state] for state in ("running", "queued", "quarantined"))
        counted.append(StageShards(stage, here["past"], running, waiting, quarantined, total, inside, tuple(told)))
    return counted


def elapsed_seconds(row: Owner | TrainingRun, now: datetime) -> float | None:
    """Seconds from start to end, or until ``now``; None before the start."""
    return None if row.started_at is None else max(0.0, ((row.finished_at or now) - row.started_at).total_seconds())


def eta_seconds(state: str, fraction: float, elapsed: float | None) -> float | None:
    """Seconds left at the mean speed so far; None while that would be a guess (not running, or hardly begun)."""
    # A cancelling job stops wherever its shards are: what its speed would still need says nothing about its end.
    if state != JobState.RUNNING or elapsed is None or fraction < MIN_FRACTION_FOR_ETA:
        return None
    return elapsed * (1 - fraction) / fraction


def tokens_of(funnel: Funnel, running: Sequence[tuple[str, dict[str, Any]]] = ()) -> dict[str, int]:
    """Tokens of all stages, by kind (``cached`` is part of ``prompt``); of those that run by what they tell.

    ``reused`` were generated for earlier requests and are no part of the others.
    """
    totals = {"prompt": 0, "completion": 0, "cached": 0, "reused": 0}
    for counts in (*funnel.counts["tokens"].values(), *(progress for _, progress in running)):
        for name in totals:
            totals[name] += counts.get(name, 0)
    return totals


def made_of(funnel: Funnel, running: Sequence[tuple[str, dict[str, Any]]] = ()) -> dict[str, int]:
    """Samples and edits of all shards; ``running``: stage and progress of those that run."""
    made = {unit: funnel.counts[unit]["total"] for unit in ("samples", "edits")}
    for stage, progress in running:
        if (unit := UNITS.get(Stage(stage))) in made:
            made[str(unit)] += progress["made"]
    return made


def steps_fraction(run: TrainingRun) -> float:
    """Share of a training run's optimizer steps that are taken; 0 while their number is not known."""
    return run.step / run.total_steps if run.total_steps else 0.0


def seconds_per_step(session: Session, run: TrainingRun) -> float | None:
    """Mean over the newest steps of the current attempt: pauses and interruptions do not count. None: not known yet.

    Measured between metrics, from the last of the first batch of them to the last of all. What an attempt does before
    its first step (the reference pass) does not count either.
    """
    attempts = select(Event.created_at).where(Event.subject_id == run.id, Event.type == _ATTEMPT_STARTED)
    started = session.scalar(attempts.order_by(Event.id.desc()).limit(1))
    query = select(Metric.step, Metric.created_at).where(Metric.run_id == run.id, Metric.phase == "train")
    if started is not None:
        query = query.where(Metric.created_at >= started)
    rows = session.execute(query.order_by(Metric.step.desc()).limit(_RECENT_STEPS)).all()
    if not rows:
        return None
    newest = rows[0]
    # Metrics that were written together share one time: counted from its first step, they would seem to take no time.
    first = next(row for row in rows if row.created_at <= rows[-1].created_at + _WRITE_WINDOW)
    if newest.step == first.step:
        return None
    seconds_each: float = (newest.created_at - first.created_at).total_seconds() / (newest.step - first.step)
    return seconds_each


def seconds_left(run: TrainingRun, per_step: float | None) -> float | None:
    """Seconds until the last step; None for a run that does not run, or whose speed or length is not known."""
    if run.state != TrainingState.RUNNING or per_step is None or run.total_steps is None:
        return None
    return per_step * (run.total_steps - run.step)


def _groups(session: Session, table: OwnerTable, ids: Sequence[str]) -> dict[str, list[ShardGroup]]:
    groups: dict[str, list[ShardGroup]] = defaultdict(list)
    if not ids:
        return groups
    owner, told = _OWNER_COLUMNS[table], Shard.progress
    # One statement: a stage that ends between two of them would be seen as not begun, and the fraction would fall.
    # Only running shards tell anything; of the others the JSON is not looked into, which is most of the cost.
    runs = Shard.state == ShardState.RUNNING
    names = ("made", "total", "completion")
    counts = (func.sum(case((runs, cast(told[name].as_string(), Integer)))) for name in names)
    share = func.sum(case((runs, cast(told["share"].as_string(), Float))))
    inside = (share, *counts, func.max(case((runs, told["doing"].as_string()))))
    query = (
        select(
            *(owner, Shard.stage, Shard.state, Shard.skipped, func.count(), func.sum(Shard.stop - Shard.start)),
            *inside,
        )
        .where(owner.in_(ids))
        .group_by(owner, Shard.stage, Shard.state, Shard.skipped)
    )
    for row_id, stage, state, skipped, shards, problems, share, *made, doing in session.execute(query):
        reached, most, tokens = (int(count or 0) for count in made)
        inside_of = (share or 0.0, reached, most, tokens, doing)
        groups[row_id].append(ShardGroup(stage, SKIPPED if skipped else state, shards, int(problems), *inside_of))
    return groups


def queue_positions(session: Session, table: OwnerTable | type[TrainingRun]) -> dict[str, int]:
    """Places of the jobs of one kind that wait, from 1; those far behind have none."""
    query = select(table.id).where(table.state == JobState.QUEUED)
    ids = session.scalars(query.order_by(table.created_at, table.id).limit(_MAX_QUEUED))
    return {row_id: position for position, row_id in enumerate(ids, start=1)}


def _progress(
    row: Owner, stages: tuple[Stage, ...], groups: Sequence[ShardGroup], now: datetime, queue_position: int | None
) -> Progress:
    fraction = _fraction(row.state, stages, groups)
    elapsed = elapsed_seconds(row, now)
    done = sum(group.problems for group in groups if group.state == ShardState.DONE)
    return Progress(
        fraction=round(fraction, 4),
        shards=_counts(groups),
        problems_done=done,
        problems_total=sum(group.problems for group in groups),
        elapsed_seconds=elapsed,
        problems_per_second=done / elapsed if elapsed and done else None,
        eta_seconds=eta_seconds(row.state, fraction, elapsed),
        queue_position=queue_position,
        inside={group.stage: told for group in groups if (told := group.told) is not None},
    )


def _fraction(state: str, stages: tuple[Stage, ...], groups: Sequence[ShardGroup]) -> float:
    """Share of all stages of all shards that is done. Stages count alike: none is known to be longer beforehand.

    It falls only where a shard is requeued: what its stage had made is lost.
    """
    if state in TERMINAL:
        return 1.0
    total = sum(group.shards for group in groups)
    ended = 0.0
    for group in groups:
        if group.state in _ENDED:
            ended += group.shards
        else:
            ended += (group.shards * stages.index(Stage(group.stage)) + group.inside) / len(stages)
    return ended / total if total else 0.0


def _counts(groups: Sequence[ShardGroup]) -> ShardCounts:
    states: dict[str, int] = dict.fromkeys((*ShardState, SKIPPED), 0)
    stages: dict[str, dict[str, int]] = {}
    for group in groups:
        states[group.state] += group.shards
        if group.state not in _ENDED:
            stages.setdefault(group.stage, {})[group.state] = group.shards
    return ShardCounts(total=sum(states.values()), stages=stages, **states)
