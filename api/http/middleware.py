"""Plain ASGI middleware: the body's limit while it streams in, and the security headers of every answer."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from api.settings import ApiSettings

#: Nothing inline, nothing from another host.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Adds the security headers to every HTTP answer; API answers are not cached unless they say so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with headers added to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class BodyLimit:
    """Answers 413 as soon as a body exceeds its limit, announced or not; uploads have a limit of their own."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope)
        detail = f"the body is larger than {limit} bytes; send less at once"
        announced = Headers(scope=scope).get("content-length", "0")
        # An announced body is refused unread. "Connection: close" keeps it from being read as the next request.
        if not announced.isdecimal() or len(announced) > 18 or int(announced) > limit:
            refusal = errors.response(Request(scope), 413, detail, headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            # Chunked bodies announce nothing: they are counted as they come.
            seen += len(message.get("body", b""))
            if seen > limit:
                raise errors.TooLarge(detail, headers={"Connection": "close"})
            return message

        await self.app(scope, receive_counted, send)

    def _limit(self, scope: Scope) -> int:
        path = scope["path"].rstrip("/")
        uploads = path == "/v1/problem-sets" or (path.startswith("/v1/problem-sets/") and path.endswith("/solutions"))
        media_type = Headers(scope=scope).get("content-type", "").partition(";")[0]
        json_body = media_type.strip().lower() == "application/json"  # not application/jsonl, which is a file
        if not uploads:
            return self.settings.request_limit
        return self.settings.body_limit if json_body else self.settings.upload_limit
