"""What goes wrong over HTTP, as RFC 9457 problem documents.

    ApiError                      one base: the status and the stable ``type`` stand on the class
      BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, RequestTimeout 408, Conflict 409,
      PreconditionFailed 412, TooLarge 413, UnsupportedMediaType 415, RangeNotSatisfiable 416, Invalid 422,
      TooManyRequests 429, Unavailable 503

A document names every offending field and what to do about it; it never repeats the offending value, and a 5xx tells
nothing of the inside. ``Invalid`` is the answer to a request that can be read but not accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from itertools import islice
from typing import Any, ClassVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException as StarletteHTTPException

from api.http import openai_errors
from api.http.openai_errors import OpenAIError
from models.logs import DATABASE

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_LISTED = 100  # errors that one document lists; how many there are stands in its detail


class FieldError(BaseModel):
    """One offending field: its path (``config.sampling.samples``), what is wrong, and what to do."""

    field: str
    message: str
    remedy: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(description="Stable; tells the kinds of problem apart.", examples=["urn:errata:problem:invalid"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    errors: list[FieldError] = Field([], description=f"The first {MOST_LISTED} of them.")
    error: OpenAIError | None = Field(None, description="The same for clients of OpenAI: on their routes alone.")


class ApiError(HTTPException):
    """Base of every refusal. Raised in the API only; rooms below know no HTTP."""

    status: ClassVar[int]
    slug: ClassVar[str]

    def __init_subclass__(cls, *, status: int = 0, slug: str = "") -> None:
        cls.status, cls.slug = status or cls.status, slug or cls.slug

    def __init__(
        self, detail: str, errors: Iterable[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(self.status, detail, dict(headers or {}))
        self.errors = list(islice(errors, MOST_LISTED))


class BadRequest(ApiError, status=400, slug="bad-request"):
    """The body cannot be read at all."""


class Unauthorized(ApiError, status=401, slug="unauthorized"):
    """No key, or one that does not open anything."""


class Forbidden(ApiError, status=403, slug="forbidden"):
    """The key lacks the scope."""


class NotFound(ApiError, status=404, slug="not-found"):
    """No such row in this workspace."""


class RequestTimeout(ApiError, status=408, slug="request-timeout"):
    """The body did not come in in time."""


class Conflict(ApiError, status=409, slug="conflict"):
    """The row is not in a state that allows this."""


class PreconditionFailed(ApiError, status=412, slug="precondition-failed"):
    """The row or file is not the one that the request's condition names."""


class TooLarge(ApiError, status=413, slug="too-large"):
    """The body exceeds the limit."""


class UnsupportedMediaType(ApiError, status=415, slug="unsupported-media-type"):
    """The body's content type is none of those accepted here."""


class RangeNotSatisfiable(ApiError, status=416, slug="range-not-satisfiable"):
    """The range lies outside the file."""


class Invalid(ApiError, status=422, slug="invalid"):
    """The request can be read but not accepted."""

    @classmethod
    def field(cls, field: str, message: str, remedy: str) -> Invalid:
        """A refusal because of one field."""
        return cls(f"{field}: {message}", [FieldError(field=field, message=message, remedy=remedy)])


class TooManyRequests(ApiError, status=429, slug="too-many-requests"):
    """As much of this as may run at once is running; ``Retry-After`` says when to ask again."""


class Unavailable(ApiError, status=503, slug="unavailable"):
    """The database cannot be reached, or no place is free, just now."""


_SLUGS = {cls.status: cls.slug for cls in ApiError.__subclasses__()} | {405: "method-not-allowed"}
_REMEDIES = {
    "missing": "give this field",
    "extra_forbidden": "remove this field; see /openapi.json for those that exist",
    "string_type": "give a string",
    "string_unicode": "give valid Unicode",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "float_parsing": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "list_type": "give a list",
    "too_short": "give more items",
    "too_long": "give fewer items",
    "string_too_short": "give a longer text",
    "string_too_long": "give a shorter text",
    "dict_type": "give an object",
    "model_type": "give an object",
    "model_attributes_type": "give a JSON object with Content-Type: application/json",
}


