"""Webhooks on pages: listed, added with the secret shown once, tested, turned off and on, removed."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import delete, func, select

from api.http.auth import Caller
from api.http.errors import Conflict, Forbidden, Invalid, invalid_below
from api.http.idempotency import Idempotency, once
from api.http.routing import Api, ApiDep
from api.http.rows import PageRequest, paginate, path_row
from api.pages.acts import Given, given_values
from api.pages.forms import Values
from api.pages.rendering import PageRoute, Viewer, page
from api.pages.shell import curl_post
from api.webhooks.routes import change_in, new_webhook, send_again, send_test
from api.webhooks.schemas import WebhookChange, WebhookIn, require_url
from models.base import db_now
from models.webhooks import EVENT_TYPES, WebhookDelivery, WebhookEndpoint

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ROWS = 50
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]


def _write(viewer: Caller) -> None:
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")


@router.get("/webhooks")
def show_webhooks(request: Request, api: ApiDep, viewer: Viewer) -> Response:
    """The workspace's webhooks, and the form that adds one."""
    return _list(request, api, viewer, {})


@router.post("/webhooks")
def add_webhook(request: Request, api: ApiDep, viewer: Viewer, given: Given) -> Response:
    """Add a webhook and show its secret, this once."""
    _write(viewer)
    made: list[WebhookEndpoint] = []
    try:
        body = _body(given)
        require_url(body.url, api.settings)
        with api.db.begin() as session:

            def make() -> str:
                made.append(new_webhook(session, viewer.workspace_id, body))
                return made[0].id

            who = Idempotency(given.get("token", [""])[0][:64] or None, "POST /webhooks")
            once(session, api, who, viewer.workspace_id, body.model_dump(mode="json"), make)
    except (Invalid, Conflict) as error:
        return _list(request, api, viewer, given, error)
    if not made:
        return RedirectResponse("/webhooks", 303)  # the page was loaded again: the secret is gone
    return page("webhook_made.html", row=made[0], section="workspace")


def _body(given: Values) -> WebhookIn:
    sent: dict[str, Any] = {"url": given.get("url", [""])[0], "events": given.get("events", [])}
    description = given.get("description", [""])[0].strip()
    with invalid_below():
        return WebhookIn.model_validate(sent | ({"description": description} if description else {}))


def _list(
    request: Request, api: Api, viewer: Caller, given: Values, refused: Invalid | Conflict | None = None
) -> Response:
    with api.db.read() as session:
        own = select(WebhookEndpoint).where(WebhookEndpoint.workspace_id == viewer.workspace_id)
        rows = session.scalars(own.order_by(WebhookEndpoint.created_at.desc())).all()
        now = session.scalars(select(db_now())).one()
    example = {"url": "https://example.com/hooks", "events": ["injection_job.succeeded"]}
    context: dict[str, Any] = {
        "rows": rows,
        "now": now,
        "given": given,
        "events": EVENT_TYPES,
        "may_write": viewer.may("write"),
        "token": uuid.uuid4().hex,
        "refused": refused,
        "curl": curl_post(str(request.base_url), "/v1/webhooks", example),
    }
    return page("webhooks.html", refused.status if refused else 200, section="workspace", **context)


@router.get("/webhooks/{webhook_id}")
def show_webhook(api: ApiDep, viewer: Viewer, webhook_id: str, after: After = None) -> Response:
    """One webhook with its deliveries, newest first."""
    return page("live.html", fragment="fragments/webhook.html", **_one(api, viewer, webhook_id, after))


@router.get("/fragments/webhooks/{webhook_id}")
def refresh_webhook(api: ApiDep, viewer: Viewer, webhook_id: str, after: After = None) -> Response:
    """The webhook's content alone."""
    return page("fragments/webhook.html", **_one(api, viewer, webhook_id, after))


def _one(api: Api, viewer: Caller, webhook_id: str, after: str | None) -> dict[str, Any]:
    with api.db.read() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, viewer.workspace_id)
        query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == row.id)
        order = (WebhookDelivery.created_at, WebhookDelivery.id)
        found = paginate(session, query, order, PageRequest(_ROWS, after), descending=True)
        now = session.scalars(select(db_now())).one()
    return {
        "row": row,
        "tab": row.url,
        "deliveries": found.rows,
        "more": found.next,
        "now": now,
        "may_write": viewer.may("write"),
        "live": any(each.state == "pending" for each in found.rows),
        "section": "workspace",
        "fragment_url": f"/fragments/webhooks/{webhook_id}" + (f"?after={after}" if after else ""),
    }


@router.post("/webhooks/{webhook_id}/test", dependencies=[Depends(given_values)])
def test(api: ApiDep, viewer: Viewer, webhook_id: str) -> Response:
    """Send a test message within seconds; the page then shows what came of it."""
    _write(viewer)
    with api.db.begin() as session:
        send_test(session, path_row(session, WebhookEndpoint, webhook_id, viewer.workspace_id))
    return RedirectResponse(f"/webhooks/{webhook_id}", 303)


@router.post("/webhooks/{webhook_id}/turn")
def turn(api: ApiDep, viewer: Viewer, webhook_id: str, given: Given) -> Response:
    """Turn a webhook off or on."""
    _write(viewer)
    change = WebhookChange(enabled=given.get("to", [""])[0] == "on")
    with api.db.begin() as session:
        change_in(session, path_row(session, WebhookEndpoint, webhook_id, viewer.workspace_id), change)
    return RedirectResponse(f"/webhooks/{webhook_id}", 303)


@router.get("/webhooks/{webhook_id}/remove")
def ask_removal(api: ApiDep, viewer: Viewer, webhook_id: str) -> Response:
    """The second step before a webhook is removed."""
    _write(viewer)
    with api.db.read() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, viewer.workspace_id)
        waits = (WebhookDelivery.endpoint_id == row.id, WebhookDelivery.state == "pending")
        pending = session.scalar(select(func.count()).where(*waits)) or 0
    return page("webhook_remove.html", row=row, pending=pending, section="workspace")


@router.post("/webhooks/{webhook_id}/remove")
def remove(api: ApiDep, viewer: Viewer, webhook_id: str, given: Given) -> Response:
    """Remove a webhook with its deliveries."""
    _write(viewer)
    if "sure" not in given:
        return RedirectResponse(f"/webhooks/{webhook_id}/remove", 303)
    with api.db.begin() as session:
        row = path_row(session, WebhookEndpoint, webhook_id, viewer.workspace_id)
        session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == row.id))
    return RedirectResponse("/webhooks", 303)


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/again", dependencies=[Depends(given_values)])
def redeliver(api: ApiDep, viewer: Viewer, webhook_id: str, delivery_id: str) -> Response:
    """Send a message once more."""
    _write(viewer)
    with api.db.begin() as session:
        send_again(session, webhook_id, delivery_id, viewer.workspace_id)
    return RedirectResponse(f"/webhooks/{webhook_id}", 303)
