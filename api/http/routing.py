"""What every ``/v1`` route has: the process's services, strict JSON bodies, and unknown query parameters refused.

Routes are ``def`` and open their own short sessions, with the commit inside the ``with`` block and hints sent after it.
Sessions are no dependency on purpose: a session dependency holds its connection (on SQLite the write lock) while the
request waits for a thread of the pool, and once enough requests wait for the lock no thread is left for its holder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from api.http import strict_json
from api.http.errors import BadRequest, FieldError, Invalid, UnsupportedMediaType, documented
from api.http.scopes import Scope
from api.settings import ApiSettings
from models.session import Database
from models.settings import StoreSettings
from workers.dispatch import Dispatcher

_INLINE_BYTES = 64 * 1024  # larger documents are parsed in a thread, so that the event loop stays free


@dataclass(frozen=True)
class Api:
    """The services of one API process, made by the composition root."""

    db: Database
    store: StoreSettings
    dispatcher: Dispatcher
    settings: ApiSettings
    previews: BoundedSemaphore

    @classmethod
    def of(cls, db: Database, store: StoreSettings, dispatcher: Dispatcher, settings: ApiSettings) -> Api:
        """The services, and the slots that bound what this process starts."""
        return cls(db, store, dispatcher, settings, BoundedSemaphore(settings.previews))


async def get_api(request: Request) -> Api:  # async, as everything that never waits: it then needs no thread
    """The services of the application that serves this request."""
    state: Any = request.app.state
    return cast(Api, state.api)


ApiDep = Annotated[Api, Depends(get_api)]


class StrictRequest(Request):
    """A request whose ``json()`` refuses what :mod:`api.http.strict_json` refuses. Raises BadRequest."""

    async def json(self) -> Any:
        """The body's value. Raises BadRequest for what is no JSON, UnsupportedMediaType for what is compressed."""
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("this body is read as it is: send it without Content-Encoding")
        body = await self.body()
        try:
            if len(body) <= _INLINE_BYTES:
                return strict_json.loads(body)
            return await run_in_threadpool(strict_json.loads, body)
        except strict_json.JsonError as error:
            raise BadRequest(
                f"the body is not acceptable JSON: {error}",
                [FieldError(field="body", message=str(error), remedy="send one valid JSON document in UTF-8")],
            ) from None


class StrictRoute(APIRoute):
    """A route that knows all its query parameters: a misspelt filter must not silently match everything.

    OpenAPI tells the scope that a key needs for it, as ``x-required-scope``.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if (scope := scope_of(self.dependant)) is not None:
            self.openapi_extra = {**(self.openapi_extra or {}), "x-required-scope": scope}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its request made strict."""
        handle = super().get_route_handler()
        known = _query_names(self.dependant)  # once per route, not per request

        async def strict(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown:
                remedy = f"known here: {', '.join(sorted(known)) or 'none'}"
                listed = (
                    FieldError(field=name[:80], message="unknown query parameter", remedy=remedy) for name in unknown
                )
                raise Invalid(f"unknown query parameters: {len(unknown)}", listed)
            if len(request.query_params.multi_items()) > len(request.query_params):
                raise _given_twice(request)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


def _given_twice(request: Request) -> Invalid:
    """The refusal of parameters that are given more than once: only one of their values would count."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in counts.items() if count > 1]
    listed = (FieldError(field=name, message="given more than once", remedy="give one value") for name in twice)
    return Invalid(f"query parameters given more than once: {', '.join(twice)}", listed)


def scope_of(dependant: Dependant) -> Scope | None:
    """The scope that the dependencies of a route require (api.http.auth.requires); None where it asks for no key."""
    found: Scope | None = getattr(dependant.call, "scope", None)
    return found or next((scope for below in dependant.dependencies if (scope := scope_of(below))), None)


def _query_names(dependant: Dependant) -> set[str]:
    """Names of all query parameters of an operation and its dependencies."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_query_names(below) for below in dependant.dependencies))


def make_router(prefix: str, tag: str) -> APIRouter:
    """A router of strict routes; every operation may refuse for these reasons."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=StrictRoute, responses=documented(400, 401, 403, 422, 503))


def accepted(response: Response, location: str, *, replayed: bool | None = None) -> None:
    """The headers of a 202: where to look, and after how many seconds."""
    response.headers["Location"] = location
    response.headers["Retry-After"] = "1"
    if replayed is not None:
        response.headers["Idempotent-Replayed"] = str(replayed).lower()
