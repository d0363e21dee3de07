"""Importing a preference file: the form, and what became of its rows on the dataset's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from api.http.auth import Caller
from api.http.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from api.http.idempotency import Idempotency
from api.http.routing import ApiDep
from api.http.uploads import UploadDep
from api.imports.routes import take_preferences
from api.pages.rendering import PageRoute, Viewer, check_origin, page
from api.pages.shell import curl_upload
from errata.imports.config import FormatName

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_FIELDS = ("name", "format", "mapping", "license", "source_url", "config", "on_bad_row")
_REFUSALS = (BadRequest, Conflict, Invalid, TooLarge, TooManyRequests, UnsupportedMediaType)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of an imported file that were not taken for one reason; ``lines`` are the first of them, from 1."""

    reason: str
    count: int
    lines: str


def left_out(imported: Mapping[str, Any]) -> list[LeftOut]:
    """What was not taken of an imported file, by reason."""
    return [
        LeftOut(str(each["reason"]), each["count"], ", ".join(str(line) for line in each["lines"]))
        for each in imported.get("rejected") or ()
    ]


def _form(request: Request, given: Mapping[str, str], refused: ApiError | None = None) -> Response:
    status = refused.status if refused else 200
    formats = get_args(FormatName)
    curl = curl_upload(str(request.base_url), "/v1/datasets/import", {"name": given.get("name") or "NAME"})
    return page("import.html", status, section="datasets", refused=refused, given=given, formats=formats, curl=curl)


def _may_write(viewer: Caller) -> None:
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")


@router.get("/import")
def show_import(request: Request, viewer: Viewer) -> Response:
    """The form that takes a preference file."""
    _may_write(viewer)
    return _form(request, {})


@router.post("/import")
def send_import(request: Request, api: ApiDep, viewer: Viewer, upload: UploadDep) -> Response:
    """Take a preference file, and show its dataset; what is refused comes back with the reason."""
    check_origin(request)
    _may_write(viewer)
    given = {name: upload.fields[name] for name in _FIELDS if upload.fields.get(name, "").strip()}
    told: dict[str, Any] = {"name": upload.name.partition(".")[0][:200] or "preferences", **given}
    told["file_name"] = upload.name or None
    try:
        row_id, *_ = take_preferences(api, Idempotency(None, "POST /import"), viewer.workspace_id, upload, told)
    except _REFUSALS as error:
        return _form(request, given, error)
    return RedirectResponse(f"/datasets/{row_id}", 303)
