"""What every page needs: its viewer, its template, and an answer that is a page also where it is a refusal.

On loopback without keys the viewer is the default workspace, as over ``/v1``. Otherwise a browser signs in with an API
key, kept in a cookie that scripts cannot read, other sites cannot send, and ``/v1`` ignores; or a person signs in by
OpenID Connect (api.pages.sessions). Everything rendered is autoescaped, and nothing is inline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select

from api.http.auth import Caller, authenticate, digest, known_caller
from api.http.errors import Forbidden, Invalid, Unauthorized
from api.http.routing import Api, ApiDep
from api.pages import format as fmt
from errata.event_sentences import sentence_of
from models.access import BrowserSession
from models.base import db_now
from models.states import TERMINAL

COOKIE = "errata_key"
SESSION_COOKIE = "errata_session"
_SIGNED_IN_SECONDS = 12 * 3600
_API = Path(__file__).parent.parent
STATIC = _API / "static"
_TITLES = {403: "Not with this key", 404: "Not found"}


class SignInNeeded(Unauthorized):
    """No key, or one that is not valid: the pages answer with the sign-in form. ``oidc``: with its button too."""

    def __init__(self, detail: str, *, oidc: bool = False) -> None:
        super().__init__(detail)
        self.oidc = oidc


def viewer(request: Request, api: ApiDep) -> Caller:
    """Who is looking. Raises SignInNeeded, or Forbidden for a key that may not read."""
    oidc = bool(api.settings.oidc_issuer)
    token, key = request.cookies.get(SESSION_COOKIE), request.cookies.get(COOKIE)
    if oidc and token:
        return _person(request, api, token)
    given = HTTPAuthorizationCredentials(scheme="Bearer", credentials=key) if key else None
    try:
        caller = authenticate(request, api, given)
    except Unauthorized as error:
        raise SignInNeeded(str(error.detail), oidc=oidc) from None
    if not caller.may("read"):
        raise Forbidden("this key may not read")
    return caller


Viewer = Annotated[Caller, Depends(viewer)]


def _person(request: Request, api: Api, token: str) -> Caller:
    """Whose session the cookie is. Raises SignInNeeded."""
    with api.db.read() as session:
        live = (BrowserSession.token_sha256 == digest(token), BrowserSession.expires_at > db_now())
        row = session.scalars(select(BrowserSession).where(*live)).one_or_none()
    if row is None:
        raise SignInNeeded("your session has ended; sign in again", oidc=True)
    scopes = frozenset(str(scope) for scope in row.scopes)
    return known_caller(request, Caller(row.workspace_id, scopes, subject=row.subject, name=row.name))


def check_origin(request: Request) -> None:
    """Raises HTTPException where the browser says that the form is another site's."""
    origin = request.headers.get("origin")  # browsers send it with every POST; others need no guard
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise HTTPException(403, "The form must be sent from this site's own page.")


def remember(response: Response, request: Request, key: str) -> None:
    """Keep the key for this browser: HttpOnly, SameSite=Strict, and Secure wherever the page came over TLS."""
    response.set_cookie(
        COOKIE, key, max_age=_SIGNED_IN_SECONDS, httponly=True, samesite="strict", secure=secure(request)
    )


def secure(request: Request) -> bool:
    """Whether the page came over TLS, so that its cookies go over nothing else."""
    return request.url.scheme == "https"


def is_live(state: str) -> bool:
    """Whether a row in this state can still change, so that its page is refreshed."""
    return state not in TERMINAL


def _version() -> str:
    """Changes whenever a static file does, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_API / "templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name fails a test instead of showing nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (fmt.plural, fmt.sentence, fmt.short, fmt.visible, fmt.words)
    figures = (fmt.ago, fmt.decimal, fmt.duration, fmt.number, fmt.percent, fmt.size)
    environment.filters |= {function.__name__: function for function in (*words, *figures)}
    environment.filters["pct"] = lambda share: f"{100 * min(max(share, 0.0), 1.0):.2f}%"
    environment.filters["told"] = lambda event: sentence_of(event.type, event.data)
    environment.tests["live"] = is_live
    environment.globals |= {"version": _version(), "section": ""}
    return environment


TEMPLATES = _environment()


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A rendered template. Not kept by caches: it shows the workspace of whoever asked."""
    html = TEMPLATES.get_template(template).render(**context)
    # A lone surrogate cannot be encoded; the store holds none, but a page must never fail for one.
    body = html.encode("utf-8", "replace")
    return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})


def refusal_page(status: int, detail: str) -> HTMLResponse:
    """A page that says that something did not work, and why."""
    return page("message.html", status, heading=_TITLES.get(status, "That did not work"), detail=detail)


class PageRoute(APIRoute):
    """A route whose refusals are pages instead of problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors turned into pages."""
        handle = super().get_route_handler()

        async def with_pages(request: Request) -> Response:
            try:
                return await handle(request)
            except SignInNeeded as error:
                # A first visit is no refusal: only a cookie that was sent and not accepted is told about.
                refused = None if not request.cookies else str(error.detail)
                return page("sign_in.html", 401, refused=refused, oidc=error.oidc)
            except (RequestValidationError, Invalid) as error:
                if request.method == "POST":
                    return refusal_page(422, str(getattr(error, "detail", "The form could not be read.")))
                # Nothing but the address was given, so what is wrong with it is a page that does not exist.
                return refusal_page(404, "There is no such page.")
            except HTTPException as error:
                return refusal_page(error.status_code, str(error.detail))

        return with_pages
