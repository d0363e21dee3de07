"""``/metrics`` for Prometheus: this process's counters, and what the database and the broker say at the scrape.

It counts rows of every workspace, so no key of one opens it: only the operator's ``ERRATA_METRICS_TOKEN`` does. What is
read from the database is kept for a few seconds. It reads jobs, shards that have not ended and training runs that run,
never samples, edits or pairs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import String, and_, func, literal, select, union_all
from sqlalchemy.orm import Session

from api.http.errors import NotFound, Unauthorized, documented
from api.http.routing import Api, ApiDep, StrictRoute
from models.base import db_now
from models.heartbeats import heard
from models.jobs import InjectionJob, Shard
from models.leases import is_waiting
from models.outputs import Dataset, Evaluation, Metric, Rejudging, TrainingRun
from models.states import ShardState, TrainingState
from models.telemetry.metrics import exposition
from models.telemetry.port import bearer_matches
from models.webhooks import WebhookDelivery, WebhookEndpoint
from workers.dispatch import QUEUES, queue_of

router = APIRouter(tags=["service"], route_class=StrictRoute)
_KEPT_SECONDS = 5.0
_JOBS = (InjectionJob, Dataset, Evaluation, Rejudging, TrainingRun)
_OPEN = (ShardState.QUEUED, ShardState.RUNNING, ShardState.QUARANTINED)
_PACE_STEPS = 50


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}},
        **documented(401, 404, 422, 503),
    },
)
def get_metrics(
    request: Request, api: ApiDep, accept: Annotated[str, Header(max_length=1_000, include_in_schema=False)] = ""
) -> Response:
    """Metrics in the formats of Prometheus. Needs ``Authorization: Bearer`` with the operator's metrics token."""
    token = api.settings.metrics_token
    if token is None:
        raise NotFound("metrics are off; the operator turns them on by setting ERRATA_METRICS_TOKEN")
    if not bearer_matches(request.headers.get("authorization", ""), token.get_secret_value()):
        raise Unauthorized("this needs the operator's metrics token", headers={"WWW-Authenticate": "Bearer"})
    collector: StoredMetrics = request.app.state.stored_metrics
    body, content_type = exposition(accept, collector)
    return Response(body, headers={"Content-Type": content_type})


class StoredMetrics(Collector):
    """What the database and the broker say, read at most every few seconds however often it is asked for."""

    def __init__(self, api: Api, kept_seconds: float = _KEPT_SECONDS) -> None:
        self._api, self._kept_seconds = api, kept_seconds
        self._lock = threading.Lock()
        self._families: list[Any] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Any]:
        """The families as they were a few seconds ago at most."""
        with self._lock:  # several scrapes at once read once
            if time.monotonic() - self._read_at >= self._kept_seconds:
                self._families = self._read()
                self._read_at = time.monotonic()
            return list(self._families)

    def _read(self) -> list[Any]:
        with self._api.db.read() as session:
            found = [
                _jobs(session),
                *_shards(session),
                *_training(session),
                _processes(session),
                *_webhooks(session),
            ]
        return [*found, *self._broker()]

    def _broker(self) -> list[Any]:
        up = GaugeMetricFamily("errata_broker_up", "1 if the broker answers.")
        length = GaugeMetricFamily("errata_queue_messages", "Hints that wait in the broker.", labels=["queue"])
        answers = self._api.dispatcher.answers()
        up.add_metric([], float(answers))
        for queue in QUEUES if answers else ():  # unknown is no zero
            length.add_metric([queue], self._api.dispatcher.waiting(queue))
        return [up, length]


def _jobs(session: Session) -> Any:
    family = GaugeMetricFamily("errata_jobs", "Jobs by kind and state, those that have ended too.",
                               labels=["kind", "state"])  # fmt: skip
    parts = [
        select(literal(table.__tablename__, String).label("kind"), table.state.label("state"), func.count().label("n"))
        .group_by(table.state)
        for table in _JOBS
    ]  # fmt: skip
    for kind, state, count in session.execute(union_all(*parts)):
        family.add_metric([kind.removesuffix("s"), state], count)
    return family


