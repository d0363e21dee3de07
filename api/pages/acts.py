"""The pages' forms: what they start, the settings that it resolves to, the same request for a shell.

Each act goes through the same functions and checks as ``/v1``. It is a POST from this site's own page, with the cookie
that other sites cannot send; a browser that names another origin is refused.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from api.http.audit import leave_out
from api.http.auth import Caller
from api.http.errors import Conflict, Forbidden, Invalid, TooManyRequests
from api.http.idempotency import Idempotency, once
from api.http.routing import Api, ApiDep
from api.pages import preview
from api.pages.format import flat
from api.pages.forms import FORMS, Form, Values, body_of, checked, with_values
from api.pages.rendering import PageRoute, Viewer, check_origin, page
from api.pages.shell import curl_post
from api.quotas import admit_job
from models.outputs import TrainingRun
from workers.dispatch import Hint

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_TOKEN = "token"


async def given_values(request: Request) -> Values:
    """What a form was sent with. Raises HTTPException for a form of another site's."""
    check_origin(request)
    form = await request.form()
    values: Values = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            values.setdefault(name, []).append(value)
    return values


Given = Annotated[Values, Depends(given_values)]


@router.get("/new/{name}")
def show_form(request: Request, api: ApiDep, viewer: Viewer, name: str) -> Response:
    """A form, with what the address gives for its fields."""
    values: Values = {}
    for key, value in request.query_params.multi_items():
        values.setdefault(key, []).append(value)
    return _form_page(request, api, viewer, _form(name, viewer), name, values)


@router.post("/new/{name}")
def send_form(request: Request, api: ApiDep, viewer: Viewer, name: str, given: Given) -> Response:
    """Start what the form says, or show the request it would send. What is refused comes back with the reason."""
    form = _form(given.get("act", [name])[0], viewer)
    asked = [what for what in ("check", "preview") if what in given]
    if asked:
        leave_out()  # nothing is started or stored
        return _form_page(request, api, viewer, FORMS[name], name, given, shows=asked[0])
    try:
        row_id = _start(api, viewer, form, given)
    except (Invalid, Conflict, TooManyRequests) as error:
        return _form_page(request, api, viewer, FORMS[name], name, given, refused=error)
    return RedirectResponse(f"{form.goes_to}/{row_id}", 303)


def _form(name: str, viewer: Caller) -> Form:
    form = FORMS.get(name)
    if form is None:
        raise HTTPException(404, "There is no such page.")
    if not viewer.may(form.scope):
        raise Forbidden(f"this key lacks the scope '{form.scope}'; sign in with one made with it")
    return form


def _start(api: Api, viewer: Caller, form: Form, given: Values) -> str:
    hints: list[Hint] = []
    with api.db.begin() as session:
        fields = with_values(form.fields(session, viewer.workspace_id), given)
        sent = body_of(fields)
        body = checked(form, sent)

        def make() -> str:
            admit_job(session, viewer.workspace_id, form.table)
            row, planned = form.create(session, viewer.workspace_id, body)
            hints.extend(planned)
            return str(row.id)

        who = Idempotency(given.get(_TOKEN, [""])[0][:64] or None, f"POST {form.goes_to}")
        row_id, _ = once(session, api, who, viewer.workspace_id, body.model_dump(mode="json"), make)
    api.dispatcher.send(hints)
    return row_id


def _form_page(
    request: Request,
    api: Api,
    viewer: Caller,
    form: Form,
    name: str,
    values: Values,
    *,
    shows: str = "",
    refused: Invalid | Conflict | TooManyRequests | None = None,
) -> Response:
    """The form with ``values``; ``shows``: "check" for settings and request, "preview" for what would be trained on."""
    shown: dict[str, Any] = {"curl": None, "settings": [], "preview": None}
    with api.db.read() as session:
        fields = with_values(form.fields(session, viewer.workspace_id), values)
    try:
        if shows == "check":
            sent = body_of(fields)
            shown |= {
                "curl": curl_post(str(request.base_url), form.url, sent),
                "settings": _resolved(api, viewer, form, sent),
            }
        elif shows == "preview" and form.table is TrainingRun:
            shown["preview"] = preview.preview_view(api, viewer.workspace_id, body_of(fields))
    except (Invalid, Conflict, TooManyRequests) as error:
        refused = error
    errors = {each.field: each for each in (refused.errors or [])} if refused else {}
    return page(
        "form.html",
        200 if refused is None else refused.status,
        form=form,
        name=name,
        fields=fields,
        token=uuid.uuid4().hex,
        refused=str(refused.detail) if refused else None,
        errors=errors,
        section=name,
        previews=form.table is TrainingRun,
        **shown,
    )


class _OnlyChecked(Exception):
    """Ends a transaction that was only to find out whether it would do."""


def _resolved(api: Api, viewer: Caller, form: Form, sent: dict[str, Any]) -> list[tuple[str, str]]:
    """The complete settings that the body stands for: it is created and rolled back. Raises Invalid and Conflict."""
    body = checked(form, sent)
    settings: list[tuple[str, str]] = []
    try:
        with api.db.begin() as session:
            row, _ = form.create(session, viewer.workspace_id, body)
            settings += flat(getattr(row, "config", None) or {})
            raise _OnlyChecked
    except _OnlyChecked:
        return settings
