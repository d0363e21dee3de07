"""Templates, and pages' answers: everything is autoescaped, nothing inline, errors are pages too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.pages import text
from api.pages.access import SignInNeeded

_ROOM = Path(__file__).parent.parent
STATIC = _ROOM / "static"
_TITLES = {403: "Not with this key", 404: "Not found"}


def _version() -> str:
    """Changes whenever a static file does, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": text.ago,
        "decimal": text.decimal,
        "duration": text.duration,
        "number": text.number,
        "pct": lambda share: f"{100 * min(max(share, 0.0), 1.0):.2f}%",
        "percent": text.percent,
        "plural": text.plural,
        "short": text.short,
        "size": text.size,
        "visible": text.visible,
        "words": text.words,
    }
    environment.globals |= {"version": _version(), "section": ""}
    return environment


TEMPLATES = _environment()


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A rendered template. Not kept by caches: it shows the workspace of whoever asked."""
    html = TEMPLATES.get_template(template).render(**context)
    # A lone surrogate cannot be encoded; the store holds none, but a page must never fail for one.
    body = html.encode("utf-8", "replace")
    return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})


def message(status: int, detail: str) -> HTMLResponse:
    """A page that says what is wrong."""
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
                return page("sign_in.html", 401, refused=None if not request.cookies else str(error.detail))
            except HTTPException as error:
                return message(error.status_code, str(error.detail))
            except RequestValidationError:
                return message(404, "There is no such page.")

        return with_pages
