"""Signing in and out of the pages: with an API key, or with OpenID Connect where the operator has set it up.

A person's session is a random cookie whose SHA-256 stands in the database, so that signing out ends it for good. What a
sign-in is bound to (state, nonce, PKCE verifier) stays in a cookie of the browser that began it, for ten minutes.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from api.http import strict_json
from api.http.auth import Caller, authenticate, digest, ensure_workspace, known_caller
from api.http.errors import Unauthorized, Unavailable
from api.http.routing import Api, ApiDep
from api.oidc.attempt import Attempt, ProviderAway, SignInRefused
from api.oidc.rules import Rule, admitted
from api.pages.rendering import COOKIE, SESSION_COOKIE, PageRoute, check_origin, page, remember, secure
from models.access import BrowserSession
from models.base import new_id

if TYPE_CHECKING:
    from api.oidc.provider import Provider

log = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ATTEMPT_COOKIE = "errata_sign_in"
_ATTEMPT_SECONDS = 600
_CALLBACK = "/oidc/callback"
_Code = Annotated[str | None, Query(max_length=4000)]


@router.post("/sign-in")
def sign_in(request: Request, api: ApiDep, key: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Keep an API key for this browser. Only from our own form: another site must not sign a visitor in."""
    check_origin(request)
    try:
        authenticate(request, api, HTTPAuthorizationCredentials(scheme="Bearer", credentials=key.strip()))
    except Unauthorized as error:
        return page("sign_in.html", 401, refused=str(error.detail), oidc=bool(api.settings.oidc_issuer))
    response = RedirectResponse("/", 303)
    remember(response, request, key.strip())
    response.delete_cookie(SESSION_COOKIE)  # who signs in with a key acts as that key
    return response


@router.post("/sign-out")
def sign_out(request: Request, api: ApiDep) -> Response:
    """Forget the browser's key, and end its session on the server. The provider's own session goes on."""
    check_origin(request)
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        with api.db.begin() as session:
            ended = delete(BrowserSession).where(BrowserSession.token_sha256 == digest(token))
            row = session.execute(ended.returning(BrowserSession.workspace_id, BrowserSession.subject)).first()
            if row is not None:
                known_caller(request, Caller(row.workspace_id, frozenset(), subject=row.subject))
    response = RedirectResponse("/", 303)
    for cookie in (COOKIE, SESSION_COOKIE):
        response.delete_cookie(cookie)
    return response


@router.get("/oidc/sign-in")
def begin(request: Request, api: ApiDep) -> Response:
    """Send the browser to the provider."""
    attempt = Attempt.new()
    try:
        url = _provider(request, api).authorization_url(attempt, _redirect_uri(request, api))
    except ProviderAway:
        raise _away() from None
    response = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
    kept = base64.urlsafe_b64encode(json.dumps([attempt.state, attempt.nonce, attempt.verifier]).encode()).decode()
    # Lax: the provider's redirect comes from another site, and Strict would keep the cookie back.
    response.set_cookie(
        _ATTEMPT_COOKIE,
        kept,
        max_age=_ATTEMPT_SECONDS,
        path="/oidc",
        httponly=True,
        samesite="lax",
        secure=secure(request),
    )
    return response


@router.get(_CALLBACK)
def complete(
    request: Request,
    api: ApiDep,
    state: _Code = None,
    code: _Code = None,
    error: Annotated[str | None, Query(max_length=4000)] = None,
) -> Response:
    """The provider's answer: who it is decides about workspace and scopes, and begins a session."""
    provider = _provider(request, api)
    try:
        attempt = _attempt(request, state)
        if error is not None or not code:
            raise SignInRefused("the provider did not sign you in; try again")
        claims = provider.claims(attempt, code, _redirect_uri(request, api))
        rule = admitted(api.settings.oidc_rules, claims, api.settings.oidc_groups_claim)
        if rule is None:
            raise SignInRefused("you are known, but nobody has allowed you in; ask the operator of this service")
        token = _begin_session(request, api, claims, rule, attempt)
    except ProviderAway:
        raise _away() from None
    except SignInRefused as refusal:
        log.warning("a sign-in was refused: %s", refusal)
        response: Response = page("sign_in.html", 401, refused=str(refusal), oidc=True)
    else:
        response = RedirectResponse("/", 303)
        seconds = round(api.settings.session_hours * 3600)
        response.set_cookie(
            SESSION_COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure(request)
        )
        response.delete_cookie(COOKIE)  # a key that was signed in with before must not act for this person
    response.delete_cookie(_ATTEMPT_COOKIE, path="/oidc")
    return response


def _attempt(request: Request, state: str | None) -> Attempt:
    """The sign-in that this browser began. Raises SignInRefused for another's, which a link may have brought here."""
    try:
        values = strict_json.loads(base64.urlsafe_b64decode(request.cookies.get(_ATTEMPT_COOKIE, "")))
        attempt = Attempt(*(str(value) for value in values))
    except (ValueError, TypeError):
        raise SignInRefused("this sign-in has expired or was begun in another browser; sign in again") from None
    if not hmac.compare_digest(attempt.state.encode(), (state or "").encode()):
        raise SignInRefused("this sign-in was not begun here; sign in again")
    return attempt


def _begin_session(request: Request, api: Api, claims: dict[str, Any], rule: Rule, attempt: Attempt) -> str:
    """The new session's cookie. Raises SignInRefused where the same sign-in began one before."""
    token, subject = secrets.token_urlsafe(32), str(claims["sub"])[:255]
    name = str(claims.get("email") or claims.get("preferred_username") or claims.get("name") or subject)[:255]
    try:
        with api.db.begin() as session:
            workspace_id = ensure_workspace(session, rule.workspace)
            row = BrowserSession(
                id=new_id("sess"),
                workspace_id=workspace_id,
                token_sha256=digest(token),
                state_sha256=digest(attempt.state),
                subject=_storable(subject),
                name=_storable(name),
                scopes=sorted(rule.scopes),
                expires_at=datetime.now(UTC) + timedelta(hours=api.settings.session_hours),
            )
            session.add(row)
            session.flush()
            known_caller(request, Caller(workspace_id, frozenset(rule.scopes), subject=row.subject, name=row.name))
    except IntegrityError:
        raise SignInRefused("this sign-in was used before; sign in again") from None
    return token


def _storable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _provider(request: Request, api: Api) -> Provider:
    """The process's one provider, which keeps what it has learnt. Raises HTTPException where none is set up."""
    if not api.settings.oidc_issuer:
        raise HTTPException(404, "There is no such page.")
    from api.oidc.provider import Provider  # only where it is used: its libraries take memory and time to load

    state: Any = request.app.state
    if not hasattr(state, "oidc_provider"):
        state.oidc_provider = Provider(api.settings)
    found: Provider = state.oidc_provider
    return found


def _redirect_uri(request: Request, api: Api) -> str:
    return (api.settings.public_url or str(request.base_url).rstrip("/")) + _CALLBACK


def _away() -> Unavailable:
    return Unavailable("The identity provider does not answer as it should. Try again in a moment.")
