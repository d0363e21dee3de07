"""Plain ASGI middleware: the body's limit while it streams in, and the security headers of every answer."""

from __future__ import annotations

import asyncio
import secrets
import time

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from api.http.memory import Trimmer
from api.settings import ApiSettings
from models.logs import bound

#: Nothing inline, nothing from another host.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms, which the check of origins refuses.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CLOSE = {"Connection": "close"}


class SecurityHeaders:
    """Adds the security headers to every HTTP answer; API answers are not cached unless they say so.

    Each answer also names its request (``X-Request-ID``), as the log does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with headers added to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        request_id = scope["errata.request_id"] = secrets.token_hex(8)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with bound(request=request_id):
            await self.app(scope, receive, send_with_headers)


class BodyLimit:
    """Answers 413 as soon as a body exceeds its limit, announced or not; uploads have a limit of their own.

    A body that pauses for ``body_idle_seconds`` or takes longer than ``body_seconds`` is answered 408, and one that is
    to come while ``open_bodies`` others are still coming 503. Behind large ones memory is given back.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self.app = app
        self.settings = settings
        self._memory = Trimmer()
        self._coming = 0  # only the event loop's thread counts here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting and timing its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope)
        announced = Headers(scope=scope).get("content-length", "0")
        # An announced body is refused unread. "Connection: close" keeps it from being read as the next request.
        if not announced.isdecimal() or len(announced) > 18 or int(announced) > limit:
            refusal = errors.response(Request(scope), 413, _too_large(limit), headers=_CLOSE)
            await refusal(scope, receive, send)
            return
        body = _Body(self, receive, limit)
        try:
            await self.app(scope, body.receive, send)
        finally:
            body.leave()
            self._memory.after(body.seen)

    def enter(self) -> None:
        """One more body is coming. Raises Unavailable where as many are as may."""
        if self._coming >= self.settings.open_bodies:
            told = f"{self._coming} bodies are being received; try again in a moment"
            raise errors.Unavailable(told, headers={**_CLOSE, "Retry-After": "5"})
        self._coming += 1

    def leave(self) -> None:
        """A body has come, or its request has ended."""
        self._coming -= 1

    def _limit(self, scope: Scope) -> int:
        path = scope["path"].rstrip("/")
        uploads = path in ("/v1/problem-sets", "/v1/datasets/import", "/v1/files", "/upload") or (
            path.startswith("/v1/problem-sets/") and path.endswith("/solutions")
        )
        media_type = Headers(scope=scope).get("content-type", "").partition(";")[0]
        json_body = media_type.strip().lower() == "application/json"  # not application/jsonl, which is a file
        if not uploads:
            return self.settings.request_limit
        return self.settings.body_limit if json_body else self.settings.upload_limit


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes; send less at once"


class _Body:
    """One request's body as it comes in."""

    def __init__(self, limits: BodyLimit, receive: Receive, limit: int) -> None:
        self._limits, self._receive, self._limit = limits, receive, limit
        self.seen = 0
        self._entered = self._ended = False
        self._until: float | None = None

    async def receive(self) -> Message:
        """The next part. What comes behind the body (the client's leaving) is waited for without limit."""
        if self._ended:
            return await self._receive()
        if not self._entered:
            self._limits.enter()
            self._entered = True
        message = await self._timely()
        self.seen += len(message.get("body", b""))
        # Chunked bodies announce nothing: they are counted as they come.
        if self.seen > self._limit:
            raise errors.TooLarge(_too_large(self._limit), headers=_CLOSE)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
            self.leave()
        return message

    async def _timely(self) -> Message:
        settings, now = self._limits.settings, time.monotonic()
        self._until = self._until or now + settings.body_seconds
        try:
            async with asyncio.timeout(min(settings.body_idle_seconds, max(0.0, self._until - now))):
                return await self._receive()
        except TimeoutError:
            idle, whole = settings.body_idle_seconds, settings.body_seconds
            told = f"the body paused for {idle:g} s or took longer than {whole:g} s; send it faster, or less at once"
            raise errors.RequestTimeout(told, headers=_CLOSE) from None

    def leave(self) -> None:
        """Give the place up; twice is as once."""
        if self._entered:
            self._entered = False
            self._ended = True
            self._limits.leave()