def response(request: Request, status: int, detail: str, **more: Any) -> JSONResponse:
    """A problem document as a response; ``more`` may hold ``errors`` and ``headers``."""
    slug = more.get("slug") or _SLUGS.get(status, "internal" if status >= 500 else "bad-request")
    found: Sequence[FieldError] = more.get("errors", [])
    status = openai_errors.status_of(request.url.path, status, more.get("headers"))
    first = (found[0].field, found[0].message, found[0].remedy) if found else None
    document = Problem(
        type=f"urn:errata:problem:{slug}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path.encode("utf-8", "replace").decode(),
        errors=list(found),
        error=openai_errors.error_of(request.url.path, status, detail, slug, first),
    )
    left_out = None if document.error else {"error"}
    return JSONResponse(document.model_dump(exclude=left_out), status, more.get("headers"), media_type=MEDIA_TYPE)


def field_errors(errors: Iterable[Mapping[str, Any]], prefix: Sequence[str] = ()) -> list[FieldError]:
    """Pydantic's errors as ours: dotted paths, a remedy each, never the offending value."""
    found = []
    for error in errors:
        path = [str(part) for part in error["loc"]]
        if path and path[0] in ("body", "query", "path", "header"):
            path = path[1:]
        message, remedy = error["msg"], _REMEDIES.get(error["type"])
        if error["type"] == "value_error":
            more, message, remedy = _told(message.removeprefix("Value error, "), error.get("input"))
            path += more
        elif remedy is None:
            context = error.get("ctx", {})
            remedy = f"give one of {context['expected']}" if "expected" in context else _expected(message)
        found.append(FieldError(field=".".join([*prefix, *path]) or "body", message=message, remedy=remedy))
    return found


def _expected(message: str) -> str:
    """What to give, of a message of pydantic's that says what there should be."""
    wanted = message.partition("Input should be ")[2]
    return f"give a value that is {wanted}" if wanted else "correct the value"


def _told(message: str, value: Any) -> tuple[list[str], str, str]:
    """Of a message of our own validators: the fields it begins with, what it says, and the remedy it ends with.

    ``quotas: none is left; raise one`` of an object with that field is about this field.
    """
    name, colon, rest = message.partition(": ")
    inner = bool(colon) and isinstance(value, Mapping) and name.split(".")[0] in value
    said, _, remedy = (rest if inner else message).rpartition("; ")
    return (name.split(".") if inner else []), said or remedy, remedy if said else "correct the value"


@contextmanager
def invalid_below(*prefix: str) -> Iterator[None]:
    """Pydantic's errors of a document validated inside, as a refusal whose fields lie below ``prefix``."""
    try:
        yield
    except ValidationError as error:
        raise invalid(error.errors(), prefix) from None


def invalid(errors: Iterable[Mapping[str, Any]], prefix: Sequence[str] = ()) -> Invalid:
    """Pydantic's errors of a nested document as a refusal."""
    found = field_errors(errors, prefix)
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return Invalid("; ".join(f"{e.field}: {e.message}" for e in found[:3]) + more, found)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the refusals an operation may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _is_browser(request: Request) -> bool:
    """Whether somebody looks for a page: programs ask below /v1, or do not ask for HTML."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def install(app: FastAPI, page: Callable[[int, str], Response]) -> None:
    """Answer every error with a problem document. ``page``: what a browser is shown where no address is."""

    @app.exception_handler(StarletteHTTPException)
    def _refused(request: Request, error: StarletteHTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND and _is_browser(request):
            return page(error.status_code, "There is no such page.")
        errors = error.errors if isinstance(error, ApiError) else []
        slug = error.slug if isinstance(error, ApiError) else None
        return response(request, error.status_code, str(error.detail), errors=errors, slug=slug, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        refusal = invalid(error.errors())
        return response(request, refusal.status, refusal.detail, errors=refusal.errors)

    @app.exception_handler(DataError)
    def _unstorable(request: Request, error: DataError) -> JSONResponse:
        log.warning("value refused by the database at %s: %s", request.url.path, error.orig)
        return response(request, 422, "a value is outside what can be stored; give smaller numbers or shorter text")

    @app.exception_handler(IntegrityError)
    def _collided(request: Request, error: IntegrityError) -> JSONResponse:
        # What is looked up before is refused in its own words: this is left to two requests at the same moment.
        log.warning("a change collided with another at %s: %s", request.url.path, type(error.orig).__name__)
        told = "it collides with what another request changed at the same moment; look again, then repeat it"
        return response(request, 409, told)

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    def _unavailable(request: Request, error: Exception) -> JSONResponse:
        DATABASE.away(log, error)
        return response(
            request, 503, "the database cannot be reached just now; try again", headers={"Retry-After": "5"}
        )

    @app.exception_handler(Exception)
    def _failed(request: Request, _error: Exception) -> JSONResponse:
        return response(request, 500, "an error of ours; it has been logged")
