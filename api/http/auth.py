"""API keys: ``errata_<id>_<secret>``, of whose secret only the SHA-256 is kept.

Scopes (api.http.scopes): ``read``, ``write`` (problem sets, jobs, datasets, evaluations), ``train`` (training jobs),
``admin`` (keys, quotas, the audit log). A key opens one workspace. On loopback, until the first key exists, requests
need none and belong to the default workspace; such requests must come from this machine's own pages (``Host`` and
``Origin`` are checked), so that no web site can drive the API through a visitor's browser.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from api.http.audit import identify
from api.http.errors import Conflict, Forbidden, Unauthorized
from api.http.routing import Api, ApiDep
from api.http.scopes import SCOPES as SCOPES
from api.http.scopes import Scope as Scope
from api.http.scopes import includes
from api.settings import ApiSettings
from models.base import db_now, new_id
from models.session import Database, insert_ignore
from models.workspaces import DEFAULT_WORKSPACE, RESERVED_NAMES, ApiKey, Workspace

_USED_EVERY_SECONDS = 60
#: In one statement, as it stands before every keyless request: whether there is a key, and the default workspace.
_STANDING = select(exists(select(ApiKey.id)), exists(select(Workspace.id).where(Workspace.id == DEFAULT_WORKSPACE)))
_UNREVOKED = ApiKey.revoked_at.is_(None)
_bearer = HTTPBearer(auto_error=False, description="An API key: errata_<id>_<secret>")


class BindingRefused(RuntimeError):
    """The API would listen beyond this machine although no key protects it."""


@dataclass(frozen=True)
class Caller:
    """Who is asking: a workspace and what its key or session allows.

    ``key_id`` is None for keyless requests on loopback and for people who signed in by OpenID Connect. ``subject`` is
    set for the latter alone; ``name`` is the key's or the person's.
    """

    workspace_id: str
    scopes: frozenset[str]
    key_id: str | None = None
    subject: str | None = None
    name: str | None = None

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return self.key_id or (f"oidc:{self.subject}" if self.subject else "anonymous")

    def may(self, scope: Scope) -> bool:
        """Whether the scopes include this one."""
        return includes(self.scopes, scope)


def create_key(
    session: Session,
    name: str,
    *,
    workspace: str = "default",
    scopes: Iterable[Scope] = ("read", "write", "train"),
    expires_in: timedelta | None = None,
    created_by: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for a workspace (made too if new), in the caller's transaction; ``created_by``: the actor.

    The answer holds the whole key, which is shown once and kept nowhere. Raises ValueError for an unknown scope
    and for the service's own workspaces, which nobody opens.
    """
    if workspace in RESERVED_NAMES:
        raise ValueError(f"workspace '{workspace}' is the service's own; choose another name")
    wanted = sorted(set(scopes))
    if not wanted or set(wanted) - set(SCOPES):
        raise ValueError(f"scopes must be some of {', '.join(SCOPES)}")
    return _add_key(session, ensure_workspace(session, workspace), name, wanted, expires_in, created_by)


def rotate_key(session: Session, key: ApiKey, grace: timedelta, created_by: str | None = None) -> tuple[ApiKey, str]:
    """Replace a key: a new one of its name, scopes and length of validity, while the old one goes on for ``grace``.

    In the caller's transaction. Raises Conflict for a key that is not valid any more or was replaced before.
    """
    session.refresh(key, with_for_update=True)  # of two at once the second sees the first's
    now = session.scalars(select(db_now())).one()
    if key.replaced_by:
        raise Conflict(f"the key was rotated before: {key.replaced_by} replaces it; rotate that one")
    if key.revoked_at or (key.expires_at and key.expires_at <= now):
        raise Conflict("the key is revoked or expired; create another one")
    lifetime = key.expires_at - key.created_at if key.expires_at else None
    new, secret = _add_key(session, key.workspace_id, key.name, key.scopes, lifetime, created_by)
    key.replaced_by = new.id
    if grace:
        key.expires_at = min(key.expires_at or now + grace, now + grace)
    else:
        key.revoked_at = now
    session.flush()
    return new, secret


def _add_key(
    session: Session, workspace_id: str, name: str, scopes: list[Any], lifetime: timedelta | None, by: str | None
) -> tuple[ApiKey, str]:
    public, secret = new_id("key"), secrets.token_hex(24)
    now = session.scalars(select(db_now())).one()
    key = ApiKey(
        id=public,
        workspace_id=workspace_id,
        name=name,
        secret_sha256=digest(secret),
        scopes=list(scopes),
        expires_at=now + lifetime if lifetime else None,
        created_by=by,
    )
    session.add(key)
    session.flush()
    return key, f"errata_{public.removeprefix('key_')}_{secret}"


def ensure_workspace(session: Session, name: str = "default") -> str:
    """The id of the workspace of this name, made if new."""
    row_id = DEFAULT_WORKSPACE if name == "default" else new_id("ws")
    insert_ignore(session, Workspace, [{"id": row_id, "name": name}])
    return session.scalars(select(Workspace.id).where(Workspace.name == name)).one()


def revoke_key(session: Session, key_id: str) -> bool:
    """End a key at once; False when there is none of this id, or it is revoked already."""
    statement = (
        update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=db_now())
    ).returning(ApiKey.id)
    return session.execute(statement).first() is not None


