"""``/v1/webhooks``: registered, listed, tested, changed, deleted; their deliveries, listed and asked for again.

A request sends nothing itself: it leaves a delivery, which a sender takes up within seconds (workers.webhooks).
"""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Literal

from fastapi import Query, Response
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api.http.auth import Reader, Writer
from api.http.errors import Conflict, NotFound, documented
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, child_listing, lock_row, paginate, path_row
from api.webhooks.schemas import (
    DeliveryBodyOut,
    DeliveryOut,
    NewWebhookOut,
    SecretRotationIn,
    WebhookChange,
    WebhookIn,
    WebhookOut,
    new_webhook_answer,
    require_url,
    webhook_answer,
)
from models.base import db_now, new_id
from models.webhooks import WebhookDelivery, WebhookEndpoint, add_test
from models.workspaces import Workspace

router = make_router("/v1/webhooks", "webhooks")
MOST_WEBHOOKS = 20  # per workspace: each event is written once per webhook
_SECRET_BYTES = 32


@router.post("", status_code=201, responses=documented(409, 413, 415))
def create_webhook(
    caller: Writer, api: ApiDep, body: WebhookIn, who: IdempotencyDep, response: Response
) -> NewWebhookOut:
    """Register an address. The answer has the secret that signs its messages, this once.

    With an Idempotency-Key the same request again answers the same webhook.
    """
    require_url(body.url, api.settings)

    def make() -> str:
        return new_webhook(session, caller.workspace_id, body).id

    with api.db.begin() as session:
        row_id, _ = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        row = session.get(WebhookEndpoint, row_id)
        if row is None:
            raise NotFound("the webhook of this Idempotency-Key was deleted; send the request with a fresh key")
        answer = new_webhook_answer(row)
    response.headers["Location"] = f"/v1/webhooks/{row_id}"
    return answer


def new_webhook(session: Session, workspace_id: str, body: WebhookIn) -> WebhookEndpoint:
    """Add a webhook with a fresh secret, in the caller's transaction. Raises Conflict where there are too many."""
    # Locked: of two requests at once the second counts what the first made.
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update(key_share=True))
    counted = select(func.count()).where(WebhookEndpoint.workspace_id == workspace_id)
    if (session.scalar(counted) or 0) >= MOST_WEBHOOKS:
        raise Conflict(f"there are {MOST_WEBHOOKS} webhooks already; delete one first")
    row = WebhookEndpoint(
        id=new_id("hook"), workspace_id=workspace_id, secret=_new_secret(), **body.model_dump(mode="json")
    )
    session.add(row)
    session.flush()
    return row


@router.get("")
def list_webhooks(caller: Reader, api: ApiDep, page: PageDep) -> Listing[WebhookOut]:
    """Webhooks, newest first, without their secrets."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.workspace_id == caller.workspace_id)
    keys = (WebhookEndpoint.created_at, WebhookEndpoint.id)
    with api.db.read() as session:
        return paginate(session, query, keys, page, descending=True).listing(webhook_answer)


@router.get("/{webhook_id}", responses=documented(404))
def get_webhook(caller: Reader, api: ApiDep, webhook_id: str) -> WebhookOut:
    """One webhook."""
    with api.db.read() as session:
        return webhook_answer(path_row(session, WebhookEndpoint, webhook_id, caller.workspace_id))


@router.patch("/{webhook_id}", responses=documented(404, 413, 415))
def change_webhook(caller: Writer, api: ApiDep, webhook_id: str, body: WebhookChange) -> WebhookOut:
    """Change where messages go and of which events, or turn a webhook off and on. The secret stays: see `rotate`."""
    with api.db.begin() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, caller.workspace_id)
        if body.url is not None:
            require_url(body.url, api.settings)
        change_in(session, row, body)
        return webhook_answer(row)


@router.post("/{webhook_id}/rotate", responses=documented(404, 408, 413, 415))
def rotate_webhook_secret(
    caller: Writer, api: ApiDep, webhook_id: str, body: SecretRotationIn | None = None
) -> NewWebhookOut:
    """Replace the secret that signs. The answer has the new one, this once.

    For `overlap_hours` every message is signed by both, new one first, so that receivers can change over meanwhile. A
    further rotation in that time ends the secret before the last.
    """
    hours = (body or SecretRotationIn()).overlap_hours
    with api.db.begin() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, caller.workspace_id)
        lock_row(session, row)  # of two at once each tells the secret that it replaced
        row.previous_secret, row.secret = (row.secret if hours else None), _new_secret()
        row.previous_until = db_now(3600.0 * hours)
        session.flush()
        return new_webhook_answer(row)


@router.delete("/{webhook_id}", responses=documented(404))
def delete_webhook(caller: Writer, api: ApiDep, webhook_id: str) -> WebhookOut:
    """Delete a webhook with its deliveries; what was not sent yet never is."""
    with api.db.begin() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, caller.workspace_id)
        answer = webhook_answer(row)
        session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == row.id))
        return answer


@router.post("/{webhook_id}/test", status_code=202, responses=documented(404, 409))
def test_webhook(caller: Writer, api: ApiDep, webhook_id: str, response: Response) -> DeliveryOut:
    """Send a message of type ``webhook.test`` within seconds. Ask for the delivery to see what came of it."""
    with api.db.begin() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, caller.workspace_id)
        answer = DeliveryOut.of(send_test(session, row))
    _told_where(response, answer)
    return answer


@router.get("/{webhook_id}/deliveries", responses=documented(404))
def list_deliveries(
    caller: Reader,
    api: ApiDep,
    webhook_id: str,
    page: PageDep,
    state: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
) -> Listing[DeliveryOut]:
    """A webhook's deliveries, oldest first. Those that ended are kept for a while (``ERRATA_WEBHOOK_KEEP_DAYS``)."""
    filters = {WebhookDelivery.endpoint_id: webhook_id, WebhookDelivery.state: state}
    keys = (WebhookDelivery.created_at, WebhookDelivery.id)
    owner = caller.workspace_id
    return child_listing(DeliveryOut.of, api.db, WebhookEndpoint, webhook_id, owner, keys, page, filters)


