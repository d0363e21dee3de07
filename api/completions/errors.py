"""Refusals of routes that OpenAI's clients speak to, in OpenAI's shape: ``{"error": {message, type, param, code}}``.

The statuses are those of OpenAI: what cannot be accepted is a 400, where the rest of ``/v1`` says 422.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from api.http.audit import leave_out
from api.http.errors import ApiError, Invalid, TooManyRequests, field_errors
from api.http.routing import StrictRoute
from models.logs import DATABASE

log = logging.getLogger(__name__)
_TYPES = {403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}
_FIELD = re.compile(r"[A-Za-z_]\w*")
_TYPE_NAMES = frozenset({"str", "bool", "int", "float"})


class ErrorDetail(BaseModel):
    """What went wrong: ``param`` is the field at fault, and ``code`` tells the kinds of fault apart."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorOut(BaseModel):
    """A refusal in OpenAI's shape."""

    error: ErrorDetail


class Refusal(HTTPException):
    """A refusal with its own ``param`` and ``code``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.param, self.code = param, code


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the refusals an operation may answer with."""
    return {status: {"description": HTTPStatus(status).phrase, "model": ErrorOut} for status in statuses}


def document(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the answer that tells of an error. What is no refusal is logged, and not told."""
    if isinstance(error, Refusal):
        return _told(error.status_code, str(error.detail), error.param, error.code, error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, ApiError):
        status = 400 if isinstance(error, Invalid) else error.status_code
        first = error.errors[0] if error.errors else None
        quota = isinstance(error, TooManyRequests) and "quota" in str(error.detail)
        told = str(error.detail) if first is None else f"{first.field}: {first.message}; {first.remedy}"
        param = first.field if first and first.field != "body" else None
        return _told(status, told, param, "insufficient_quota" if quota else None, error.headers)
    if isinstance(error, HTTPException):
        return _told(error.status_code, str(error.detail), None, None, error.headers)
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        DATABASE.away(log, error)
        return _told(503, "the database cannot be reached just now; try again", None, None, {"Retry-After": "5"})
    log.error("a completion failed", exc_info=error)
    return _told(500, "an error of ours; it has been logged", None, None, None)


def _invalid(error: RequestValidationError) -> tuple[int, dict[str, Any], dict[str, str]]:
    raw = error.errors()[0]
    first = field_errors([raw])[0]
    param, message = _param(raw["loc"]), first.message.removeprefix("Value error, ")
    if raw["type"] == "extra_forbidden":
        return _told(400, f"unknown parameter: '{param}'; {first.remedy}", param, "unknown_parameter", None)
    if param is None and first.field != "body":  # told of the whole body, by the field's name
        param = first.field
    code = "unsupported_value" if "not supported" in message else None
    remedy = f"; {first.remedy}" if code is None or raw["type"] == "value_error" else ""
    return _told(400, f"{param or 'body'}: {message}{remedy}", param, code, None)


def _param(path: Sequence[Any]) -> str | None:
    """``messages[0].content``. Where a field may be of several types, the path goes on with the type's name."""
    found = ""
    for part in path[1:]:
        if isinstance(part, int):
            found += f"[{part}]"
        elif not _FIELD.fullmatch(part) or part in _TYPE_NAMES:
            break
        else:
            found += f".{part}" if found else part
    return found or None


def _told(
    status: int, message: str, param: str | None, code: str | None, headers: Mapping[str, str] | None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    detail = ErrorDetail(message=message, type=kind, param=param, code=code or _CODES.get(status))
    return status, ErrorOut(error=detail).model_dump(), dict(headers or {})


class OpenAIRoute(StrictRoute):
    """A route whose refusals have OpenAI's shape. Its requests change nothing, so the audit log leaves them out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors told in OpenAI's shape."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            leave_out()
            try:
                return await handle(request)
            except Exception as error:
                status, body, headers = document(error)
                return JSONResponse(body, status, headers)

        return answered
