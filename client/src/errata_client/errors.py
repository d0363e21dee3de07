"""What the client raises.

ErrataError
  ServiceUnreachable          no answer: refused, timed out or cut off, after every retry
  ApiError                    the service refused; it carries the problem document
    InvalidRequest            400, 415, 416, 422
    AuthenticationError       401
    PermissionDenied          403
    NotFoundError             404
    ConflictError             409
    TooLarge                  413
    RateLimited               429
    ServerError               5xx
  JobFailed                   a job that was waited for ended without success
  WaitTimeout                 a job that was waited for took too long; it goes on
  DigestMismatch              a downloaded file is not what the dataset's manifest says
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx


@dataclass(frozen=True, slots=True)
class FieldError:
    """One offending field: its path, what is wrong, and what to do."""

    field: str
    message: str
    remedy: str


class ErrataError(Exception):
    """Base of all."""


class ServiceUnreachable(ErrataError):
    """No answer came."""


class ApiError(ErrataError):
    """A refusal. ``type`` is stable (``urn:errata:problem:...``); ``errors`` names the fields."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.type = str(document.get("type", "about:blank"))
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.errors = tuple(
            FieldError(str(e.get("field", "")), str(e.get("message", "")), str(e.get("remedy", "")))
            for e in document.get("errors") or []
        )
        remedies = "; ".join(f"{e.field}: {e.remedy}" for e in self.errors[:3])
        super().__init__(f"{status} {self.detail or self.title}" + (f" ({remedies})" if remedies else ""))


class InvalidRequest(ApiError):
    """The request can be corrected."""


class AuthenticationError(ApiError):
    """No key, or none that opens anything."""


class PermissionDenied(ApiError):
    """The key lacks a scope."""


class NotFoundError(ApiError):
    """No such resource in this workspace."""


class ConflictError(ApiError):
    """The resource is not in a state that allows this."""


class TooLarge(ApiError):
    """The body exceeds the service's limit."""


class RateLimited(ApiError):
    """Too many requests, even after waiting as told."""


class ServerError(ApiError):
    """An error of the service, or it cannot reach its database."""


class JobFailed(ErrataError):
    """``job`` is the resource as it ended: failed or cancelled."""

    def __init__(self, job: Any) -> None:
        self.job = job
        super().__init__(f"{job.id} {job.state}" + (f": {job.error}" if job.error else ""))


class WaitTimeout(ErrataError):
    """``job`` is the resource as last seen."""

    def __init__(self, job: Any, seconds: float) -> None:
        self.job = job
        super().__init__(f"{job.id} is still {job.state} after {seconds:g} s")


class DigestMismatch(ErrataError):
    """The file was removed again."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFoundError,
    409: ConflictError,
    413: TooLarge,
    429: RateLimited,
}


def from_response(response: httpx.Response) -> ApiError:
    """The error of a response whose body has been read; a body that is no problem document is told as text."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": response.text[:200].strip() or response.reason_phrase}
    kind = ServerError if response.status_code >= 500 else _BY_STATUS.get(response.status_code, InvalidRequest)
    return kind(response.status_code, document)
