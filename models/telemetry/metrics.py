"""Metrics that live in the process that counts them. What stands in the database the API reads itself (api.metrics).

Labels have few values and name no workspace, job or model. Counters begin at zero with their process, as Prometheus
expects. Each process is a target of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

BUILD = Info("errata_build", "The version that runs.", registry=REGISTRY)
HTTP_REQUESTS = Counter("errata_http_requests", "Answered requests.", ("method", "route", "status"), registry=REGISTRY)
HTTP_SECONDS = Histogram(
    "errata_http_request_duration_seconds",
    "From a request's head to the head of its answer.",
    ("method", "route"),
    buckets=_FAST,
    registry=REGISTRY,
)
STAGES = Histogram(
    "errata_stage_duration_seconds",
    "Attempts at stages of shards, by what became of them.",
    ("stage", "outcome"),
    buckets=_SLOW,
    registry=REGISTRY,
)
LEASES_EXPIRED = Counter("errata_leases_expired", "Leases that ran out and were swept.", ("stage",), registry=REGISTRY)
HINTS_SENT = Counter("errata_hints_resent", "Hints that a sweeper sent.", registry=REGISTRY)
ENGINE_SECONDS = Histogram(
    "errata_engine_batch_duration_seconds",
    "Batches that an engine generated or scored, with the wait for it.",
    ("engine", "operation", "outcome"),
    buckets=_SLOW,
    registry=REGISTRY,
)
ENGINE_TOKENS = Counter(
    "errata_engine_tokens",
    "Tokens of ended batches: prompt, completion, cached.",
    ("engine", "kind"),
    registry=REGISTRY,
)
ENGINE_HTTP_SECONDS = Histogram(
    "errata_engine_http_request_duration_seconds",
    "Requests to served models, each attempt.",
    ("outcome",),
    buckets=_SLOW,
    registry=REGISTRY,
)
FUNNEL = Counter(
    "errata_funnel",
    "What stages committed, by unit (problems, samples, steps, edits, pairs) and outcome.",
    ("unit", "outcome"),
    registry=REGISTRY,
)
WEBHOOKS = Counter("errata_webhook_attempts", "Attempts to send webhooks.", ("outcome",), registry=REGISTRY)

try:
    BUILD.info({"version": version("errata")})
except PackageNotFoundError:  # a checkout without an installation, as in our images
    BUILD.info({"version": "unknown"})

#: Where the funnel's leaves stand (errata.funnel) that are counted: the unit, and the names before the outcome.
_LEAVES = (
    ("problems", ()),
    ("problems", ("dropped",)),
    ("samples", ("verdicts",)),
    ("steps", ()),
    ("steps", ("skipped",)),
    ("edits", ("rejected",)),
    ("edits", ("proven",)),
    ("pairs", ("by_type",)),
)
_NO_OUTCOMES = frozenset({"total", "attempts"})
_HELD = "errata.funnel"


def hold_funnel(session: Session, counts: Mapping[str, Any]) -> None:
    """Count a stage's part of the funnel when, and only when, the caller's transaction commits."""
    session.info.setdefault(_HELD, []).append(counts)


@event.listens_for(Session, "after_commit")
def _count_funnel(session: Session) -> None:
    for counts in session.info.pop(_HELD, ()):
        for unit, outcome, count in funnel_leaves(counts):
            FUNNEL.labels(unit, outcome).inc(count)


@event.listens_for(Session, "after_soft_rollback")
def _forget_funnel(session: Session, _ended: SessionTransaction) -> None:
    session.info.pop(_HELD, None)


def funnel_leaves(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Unit, outcome and count of each leaf that metrics show. Corrections, which are negative, are left out."""
    for unit, path in _LEAVES:
        node: Any = counts.get(unit, {})
        for name in path:
            node = node.get(name, {})
        for outcome, count in node.items():
            if isinstance(count, int) and count > 0 and outcome not in _NO_OUTCOMES:
                yield unit, str(outcome), count


@contextmanager
def timed(histogram: Histogram, *labels: str) -> Iterator[list[str]]:
    """Observe the block's seconds. The list holds the last label, the outcome: "ok", or the error's type, or yours."""
    outcome = ["ok"]
    started = time.perf_counter()
    try:
        yield outcome
    except BaseException as error:
        outcome[0] = type(error).__name__
        raise
    finally:
        histogram.labels(*labels, outcome[0]).observe(time.perf_counter() - started)


class Collects(Protocol):
    """Something that gives families of metrics."""

    def collect(self) -> Iterable[Any]:
        """The families as they are now."""
        ...


class _Together:
    def __init__(self, parts: Iterable[Collects]) -> None:
        self._parts = tuple(parts)

    def collect(self) -> Iterator[Any]:
        for part in self._parts:
            yield from part.collect()


def exposition(accept: str, *more: Collects) -> tuple[bytes, str]:
    """This process's metrics and ``more`` in the format that ``accept`` asks for, and its content type."""
    encode: Callable[[Any], bytes]
    encode, content_type = choose_encoder(accept)
    return encode(_Together([REGISTRY, *more])), content_type