def _shards(session: Session) -> Iterable[Any]:
    """Shards that have not ended well, by stage and state, and how long the oldest of each has waited or run."""
    family = GaugeMetricFamily("errata_shards", "Shards by stage and state: queued, running, quarantined.",
                               labels=["stage", "state"])  # fmt: skip
    due = GaugeMetricFamily("errata_shards_due", "Queued shards that may run now.", labels=["stage"])
    work = GaugeMetricFamily("errata_queue_shards", "Shards that run or may run now, by the queue of their stage.",
                             labels=["queue"])  # fmt: skip
    of_queue = dict.fromkeys(QUEUES, 0)  # a queue without work is 0, not absent: autoscalers read it
    # By the index on state: shards that are done, which are most, are not read.
    grouped = select(Shard.stage, Shard.state, func.count()).where(Shard.state.in_(_OPEN))
    for stage, state, count in session.execute(grouped.group_by(Shard.stage, Shard.state)):
        family.add_metric([stage, state], count)
        of_queue[queue_of(stage)] += count if state == ShardState.RUNNING else 0
    waiting = select(Shard.stage, func.count()).where(is_waiting()).group_by(Shard.stage)
    for stage, count in session.execute(waiting):
        due.add_metric([stage], count)
        of_queue[queue_of(stage)] += count
    for queue, count in of_queue.items():
        work.add_metric([queue], count)
    overdue = and_(Shard.state == ShardState.RUNNING, Shard.lease_expires_at < db_now())
    expired = GaugeMetricFamily("errata_leases_overdue", "Leases that ran out and are not swept yet.")
    expired.add_metric([], session.scalar(select(func.count()).where(overdue)) or 0)
    return family, due, work, expired


def _training(session: Session) -> Iterable[Any]:
    step = GaugeMetricFamily("errata_training_step", "Optimizer steps of a run that runs.", labels=["run"])
    total = GaugeMetricFamily("errata_training_total_steps", "Steps that such a run will make.", labels=["run"])
    loss = GaugeMetricFamily("errata_training_loss", "Loss of the last step of a run that runs.", labels=["run"])
    pace = GaugeMetricFamily("errata_training_tokens_per_second", f"Pace of its last {_PACE_STEPS} steps.",
                             labels=["run"])  # fmt: skip
    running = select(TrainingRun).where(TrainingRun.state == TrainingState.RUNNING)
    for run in session.scalars(running.order_by(TrainingRun.id)):
        step.add_metric([run.id], run.step)
        if run.total_steps:
            total.add_metric([run.id], run.total_steps)
        newest = select(Metric).where(Metric.run_id == run.id, Metric.phase == "train")
        rows = session.scalars(newest.order_by(Metric.step.desc()).limit(_PACE_STEPS)).all()
        if rows and isinstance(rows[0].values.get("loss"), int | float):
            loss.add_metric([run.id], rows[0].values["loss"])
        seconds = (rows[0].created_at - rows[-1].created_at).total_seconds() if rows else 0.0
        if seconds > 0:  # the oldest one's tokens were trained on before the time that is measured
            pace.add_metric([run.id], sum(row.values.get("tokens") or 0 for row in rows[:-1]) / seconds)
    return step, total, loss, pace


def _processes(session: Session) -> Any:
    family = GaugeMetricFamily("errata_processes", "Processes that were heard lately, by role.", labels=["role"])
    roles = [beat.role for beat in heard(session)]
    for role in (*QUEUES, "sweeper"):
        family.add_metric([role], roles.count(role))
    return family


def _webhooks(session: Session) -> Iterable[Any]:
    pending = GaugeMetricFamily("errata_webhooks_pending", "Deliveries that are still to be made.")
    counted = select(func.count()).where(WebhookDelivery.state == "pending")
    pending.add_metric([], session.scalar(counted) or 0)
    disabled = GaugeMetricFamily("errata_webhooks_disabled", "Webhooks that are disabled.")
    off = select(func.count()).where(WebhookEndpoint.disabled_at.is_not(None))
    disabled.add_metric([], session.scalar(off) or 0)
    return pending, disabled
