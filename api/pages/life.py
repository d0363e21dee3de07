"""Renaming, tagging and deleting: the acts of ``api.life``, with a second step that says what goes with a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args
from urllib.parse import quote

from fastapi import APIRouter, Path
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from api.http.auth import Caller, Scope
from api.http.errors import Conflict, Forbidden, Invalid, invalid_below
from api.http.routing import Api, ApiDep
from api.life import LIVES, Life, change_row, delete_row
from api.pages.acts import Given
from api.pages.forms import Values
from api.pages.rendering import PageRoute, Viewer, is_live, page
from models.base import Base
from models.curation import tags_of
from models.deletion import dependents
from models.jobs import Estimate, InjectionJob
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.studies import Campaign, Study
from models.workspaces import LanguageModel, ProblemSet

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Where the pages of each kind of row stand.
TABLES: dict[str, type[Base]] = {
    "problem-sets": ProblemSet,
    "jobs": InjectionJob,
    "datasets": Dataset,
    "training": TrainingRun,
    "evaluations": Evaluation,
    "models": LanguageModel,
}
_LIVES: dict[str, Life] = {section: life for section, table in TABLES.items() for life in LIVES if life.table is table}
_SECTIONS = {table: section for section, table in TABLES.items()} | {Estimate: "estimates"}
_KINDS = {
    ProblemSet: "problem set",
    InjectionJob: "injection job",
    Dataset: "dataset",
    TrainingRun: "training run",
    Evaluation: "evaluation",
    LanguageModel: "model",
    Rejudging: "rejudging",
    Study: "study",
    Campaign: "campaign",
    Estimate: "estimate",
}
_GOES = {
    "problem-sets": "Its problems and the solutions that were brought along go with it.",
    "jobs": "Its samples, edits, pairs and reviews go with it.",
    "datasets": "Its files go with it.",
    "training": "Its metrics and checkpoints go with it.",
    "evaluations": "Its answers go with it.",
    "models": "Its weights go with it.",
}
_SEPARATOR = re.compile(r"[,\n]")
RowId = Annotated[str, Path(max_length=200)]


@dataclass(frozen=True, slots=True)
class Dependent:
    """A row that goes with another one. ``url``: its page, where it has one."""

    id: str
    kind: str
    title: str
    url: str | None
    live: bool


def scope_of(section: str) -> Scope:
    """The scope that changes rows of a section, as ``/v1`` asks for it."""
    scope: Scope = get_args(_LIVES[section].caller)[1].dependency.scope
    return scope


def may_change(section: str, row: Any, viewer: Caller) -> bool:
    """Whether a row is the viewer's to change: an operator's language model is not."""
    own = not isinstance(row, LanguageModel) or row.training_run_id is not None
    return own and row.workspace_id == viewer.workspace_id and viewer.may(scope_of(section))


def url_of(row: Any) -> str | None:
    """The page of a row; None for kinds without one."""
    section = _SECTIONS.get(type(row))
    return f"/{section}/{quote(row.name if section == 'models' else row.id, safe='')}" if section else None


def _told(row: Any) -> Dependent:
    name = getattr(row, "name", None) or getattr(row, "output_name", None) or row.id
    return Dependent(row.id, _KINDS[type(row)], name, url_of(row), is_live(getattr(row, "state", "succeeded")))


def _row(session: Session, section: str, row_id: str, viewer: Caller) -> Any:
    scope = scope_of(section)
    if not viewer.may(scope):
        raise Forbidden(f"this key lacks the scope '{scope}'; sign in with one made with it")
    return _LIVES[section].row(session, row_id, viewer.workspace_id, own=True)


def _edit_page(
    api: Api, viewer: Caller, section: str, row_id: str, given: Values, refused: Invalid | Conflict | None = None
) -> Response:
    with api.db.read() as session:
        row = _row(session, section, row_id, viewer)
        tags = ", ".join(tags_of(session, viewer.workspace_id, [row.id]).get(row.id, []))
        title = _told(row).title
    named = "name" in _LIVES[section].body.model_fields
    values = {"name": getattr(row, "name", None) or "", "tags": tags} | {name: given[name][0] for name in given}
    status = refused.status if refused else 200
    context = {"title": title, "named": named, "values": values, "url": url_of(row), "refused": refused}
    return page("edit.html", status, section=section, **context)


def _edit(api: Api, viewer: Caller, section: str, row_id: str, given: Values) -> Response:
    life = _LIVES[section]
    with api.db.read() as session:
        before = _row(session, section, row_id, viewer)
    sent: dict[str, Any] = {"tags": [tag for tag in _SEPARATOR.split(given.get("tags", [""])[0]) if tag.strip()]}
    name = given.get("name", [""])[0].strip()
    if name and "name" in life.body.model_fields and name != getattr(before, "name", None):
        sent["name"] = name
    try:
        with invalid_below():
            body = life.body.model_validate(sent)
        change_row(life, api, viewer, row_id, body)
    except (Invalid, Conflict) as error:
        return _edit_page(api, viewer, section, row_id, given, error)
    with api.db.read() as session:
        now: Any = session.get_one(life.table, before.id)
        return RedirectResponse(url_of(now) or "/", 303)


def _delete_page(api: Api, viewer: Caller, section: str, row_id: str, refused: Conflict | None = None) -> Response:
    with api.db.read() as session:
        row = _row(session, section, row_id, viewer)
        told = _told(row)
        others = [_told(other) for other in dependents(session, row)]
    running = [each for each in (told, *others) if each.live]
    context = {"told": told, "others": others, "running": running, "goes": _GOES[section], "refused": refused}
    return page("delete.html", refused.status if refused else 200, section=section, **context)


def _delete(api: Api, viewer: Caller, section: str, row_id: str, given: Values) -> Response:
    with api.db.read() as session:
        _row(session, section, row_id, viewer)
    if "sure" not in given:
        return RedirectResponse(f"/{section}/{quote(row_id, safe='')}/delete", 303)
    try:
        delete_row(_LIVES[section], api, viewer, row_id, cascade=True, listed=given.get("listed", []))
    except Conflict as error:
        return _delete_page(api, viewer, section, row_id, error)
    return RedirectResponse(f"/{section}", 303)


def _add(section: str) -> None:
    """The four routes of a section: separate paths, so that no other path of the application is shadowed."""

    def show_edit(api: ApiDep, viewer: Viewer, row_id: RowId) -> Response:
        return _edit_page(api, viewer, section, row_id, {})

    def edit(api: ApiDep, viewer: Viewer, row_id: RowId, given: Given) -> Response:
        return _edit(api, viewer, section, row_id, given)

    def show_delete(api: ApiDep, viewer: Viewer, row_id: RowId) -> Response:
        return _delete_page(api, viewer, section, row_id)

    def delete(api: ApiDep, viewer: Viewer, row_id: RowId, given: Given) -> Response:
        return _delete(api, viewer, section, row_id, given)

    for path, shown, done in (("edit", show_edit, edit), ("delete", show_delete, delete)):
        router.add_api_route(f"/{section}/{{row_id}}/{path}", shown, methods=["GET"])
        router.add_api_route(f"/{section}/{{row_id}}/{path}", done, methods=["POST"])


for _section in TABLES:
    _add(_section)
