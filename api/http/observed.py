"""What every request leaves in metrics and traces: its route's template, its status, its time."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS
from models.telemetry.tracing import span

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed:
    """Outermost of the middleware: what others refuse counts too.

    A request's time ends with the head of its answer: an event stream stays open for hours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answered: list[tuple[int, float]] = []

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append((message["status"], time.perf_counter() - started))
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "other"  # callers may invent methods
        parent = Headers(scope=scope).get("traceparent")
        with span(method, "server", parent, http__request__method=method) as told:
            try:
                await self.app(scope, receive, send_counted)
            finally:
                status, seconds = answered[0] if answered else (500, time.perf_counter() - started)
                route = template(scope)
                told.rename(f"{method} {route}")
                told.set(http__route=route, http__response__status_code=status)
                HTTP_REQUESTS.labels(method, route, str(status)).inc()
                HTTP_SECONDS.labels(method, route).observe(seconds)


def template(scope: Scope) -> str:
    """The template of the route that served a request, such as ``/v1/pairs/{pair_id}``; "none" where none did."""
    route = scope.get("route")
    return str(getattr(route, "path", None) or "none")
