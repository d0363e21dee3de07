"""Who looks at the dashboard. On loopback without keys: the default workspace, as over ``/v1``. Otherwise a browser
signs in with an API key, kept in a cookie that scripts cannot read, other sites cannot send, and ``/v1`` ignores.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials

from api.http.auth import Caller, authenticate
from api.http.errors import Forbidden, Unauthorized
from api.http.routing import ApiDep

COOKIE = "errata_key"
_SECONDS = 12 * 3600


class SignInNeeded(Unauthorized):
    """No key, or one that is no longer good: the pages answer with the sign-in form."""


def viewer(request: Request, api: ApiDep) -> Caller:
    """Who is looking. Raises SignInNeeded, or Forbidden for a key that may not read."""
    key = request.cookies.get(COOKIE)
    given = HTTPAuthorizationCredentials(scheme="Bearer", credentials=key) if key else None
    try:
        caller = authenticate(request, api, given)
    except Unauthorized as error:
        raise SignInNeeded(str(error.detail)) from None
    if not caller.may("read"):
        raise Forbidden("this key may not read")
    return caller


Viewer = Annotated[Caller, Depends(viewer)]


def remember(response: Response, request: Request, key: str) -> None:
    """Keep the key for this browser: HttpOnly, SameSite=Strict, and Secure wherever the page came over TLS."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, key, max_age=_SECONDS, httponly=True, samesite="strict", secure=secure)