def still_allowed(api: Api, caller: Caller) -> bool:
    """Whether who began to read may go on: a key that is neither revoked nor expired, or none where none is needed.

    For answers that last: what a session of a browser opened is not asked for again.
    """
    with api.db.look() as session:
        if caller.key_id is not None:
            valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > db_now())
            return bool(session.scalar(select(exists().where(ApiKey.id == caller.key_id, _UNREVOKED, valid))))
        return caller.subject is not None or not any_key(session)


def any_key(session: Session) -> bool:
    """Whether any key was ever made: from then on every request needs one."""
    return bool(session.scalar(select(exists(select(ApiKey.id)))))


def check_binding(settings: ApiSettings, db: Database) -> None:
    """Raises BindingRefused when the API would be reachable from elsewhere without a usable key in the database."""
    if settings.loopback or settings.oidc_issuer:  # with a provider, every page needs a sign-in and every request a key
        return
    # A key that is revoked or expired opens nothing, so it protects nothing either.
    usable = exists(
        select(ApiKey.id).where(
            ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > db_now())
        )
    )
    with db.read() as session:
        if not session.scalar(select(usable)):
            raise BindingRefused(
                f"refusing to listen on {settings.host} without an API key: make one with `errata keys create`,"
                " or bind 127.0.0.1"
            )


def authenticate(
    request: Request, api: ApiDep, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Who is asking. Raises Unauthorized.

    A credential that is not ours counts as none: where no key is needed, clients of other services that insist on
    sending one still work.
    """
    if given is not None and given.credentials.startswith("errata_"):
        return known_caller(request, _by_key(api, given.credentials))
    return anonymous(request, api)


def anonymous(request: Request, api: Api) -> Caller:
    """The default workspace, for a keyless request from this machine. Raises Unauthorized."""
    with api.db.look() as session:
        keyed, known = session.execute(_STANDING).one()
    if not api.settings.loopback or api.settings.require_key == "always" or api.settings.oidc_issuer or keyed:
        raise _unauthorized("this needs an API key: send 'Authorization: Bearer errata_<id>_<secret>'")
    if not _from_this_machine(request):
        raise Forbidden("a keyless request must come from this machine's own pages, not from another site's")
    if not known:
        with api.db.begin() as session:
            ensure_workspace(session)
    return known_caller(request, Caller(DEFAULT_WORKSPACE, frozenset(SCOPES)))


def known_caller(request: Request, caller: Caller) -> Caller:
    """The caller, noted for the audit log."""
    identify(request.scope, caller.workspace_id, caller.actor, caller.name)
    return caller


def _by_key(api: Api, token: str) -> Caller:
    parts = token.split("_")
    if len(parts) != 3 or parts[0] != "errata" or not token.isascii() or not token.isprintable():
        raise _unauthorized("this is not an API key; keys read errata_<id>_<secret>")
    with api.db.look() as session:
        found = session.execute(select(ApiKey, db_now()).where(ApiKey.id == f"key_{parts[1]}")).first()
    key, now = found or (None, datetime.now(UTC))
    # The digest is compared in constant time, and for an unknown id as well.
    matches = hmac.compare_digest(digest(parts[2]), key.secret_sha256 if key else digest(""))
    if key is None or not matches or key.revoked_at or (key.expires_at and key.expires_at <= now):
        raise _unauthorized("this API key is unknown, revoked or expired")
    # Written once a minute at most: reading requests must not each wait for the write lock.
    if key.last_used_at is None or now - key.last_used_at > timedelta(seconds=_USED_EVERY_SECONDS):
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < db_now(-_USED_EVERY_SECONDS))
        with api.db.begin() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id, stale).values(last_used_at=db_now()))
    return Caller(key.workspace_id, frozenset(str(scope) for scope in key.scopes), key.id, name=key.name)


def digest(secret: str) -> str:
    """What is stored of a secret of high entropy: its SHA-256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _unauthorized(detail: str) -> Unauthorized:
    return Unauthorized(detail, headers={"WWW-Authenticate": "Bearer"})


def _from_this_machine(request: Request) -> bool:
    """Host must be loopback or a bare name (no public site has one), and a browser's Origin must be that host."""
    # DNS rebinding reaches loopback under a public name; a page of another site sends its own Origin.
    host = request.headers.get("host", "")
    name = (urlsplit(f"//{host}").hostname or "") if "/" not in host else ""
    try:
        local = ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = bool(name) and "." not in name
    origin = request.headers.get("origin")
    return local and (origin is None or urlsplit(origin).netloc == host)


def requires(scope: Scope) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    """A dependency: the caller, whose key must include ``scope``. Raises Forbidden."""

    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        if not caller.may(scope):
            raise Forbidden(f"this key lacks the scope '{scope}'; use one made with it")
        return caller

    check.scope = scope  # type: ignore[attr-defined]  # read by api.http.routing.scope_of
    return check


Reader = Annotated[Caller, Depends(requires("read"))]
Writer = Annotated[Caller, Depends(requires("write"))]
Trainer = Annotated[Caller, Depends(requires("train"))]
Admin = Annotated[Caller, Depends(requires("admin"))]
