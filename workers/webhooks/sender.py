"""Sends webhooks: one message after another to each endpoint, several endpoints at once, again after failures.

A message is claimed for a while, sent without a session open, and settled. A sender that dies in between leaves its
claim to run out, and another one sends the message again: it arrives at least once. Any number of senders may run.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.base import db_now
from models.logs import DATABASE
from models.session import Database, passing, update_returning
from models.telemetry.metrics import WEBHOOKS
from models.webhooks import WebhookDelivery, WebhookEndpoint
from workers.settings import WorkerSettings
from workers.webhooks.signing import signed_headers
from workers.webhooks.transport import Answer, post

log = logging.getLogger(__name__)
#: Seconds before the next attempt, by how many there were: three days in all.
WAITS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
_AT_ONCE = 8
_CLAIM_SECONDS = 60.0  # beyond the time limit of an attempt
_LONGEST_ASKED = 86_400.0
_PRUNE_EVERY_SECONDS = 3_600.0
_GONE = 410
Post = Callable[[str, dict[str, str], str], Answer]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is this sender's to send. ``attempt`` is the fence: a later claim has a greater one."""

    id: str
    endpoint_id: str
    attempt: int
    round: int
    url: str
    secrets: tuple[str, ...]  # during the overlap of a rotation two
    body: str


class WebhookSender:
    """Sends what is due once with ``send_due()``, or every ``webhook_poll_seconds`` with ``run``."""

    def __init__(self, db: Database, settings: WorkerSettings, send: Post | None = None) -> None:
        self._db, self._settings = db, settings
        self._send = send or self._post
        self._stop = threading.Event()
        self._busy: set[str] = set()
        self._pruned = -_PRUNE_EVERY_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set; what is being sent then is waited for, up to its time limit."""
        self._stop = stop
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhooks") as pool:
            while not stop.is_set():
                self._guarded(self._start, pool)
                self._guarded(self._prune_sometimes)
                stop.wait(self._settings.webhook_poll_seconds)

    def _post(self, url: str, headers: dict[str, str], body: str) -> Answer:
        return post(url, headers, body, self._settings, self._settings.webhook_timeout_seconds)

    def send_due(self) -> int:
        """Send what is due, in this thread; how many messages were tried."""
        with self._db.read() as session:
            due = due_endpoints(session)
        return sum(self._serve(endpoint_id) for endpoint_id in due)

    def _start(self, pool: ThreadPoolExecutor) -> None:
        with self._db.read() as session:
            due = due_endpoints(session)
        for endpoint_id in set(due) - self._busy:
            self._busy.add(endpoint_id)
            pool.submit(self._serve_in_pool, endpoint_id)

    def _serve_in_pool(self, endpoint_id: str) -> None:
        try:
            self._guarded(self._serve, endpoint_id)
        finally:
            self._busy.discard(endpoint_id)

    def _guarded(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except SQLAlchemyError as error:
            if not passing(error):
                log.exception("webhooks cannot be sent")
            DATABASE.away(log, error)
        except Exception:
            log.exception("webhooks cannot be sent")

    def _serve(self, endpoint_id: str) -> int:
        """Send an endpoint's messages, oldest first, until none is due or one fails."""
        tried, delivered = 0, True
        while delivered and not self._stop.is_set():
            with self._db.begin() as session:
                claimed = claim(session, endpoint_id, self._settings.webhook_timeout_seconds + _CLAIM_SECONDS)
            if claimed is None:
                break
            # The time of the attempt, by this clock: receivers refuse what is older than minutes.
            headers = signed_headers(claimed.secrets, claimed.id, int(time.time()), claimed.body)
            answer = self._send(claimed.url, headers, claimed.body)
            WEBHOOKS.labels("delivered" if answer.delivered else "failed").inc()
            with self._db.begin() as session:
                settle(session, claimed, answer, self._settings.webhook_disable_days)
            tried, delivered = tried + 1, answer.delivered
        return tried

    def _prune_sometimes(self) -> None:
        if time.monotonic() - self._pruned < _PRUNE_EVERY_SECONDS:
            return
        self._pruned = time.monotonic()
        with self._db.begin() as session:
            prune(session, self._settings.webhook_keep_days)


def due_endpoints(session: Session) -> list[str]:
    """Endpoints with a message that may be sent now."""
    query = select(WebhookDelivery.endpoint_id).join(WebhookEndpoint).where(*_is_due()).distinct()
    return list(session.scalars(query))


