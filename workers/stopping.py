"""Ending an injection job at the limits of its ``config.stop``: at so many pairs, tokens or money, or at a time.

A shard starts only while the pairs and tokens of the shards in flight are not expected to reach a limit. Once one is
reached, shards that have not begun are skipped. Those in flight go on to their end, but draw no further wave of samples
and edit no further step. So a limit is passed by what was being generated and proven at that moment, and no more.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from errata.funnel import Funnel
from errata.prices import Prices, read_prices
from errata.stopping import DEADLINE, Limit, StopConfig, amounts_of, may_start
from models.base import db_now
from models.batches import has_begun, waits_for_batches
from models.events import record
from models.jobs import InjectionJob, JobSummary, Shard
from models.session import update_by_key, update_returning
from models.states import TERMINAL, JobState, ShardState, Stage
from models.summaries import count_in_summary
from models.workspaces import PILOT_WORKSPACE
from workers.lifecycle import Hint, complete_owner, hint_for

log = logging.getLogger(__name__)
_STEPS = 5  # of a solution that are edited and proven: 3 to 5 on GSM8K and MATH
_PROMPT_TOKENS = 500  # of a problem and its edits


def stop_of(session: Session, job_id: str) -> StopConfig | None:
    """The limits of a job; None where it has none. A pilot has none: it measures what the whole job would do."""
    real = InjectionJob.workspace_id != PILOT_WORKSPACE
    stored = session.scalar(select(InjectionJob.config["stop"]).where(InjectionJob.id == job_id, real))
    stop = StopConfig.model_validate(stored) if stored else None
    return stop if stop is not None and stop.told else None


def _counts(session: Session, job_id: str) -> dict[str, Any]:
    stored = session.scalar(select(JobSummary.counts).where(JobSummary.job_id == job_id))
    return Funnel.from_dict(stored or {}).counts


def _waiting(job_id: str) -> Any:
    """Shards of the job that have not begun."""
    queued = and_(Shard.injection_job_id == job_id, Shard.state == ShardState.QUEUED, Shard.stage == Stage.SAMPLE)
    return and_(queued, ~waits_for_batches())


def may_begin(session: Session, job_id: str | None, stage: str | None, shard_id: str) -> bool:
    """Whether a job's shard that waits at this stage may be claimed as far as the job's limits go.

    Locks the job where it has some: one at a time. ``job_id``: None for a shard of another owner.
    """
    if job_id is None or stage != Stage.SAMPLE or (stop := stop_of(session, job_id)) is None:
        return True
    if has_begun(session, shard_id):
        return True
    job = session.scalars(select(InjectionJob).where(InjectionJob.id == job_id).with_for_update()).one()
    config = InjectionConfig.model_validate(job.config)
    size, mine = func.coalesce(func.sum(Shard.stop - Shard.start), 0), Shard.injection_job_id == job_id
    past = or_(Shard.stage != Stage.SAMPLE, waits_for_batches())
    begun = or_(Shard.state == ShardState.RUNNING, and_(Shard.state == ShardState.QUEUED, past))
    in_flight = session.scalar(select(size).where(mine, begun)) or 0
    done = session.scalar(select(size).where(mine, Shard.state == ShardState.DONE)) or 0
    prices = read_prices(job.prices)
    return may_start(
        stop,
        _counts(session, job_id),
        done=int(done),
        in_flight=int(in_flight),
        guess=_guess(config, prices),
        prices=prices,
        now=_now(session, stop),
    )


def _now(session: Session, stop: StopConfig) -> datetime | None:
    """The database's time, where the limits ask for it."""
    return None if stop.deadline is None else session.scalars(select(db_now())).one()


def _guess(config: InjectionConfig, prices: Prices | None) -> dict[Limit, float]:
    """What a problem may bring, before any has: rather too much, as the first shards then wait for each other."""
    steps = min(config.pairs.step_pairs_per_problem or _STEPS, _STEPS) if config.pairs.step else 0
    prompt, generated = float(_PROMPT_TOKENS), float(config.sampling.max_tokens)
    money = (
        0.0 if prices is None else max((prices.of(stage, prompt, generated) for stage in prices.stages), default=0.0)
    )
    pairs = float(steps + config.pairs.full)
    return {"accepted_pairs": pairs, "generated_tokens": generated, "prompt_tokens": prompt, "money": money}


def follow_stop(session: Session, job_id: str) -> list[Hint]:
    """Stop the job where it has reached a limit, else a hint for a shard that may now begin. Call after a stage's end.

    Answers no hints for jobs without limits. A job whose last shards are skipped here is completed.
    """
    stop = stop_of(session, job_id)
    if stop is None:
        return []
    if stop_reached(session, job_id, stop):
        return []
    found = session.scalar(select(Shard.id).where(_waiting(job_id)).order_by(Shard.position).limit(1))
    return [hint_for(found, Stage.SAMPLE)] if found is not None else []


def stop_reached(session: Session, job_id: str, stop: StopConfig) -> bool:
    """Stop the job if it has reached a limit; whether it has. Doing it again skips what has come back since."""
    counts, now = _counts(session, job_id), _now(session, stop)
    prices = read_prices(session.scalar(select(InjectionJob.prices).where(InjectionJob.id == job_id)))
    reached = stop.reached(counts, prices, now)
    if reached is None:
        return False
    # The job's row first: claims, cancellations and ends of stages lock it before a shard.
    job = session.scalars(select(InjectionJob).where(InjectionJob.id == job_id).with_for_update()).one()
    if job.state in TERMINAL or job.state == JobState.CANCELLING:
        return True
    if job.stopped is None:
        job.stopped = reached
        session.flush()
        told: dict[str, Any] = {"limit": reached, "at": stop.told[reached]}
        told["reached"] = str(now) if reached == DEADLINE else amounts_of(counts, prices)[reached]
        told |= {"currency": prices.currency} if prices is not None and reached == "money" else {}
        record(session, job.workspace_id, job_id, "stopped", **told)
        log.info("job reached its limit", extra={"job": job_id, **told})
    _skip(session, job)
    complete_owner(session, InjectionJob, job_id)
    return True


def _skip(session: Session, job: InjectionJob) -> None:
    """End the shards that have not begun, and count their problems as skipped, with the reason."""
    columns = (Shard.id, Shard.start, Shard.stop)
    ended = {"state": ShardState.CANCELLED, "skipped": job.stopped}
    rows = update_returning(session, Shard, _waiting(job.id), *columns, **ended).all()
    if not rows:
        return
    parts = {row.id: Funnel().add("problems", "skipped", str(job.stopped), count=row.stop - row.start) for row in rows}
    update_by_key(session, Shard, [{"id": id_, "ledger": {"funnel": part.counts}} for id_, part in parts.items()])
    total = Funnel.total(part.counts for part in parts.values())
    count_in_summary(session, job.id, total.counts)
    skipped = total.counts["problems"]["skipped"][str(job.stopped)]
    record(session, job.workspace_id, job.id, "skipped", shards=len(rows), problems=skipped, limit=job.stopped)


def find_stopping(session: Session) -> list[str]:
    """Jobs in work that have limits: for the sweeper, as the worker that reached one may have died just then."""
    stop = InjectionJob.config["stop"]
    going = InjectionJob.state.in_([JobState.QUEUED, JobState.RUNNING])
    rows = session.execute(select(InjectionJob.id, stop).where(going, InjectionJob.workspace_id != PILOT_WORKSPACE))
    return [job_id for job_id, stored in rows if stored and StopConfig.model_validate(stored).told]