@router.get("/{webhook_id}/deliveries/{delivery_id}", responses=documented(404))
def get_delivery(caller: Reader, api: ApiDep, webhook_id: str, delivery_id: str) -> DeliveryBodyOut:
    """One delivery with its body."""
    with api.db.read() as session:
        return DeliveryBodyOut.of(_delivery(session, webhook_id, delivery_id, caller.workspace_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=documented(404, 409))
def redeliver(caller: Writer, api: ApiDep, webhook_id: str, delivery_id: str, response: Response) -> DeliveryOut:
    """Send a message again within seconds, whether it was delivered or not, with the retries of a new one."""
    with api.db.begin() as session:
        answer = DeliveryOut.of(send_again(session, webhook_id, delivery_id, caller.workspace_id))
    _told_where(response, answer)
    return answer


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def send_test(session: Session, row: WebhookEndpoint) -> WebhookDelivery:
    """Leave a message of type ``webhook.test`` for a sender. Raises Conflict for a webhook that is turned off."""
    _require_enabled(row)
    return add_test(session, row)


def send_again(session: Session, webhook_id: str, delivery_id: str, workspace_id: str) -> WebhookDelivery:
    """Leave a message for a sender once more. Raises NotFound, and Conflict for a webhook that is turned off."""
    row = _delivery(session, webhook_id, delivery_id, workspace_id)
    _require_enabled(session.get_one(WebhookEndpoint, webhook_id))
    row.state, row.round, row.next_attempt_at, row.delivered_at = "pending", 0, db_now(), None
    session.flush()
    return row


def change_in(session: Session, row: WebhookEndpoint, body: WebhookChange) -> None:
    """Apply what is to be otherwise, in the caller's transaction; the address has been checked."""
    for name, value in body.model_dump(mode="json", exclude={"enabled"}, exclude_none=True).items():
        setattr(row, name, value)
    if body.enabled:
        row.disabled_at = row.disabled_reason = row.failing_since = None
    elif body.enabled is False and row.disabled_at is None:
        row.disabled_at, row.disabled_reason = db_now(), "its owner turned it off"
    session.flush()


def _delivery(session: Session, webhook_id: str, delivery_id: str, workspace_id: str) -> WebhookDelivery:
    path_row(session, WebhookEndpoint, webhook_id, workspace_id)
    row = path_row(session, WebhookDelivery, delivery_id, workspace_id)
    if row.endpoint_id != webhook_id:
        raise NotFound("there is no such webhook delivery")
    return row


def _require_enabled(row: WebhookEndpoint) -> None:
    if row.disabled_at is not None:
        raise Conflict(f"the webhook is disabled: {row.disabled_reason}; enable it first")


def _told_where(response: Response, answer: DeliveryOut) -> None:
    response.headers["Location"] = f"/v1/webhooks/{answer.webhook}/deliveries/{answer.id}"
    response.headers["Retry-After"] = "2"
