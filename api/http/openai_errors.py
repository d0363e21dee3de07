"""Refusals as clients of OpenAI expect them, on the routes that such clients call.

The problem document has a member ``error`` there, in OpenAI's shape: their client reads that member and nothing else.
On routes that are OpenAI's alone the statuses are theirs as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

#: Routes of OpenAI's API: their statuses and the member ``error``. A path stands for what lies below it, too.
ROUTES = ("/v1/files", "/v1/fine_tuning", "/v1/chat", "/v1/completions")
#: Routes that clients of both call: our statuses and the member ``error``.
SHARED = ("/v1/models",)
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 500: "server_error"}


First = tuple[str, str, str]
"""An offending field: its path, what is wrong, and what to do."""


class OpenAIError(BaseModel):
    """A refusal in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str | None


def status_of(path: str, status: int, headers: Mapping[str, Any] | None) -> int:
    """The status of a refusal: on OpenAI's routes what the request or the row's state forbids is 400, as it is there.

    A 409 that is to be asked again (it has ``Retry-After``) stays one: OpenAI's client repeats such a request.
    """
    if not _below(path, ROUTES) or (status == 409 and "Retry-After" in (headers or {})):
        return status
    return 400 if status in (409, 415, 422) else status


def error_of(path: str, status: int, detail: str, slug: str, first: First | None) -> OpenAIError | None:
    """The member ``error``; None where no client of OpenAI calls. ``first``: the first field."""
    if not _below(path, (*ROUTES, *SHARED)):
        return None
    return OpenAIError(
        message=_message(detail, first) if first else detail,
        type=_type(status),
        param=first[0] if first else None,
        code=_code(path, status, slug),
    )


def _message(detail: str, first: First) -> str:
    """All in one text: their client shows no more than that."""
    field, message, remedy = first
    told = "" if message in detail else f": {field}: {message}"
    return f"{detail}{told}; {remedy}"


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return {403: "permission_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")


def _code(path: str, status: int, slug: str) -> str:
    if status == 404 and _below(path, SHARED):
        return "model_not_found"
    return _CODES.get(status) or slug.replace("-", "_")


def _below(path: str, routes: tuple[str, ...]) -> bool:
    return any(path == route or path.startswith(f"{route}/") for route in routes)
