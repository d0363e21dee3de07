"""Pages about the workspace itself: its keys, what it uses, and who changed what.

A secret is shown once, on the page that answers the form; loading that page again makes no second key.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import keys
from api.audit import AuditFilters, Outcome, entries, outcome_of
from api.http.auth import Caller, any_key
from api.http.errors import Conflict, Forbidden, Invalid, invalid_below
from api.http.idempotency import Idempotency, once
from api.http.routing import Api, ApiDep
from api.http.rows import PageRequest, paginate, path_row
from api.http.scopes import SCOPES
from api.pages.acts import Given
from api.pages.forms import Values
from api.pages.rendering import PageRoute, Viewer, page
from api.quotas import read_usage
from api.schemas import Storable
from models.access import AuditEntry
from models.base import db_now
from models.workspaces import ApiKey

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ROWS = 50
_GRACES = (("24", "one day"), ("168", "one week"), ("1", "one hour"), ("0", "not at all"))
_Given = Annotated[str, Query(max_length=300), Storable]
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]


def _filters(actor: _Given = "", object_id: _Given = "", route: _Given = "", outcome: _Given = "") -> AuditFilters:
    """A form sends its empty fields too."""
    wanted: Any = outcome if outcome in get_args(Outcome) else None
    return AuditFilters(actor.strip() or None, object_id.strip() or None, route.strip() or None, wanted)


def _admin(viewer: Caller) -> None:
    if not viewer.may("admin"):
        raise Forbidden("this needs the scope 'admin'; sign in with a key that has it")


@router.get("/keys")
def show_keys(api: ApiDep, viewer: Viewer, after: After = None) -> Response:
    """The workspace's keys, and the form that makes one."""
    _admin(viewer)
    return _keys_page(api, viewer, after=after)


@router.post("/keys")
def create_key(api: ApiDep, viewer: Viewer, given: Given) -> Response:
    """Make a key and show it, this once."""
    _admin(viewer)
    try:
        body = _key_body(given)
        made: list[tuple[ApiKey, str]] = []
        with api.db.begin() as session:

            def make() -> str:
                made.append(keys.new_key(session, viewer, body))
                return made[0][0].id

            who = Idempotency(given.get("token", [""])[0][:64] or None, "POST /keys")
            once(session, api, who, viewer.workspace_id, body.model_dump(mode="json"), make)
    except (Invalid, Conflict) as error:
        return _keys_page(api, viewer, given=given, refused=error)
    if not made:
        return RedirectResponse("/keys", 303)  # the page was loaded again: the secret is gone
    first = viewer.actor == "anonymous"
    return page("key_made.html", key=made[0][0], secret=made[0][1], replaced=None, first=first, section="workspace")


def _key_body(given: Values) -> keys.KeyIn:
    days = given.get("expires_in_days", [""])[0].strip()
    sent: dict[str, Any] = {"name": given.get("name", [""])[0], "scopes": given.get("scopes", [])}
    with invalid_below():
        return keys.KeyIn.model_validate(sent | ({"expires_in_days": days} if days else {}))


def _keys_page(
    api: Api,
    viewer: Caller,
    *,
    after: str | None = None,
    given: Values | None = None,
    refused: Invalid | Conflict | None = None,
) -> Response:
    with api.db.read() as session:
        query = select(ApiKey).where(ApiKey.workspace_id == viewer.workspace_id)
        order = (ApiKey.created_at, ApiKey.id)
        found = paginate(session, query, order, PageRequest(_ROWS, after), descending=True)
        now = session.scalars(select(db_now())).one()
        context: dict[str, Any] = {
            "rows": [(row, keys.state_of(row, now)) for row in found.rows],
            "more": found.next,
            "now": now,
            "own": viewer.key_id,
            "keyless": not any_key(session) and viewer.actor == "anonymous",
            "scopes": [scope for scope in SCOPES if viewer.may(scope)],
            "token": uuid.uuid4().hex,
            "given": given or {},
            "refused": str(refused.detail) if refused else None,
        }
    return page("keys.html", refused.status if refused else 200, section="workspace", **context)


@router.get("/keys/{key_id}/{act}")
def ask(api: ApiDep, viewer: Viewer, key_id: str, act: str) -> Response:
    """The second step before a key is rotated or ends."""
    _admin(viewer)
    if act not in ("rotate", "revoke"):
        raise Forbidden("a key can be rotated or revoked")
    with api.db.read() as session:
        key = path_row(session, ApiKey, key_id, viewer.workspace_id)
        now = session.scalars(select(db_now())).one()
    own = key.id == viewer.key_id
    return page("key_act.html", key=key, act=act, own=own, now=now, graces=_GRACES, section="workspace")


@router.post("/keys/{key_id}/revoke")
def revoke_key(api: ApiDep, viewer: Viewer, key_id: str, given: Given) -> Response:
    """End a key at once."""
    _admin(viewer)
    if "sure" not in given:
        return RedirectResponse(f"/keys/{key_id}/revoke", 303)
    with api.db.begin() as session:
        keys.revoke(session, path_row(session, ApiKey, key_id, viewer.workspace_id))
    return RedirectResponse("/keys", 303)


@router.post("/keys/{key_id}/rotate")
def rotate_key(api: ApiDep, viewer: Viewer, key_id: str, given: Given) -> Response:
    """Replace a key and show the new one, this once. Loading the page again answers that it was rotated before."""
    _admin(viewer)
    with invalid_below():
        body = keys.RotationIn.model_validate({"grace_hours": given.get("grace_hours", ["24"])[0]})
    with api.db.begin() as session:
        old = path_row(session, ApiKey, key_id, viewer.workspace_id)
        new, secret = keys.rotated(session, viewer, old, body.grace_hours)
    return page("key_made.html", key=new, secret=secret, replaced=old, first=False, section="workspace")


@router.get("/workspace")
def show_workspace(api: ApiDep, viewer: Viewer) -> Response:
    """What the workspace uses of its quotas, who is signed in, and where its keys and audit log are."""
    with api.db.read() as session:
        usage = read_usage(session, viewer.workspace_id)
    measures = [
        ("Jobs that have not ended", usage.jobs),
        ("Stored problems", usage.problems),
        ("Stored pairs", usage.pairs),
        ("Tokens generated today", usage.tokens_today),
    ]
    return page(
        "workspace.html",
        usage=usage,
        measures=measures,
        viewer=viewer,
        signed_in=viewer.actor != "anonymous",
        admin=viewer.may("admin"),
        scopes=[scope for scope in SCOPES if viewer.may(scope)],
        section="workspace",
    )


@router.get("/audit-log")
def show_audit_log(
    api: ApiDep, viewer: Viewer, filters: Annotated[AuditFilters, Depends(_filters)], after: After = None
) -> Response:
    """Who changed what, newest first."""
    _admin(viewer)
    with api.db.read() as session:
        found = _entries(session, viewer, filters, after)
        now = session.scalars(select(db_now())).one()
    rows = [(row, outcome_of(row.status)) for row in found.rows]
    given = {name: getattr(filters, name) for name in ("actor", "object_id", "outcome") if getattr(filters, name)}
    return page("audit_log.html", rows=rows, more=found.next, now=now, given=given, section="workspace")


def _entries(session: Session, viewer: Caller, filters: AuditFilters, after: str | None) -> Any:
    query = entries(viewer.workspace_id, filters)
    keys_of_page = (AuditEntry.created_at, AuditEntry.id)
    return paginate(session, query, keys_of_page, PageRequest(_ROWS, after), descending=True)
