"""``/v1/keys``: the API keys of the caller's workspace, for scope ``admin``. A secret is answered once, kept nowhere.

A key gives no scope that its maker lacks. Rotating makes a new key and lets the old one go on for a grace period.
Revoking the key that the request itself uses asks for ``confirm=true``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import Field
from sqlalchemy import ColumnElement, and_, not_, select
from sqlalchemy.orm import Session

from api.http.audit import concerns
from api.http.auth import Admin, Caller, create_key, revoke_key, rotate_key
from api.http.errors import Conflict, Forbidden, documented
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, paginate, path_row
from api.http.scopes import SCOPES, Scope
from api.schemas import Name, Request, RowAnswer
from models.base import db_now
from models.workspaces import ApiKey, Workspace

router = make_router("/v1/keys", "API keys")
MOST_DAYS = 36_500
MOST_GRACE_HOURS = 24 * 90
State = Literal["valid", "expired", "revoked"]


class KeyIn(Request):
    """A key to make."""

    name: Name = Field(description="What the key is for.")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))] = Field(
        ["read", "write", "train"], description="`write` and `train` include `read`, `admin` includes all."
    )
    expires_in_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] | None = Field(None, description="Null: until revoked.")


class RotationIn(Request):
    """How long the old key goes on."""

    grace_hours: Annotated[float, Field(ge=0, le=MOST_GRACE_HOURS)] = Field(
        24.0, description="The old key stays valid for so long; 0 ends it at once."
    )


class KeyOut(RowAnswer):
    """A key without its secret."""

    id: str
    object: Literal["key"] = "key"
    name: str
    scopes: list[str]
    state: State
    created_at: datetime
    created_by: str | None = Field(description="A key's id, `oidc:SUBJECT`, `anonymous` or `operator`.")
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    replaced_by: str | None = Field(description="The key that this one was rotated to.")


class NewKeyOut(KeyOut):
    """A key that was just made."""

    key: str = Field(description="The whole key, `errata_<id>_<secret>`. It is shown only in this answer.")


def state_of(key: ApiKey, now: datetime) -> State:
    """Whether a key opens anything at ``now``."""
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "valid"


def in_state(state: State) -> ColumnElement[bool]:
    """The condition that a key is in this state by the database's clock."""
    expired = and_(ApiKey.expires_at.is_not(None), ApiKey.expires_at <= db_now())
    if state == "revoked":
        return ApiKey.revoked_at.is_not(None)
    return and_(ApiKey.revoked_at.is_(None), expired if state == "expired" else not_(expired))


def new_key(session: Session, caller: Caller, body: KeyIn) -> tuple[ApiKey, str]:
    """Make a key for the caller's workspace, in the caller's transaction. Raises Forbidden for a scope it lacks."""
    lacking = sorted(scope for scope in set(body.scopes) if not caller.may(scope))
    if lacking:
        raise Forbidden(f"you lack the scope '{lacking[0]}', so no key that you make can have it")
    workspace = session.get_one(Workspace, caller.workspace_id).name
    lifetime = timedelta(days=body.expires_in_days) if body.expires_in_days else None
    return create_key(
        session, body.name, workspace=workspace, scopes=body.scopes, expires_in=lifetime, created_by=caller.actor
    )


def rotated(session: Session, caller: Caller, key: ApiKey, grace_hours: float) -> tuple[ApiKey, str]:
    """Rotate a key in the caller's transaction. Raises Forbidden for scopes the caller lacks, and Conflict."""
    if not all(caller.may(scope) for scope in key.scopes):
        raise Forbidden("the key has scopes that you lack, so you cannot rotate it")
    new, secret = rotate_key(session, key, timedelta(hours=grace_hours), caller.actor)
    concerns(key.id)
    return new, secret


def revoke(session: Session, key: ApiKey) -> None:
    """End a key in the caller's transaction. Raises Conflict where it is revoked already."""
    if not revoke_key(session, key.id):
        raise Conflict("the key is revoked already")


def _now(session: Session) -> datetime:
    return session.scalars(select(db_now())).one()


def _new_out(session: Session, key: ApiKey, secret: str, response: Response) -> NewKeyOut:
    response.headers["Location"] = f"/v1/keys/{key.id}"
    session.refresh(key)
    return NewKeyOut.of(key, state="valid", key=secret)


@router.post("", status_code=201, responses=documented(408, 409, 413, 415))
def create_api_key(caller: Admin, api: ApiDep, who: IdempotencyDep, body: KeyIn, response: Response) -> NewKeyOut:
    """Make a key for this workspace. From the first key on, every request needs one.

    Repeated with the same `Idempotency-Key` it answers 409: the secret of the key that was made cannot be told again.
    """
    made: list[tuple[ApiKey, str]] = []
    with api.db.begin() as session:

        def make() -> str:
            made.append(new_key(session, caller, body))
            return made[0][0].id

        key_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        if new:
            return _new_out(session, *made[0], response)
    told = f"{key_id} was made by the first request with this Idempotency-Key, and its secret is kept nowhere"
    raise Conflict(f"{told}; rotate it, or revoke it and make another")


@router.get("")
def list_api_keys(
    caller: Admin, api: ApiDep, page: PageDep, state: Annotated[State | None, Query()] = None
) -> Listing[KeyOut]:
    """The workspace's keys, newest first, without their secrets."""
    query = select(ApiKey).where(ApiKey.workspace_id == caller.workspace_id)
    if state is not None:
        query = query.where(in_state(state))
    with api.db.read() as session:
        now = _now(session)
        found = paginate(session, query, (ApiKey.created_at, ApiKey.id), page, descending=True)
        return found.listing(lambda row: KeyOut.of(row, state=state_of(row, now)))


@router.get("/{key_id}", responses=documented(404))
def get_api_key(caller: Admin, api: ApiDep, key_id: str) -> KeyOut:
    """One key, without its secret."""
    with api.db.read() as session:
        row = path_row(session, ApiKey, key_id, caller.workspace_id)
        return KeyOut.of(row, state=state_of(row, _now(session)))


@router.post("/{key_id}/rotate", status_code=201, responses=documented(404, 408, 409, 413, 415))
def rotate_api_key(
    caller: Admin, api: ApiDep, key_id: str, response: Response, body: RotationIn | None = None
) -> NewKeyOut:
    """Replace a key: the answer is a new one of the same name, scopes and length of validity.

    The old one goes on for `grace_hours` and says `replaced_by`.
    """
    with api.db.begin() as session:
        key = path_row(session, ApiKey, key_id, caller.workspace_id)
        return _new_out(session, *rotated(session, caller, key, (body or RotationIn()).grace_hours), response)


@router.delete("/{key_id}", responses=documented(404, 409))
def revoke_api_key(
    caller: Admin,
    api: ApiDep,
    key_id: str,
    confirm: Annotated[bool, Query(description="Needed to revoke the key that this request uses.")] = False,
) -> KeyOut:
    """End a key at once. It stays listed as revoked."""
    with api.db.begin() as session:
        key = path_row(session, ApiKey, key_id, caller.workspace_id)
        if key.id == caller.key_id and not confirm:
            raise Conflict("this request uses that key; add confirm=true to end it all the same")
        revoke(session, key)
        session.refresh(key)
        return KeyOut.of(key, state="revoked")