def _is_due() -> tuple[Any, ...]:
    due = (WebhookDelivery.state == "pending", WebhookDelivery.next_attempt_at <= db_now())
    return (*due, WebhookEndpoint.disabled_at.is_(None))


def claim(session: Session, endpoint_id: str, seconds: float) -> Claimed | None:
    """Take an endpoint's oldest message that is due; for ``seconds`` no other sender gets it. None: there is none."""
    overlap = and_(WebhookEndpoint.previous_secret.is_not(None), WebhookEndpoint.previous_until > db_now())
    query = select(WebhookDelivery, WebhookEndpoint, overlap).join(WebhookEndpoint)
    due = query.where(WebhookDelivery.endpoint_id == endpoint_id, *_is_due())
    oldest = due.order_by(WebhookDelivery.created_at, WebhookDelivery.id).limit(1)
    row = session.execute(oldest.with_for_update(skip_locked=True, of=WebhookDelivery)).first()
    if row is None:
        return None
    delivery, endpoint, overlaps = row
    secrets = (endpoint.secret, *((endpoint.previous_secret,) if overlaps else ()))
    delivery.attempts, delivery.round = delivery.attempts + 1, delivery.round + 1
    delivery.attempted_at, delivery.next_attempt_at = db_now(), db_now(seconds)
    counts = (delivery.attempts, delivery.round)
    return Claimed(delivery.id, endpoint.id, *counts, endpoint.url, secrets, delivery.body)


def settle(session: Session, claimed: Claimed, answer: Answer, disable_days: float) -> None:
    """Write what came of an attempt. Nothing where another sender has the message by now, or it was deleted."""
    mine = (WebhookDelivery.id == claimed.id) & (WebhookDelivery.attempts == claimed.attempt)
    values: dict[str, Any] = {"status_code": answer.status, "error": answer.error}
    endpoint = WebhookEndpoint.id == claimed.endpoint_id
    if answer.delivered:
        values |= {"state": "delivered", "delivered_at": db_now(), "next_attempt_at": None}
        if update_returning(session, WebhookDelivery, mine, WebhookDelivery.id, **values).first():
            session.execute(update(WebhookEndpoint).where(endpoint).values(failing_since=None, delivered_at=db_now()))
        return
    wait = wait_seconds(claimed.round, answer.retry_after)
    over = wait is None or answer.status == _GONE
    values |= {"state": "failed", "next_attempt_at": None} if over else {"next_attempt_at": db_now(wait or 0.0)}
    if update_returning(session, WebhookDelivery, mine, WebhookDelivery.id, **values).first():
        _count_failure(session, claimed.endpoint_id, answer, disable_days)


def _count_failure(session: Session, endpoint_id: str, answer: Answer, disable_days: float) -> None:
    """Note since when an endpoint fails, and disable one that said it is gone or has failed for too long."""
    table = WebhookEndpoint
    enabled = (table.id == endpoint_id) & table.disabled_at.is_(None)
    since = func.coalesce(table.failing_since, db_now())
    update_returning(session, table, enabled, table.id, failing_since=since)
    reason = f"every attempt for {disable_days:g} days failed, the last with: {answer.error}"
    too_long = enabled & (table.failing_since <= db_now(-86_400 * disable_days))
    if answer.status == _GONE:
        reason, too_long = "it answered HTTP 410: it wants no more messages", enabled
    told = {"disabled_at": db_now(), "disabled_reason": reason}
    if update_returning(session, table, too_long, table.id, **told).first():
        log.warning("a webhook is disabled", extra={"webhook": endpoint_id, "status": answer.status or 0})


def wait_seconds(attempts: int, retry_after: float | None) -> float | None:
    """Seconds before the next attempt after so many, a tenth of it drawn; longer where the receiver asks for it.

    None: there is no next one.
    """
    if attempts > len(WAITS):
        return None
    # Drawn, so that messages that failed together do not come back together.
    wait = WAITS[attempts - 1] * random.uniform(1.0, 1.1)
    return max(wait, min(retry_after or 0.0, _LONGEST_ASKED))


def prune(session: Session, keep_days: float) -> None:
    """Delete deliveries that ended so many days ago, and secrets whose time of overlap is over."""
    old = (WebhookDelivery.state != "pending") & (WebhookDelivery.created_at < db_now(-86_400 * keep_days))
    session.execute(delete(WebhookDelivery).where(old).execution_options(synchronize_session=False))
    over = (WebhookEndpoint.previous_until <= db_now()) & WebhookEndpoint.previous_secret.is_not(None)
    update_returning(session, WebhookEndpoint, over, WebhookEndpoint.id, previous_secret=None)
