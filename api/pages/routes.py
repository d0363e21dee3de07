"""The dashboard's routes. Each reads in one short session and renders; what changes something stands in
``api.pages.acts``.

A page that changes while it is looked at has a fragment: its changing part alone, which the script puts in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.datasets import read_dataset_file, send_dataset_file
from api.http.errors import Invalid
from api.http.routing import ApiDep
from api.http.rows import path_row
from api.pages import (
    access,
    acts,
    ask,
    checkpoints,
    comparison,
    contents,
    downloads,
    inputs,
    life,
    overview,
    pair_parts,
    pairs,
    preferences,
    sessions,
    studies,
    verbs,
    webhooks,
)
from api.pages.dataset import CARD, card_html, dataset_context
from api.pages.evaluation import evaluation_context
from api.pages.format import flat
from api.pages.forms import FORMS
from api.pages.inputs import TagQuery
from api.pages.jobs import job_context
from api.pages.overview import SECTIONS, SectionName
from api.pages.pair import pair_context
from api.pages.rendering import PageRoute, Viewer, is_live, page, viewer
from api.pages.training import training_context
from models.base import db_now
from models.curation import tags_of
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, Event

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_NAME = Query(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]  # a cursor of api.pagination
_FEW = 4  # rows of a section on the overview, but for jobs
_EVENTS = 20


def _filters(
    type: Annotated[str | None, _NAME] = None,
    kind: Annotated[str | None, _NAME] = None,
    editor: Annotated[str | None, _NAME] = None,
    evidence: Annotated[str | None, _NAME] = None,
    review: Annotated[str | None, _NAME] = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
) -> pairs.Filters:
    if review is not None and review not in pairs.REVIEWS:
        raise Invalid("there is no such review")
    return pairs.Filters(type, kind, editor, evidence, review, (q or "").strip() or None)


FiltersDep = Annotated[pairs.Filters, Depends(_filters)]


def _clock(session: Session) -> datetime:
    """The database's clock: no page shows a time by another one."""
    return session.scalars(select(db_now())).one()


@router.get("/")
def show_overview(api: ApiDep, viewer: Viewer) -> Response:
    """Everything of the workspace at a glance."""
    return page("live.html", fragment="fragments/overview.html", **_overview(api, viewer))


@router.get("/fragments/overview")
def refresh_overview(api: ApiDep, viewer: Viewer) -> Response:
    """The overview's content alone."""
    return page("fragments/overview.html", **_overview(api, viewer))


def _overview(api: ApiDep, viewer: Viewer) -> dict[str, Any]:
    with api.db.read() as session:
        now = _clock(session)
        listings = {
            name: overview.listing(
                session, viewer.workspace_id, now, name, limit=overview.PAGE if name == "jobs" else _FEW
            )
            for name in SECTIONS
        }
        example = pairs.sound_step_pair(session, [entry.row.id for entry in listings["jobs"].entries])
    live = any(listing.live for listing in listings.values())
    may_start = {name: viewer.may(FORMS[name].scope) for name in SECTIONS}
    return {
        "may_start": may_start,
        "now": now,
        "listings": listings,
        "live": live,
        "example": example,
        "fragment_url": "/fragments/overview",
    }


@router.get("/fragments/list/{section}")
def refresh_list(
    api: ApiDep, viewer: Viewer, section: SectionName, after: After = None, tag: TagQuery = None
) -> Response:
    """A list's content alone."""
    return page("fragments/list.html", **_list(api, viewer, section, after, tag))


def _list(api: ApiDep, viewer: Viewer, section: SectionName, after: str | None, tag: str | None) -> dict[str, Any]:
    with api.db.read() as session:
        now = _clock(session)
        listing = overview.listing(session, viewer.workspace_id, now, section, after, overview.LONG_PAGE, tag)
    query = urlencode({name: value for name, value in (("tag", tag), ("after", after)) if value})
    return {
        "now": now,
        "listing": listing,
        "live": listing.live,
        "section": section,
        "may_start": viewer.may(FORMS[section].scope),
        "title": SECTIONS[section].title,
        "tab": SECTIONS[section].title,
        "paged": after is not None,
        "tag": tag,
        "may_write": viewer.may("write"),
        "fragment_url": f"/fragments/list/{section}" + (f"?{query}" if query else ""),
    }


def _add_list(section: SectionName) -> None:
    """``/jobs`` and its like: separate paths, so that no other path of the application is shadowed."""

    def show_list(api: ApiDep, viewer: Viewer, after: After = None, tag: TagQuery = None) -> Response:
        return page("live.html", fragment="fragments/list.html", **_list(api, viewer, section, after, tag))

    router.add_api_route(f"/{section}", show_list, methods=["GET"])


def _add_detail(section: SectionName, name: str, context_of: Callable[[Session, Any], dict[str, Any]]) -> None:
    """``/jobs/{id}`` and its like, and the fragment that refreshes it."""
    fragment = f"fragments/{name}.html"
    table = SECTIONS[section].table

    def context(api: ApiDep, viewer: Viewer, row_id: str) -> dict[str, Any]:
        with api.db.read() as session:
            row: Any = path_row(session, table, row_id, viewer.workspace_id)
            now = _clock(session)
            events = select(Event).where(Event.subject_id == row.id).order_by(Event.id.desc())
            return context_of(session, row) | {
                "row": row,
                "tab": getattr(row, "name", None) or getattr(row, "output_name", None) or row.id,
                "now": now,
                "time": overview.timings(session, table, [row], now)[row.id],
                "settings": flat(row.config),
                "events": session.scalars(events.limit(_EVENTS)).all(),
                "section": section,
                "live": is_live(row.state),
                "fragment_url": f"/fragments/{section}/{row_id}",
                "acts": verbs.of_row(session, section, row, viewer),
                "tags": tags_of(session, viewer.workspace_id, [row.id]).get(row.id, []),
            }

    def show(api: ApiDep, viewer: Viewer, row_id: str) -> Response:
        return page("live.html", fragment=fragment, **context(api, viewer, row_id))

    def refresh(api: ApiDep, viewer: Viewer, row_id: str) -> Response:
        return page(fragment, **context(api, viewer, row_id))

    router.add_api_route(f"/{section}/{{row_id}}", show, methods=["GET"])
    router.add_api_route(f"/fragments/{section}/{{row_id}}", refresh, methods=["GET"])


@router.get("/datasets/{dataset_id}/files/{path:path}")
def send_file(request: Request, api: ApiDep, viewer: Viewer, dataset_id: str, path: str) -> Response:
    """A file of a dataset, for a browser that signed in: ``/v1`` takes no cookie."""
    return send_dataset_file(request, api, viewer.workspace_id, dataset_id, path)


@router.get("/docs", dependencies=[Depends(viewer)])
def show_reference() -> Response:
    """The API reference, drawn from /openapi.json in the browser."""
    return page("reference.html", section="docs")


@router.get("/datasets/{dataset_id}/card")
def show_card(api: ApiDep, viewer: Viewer, dataset_id: str) -> Response:
    """A dataset's card, rendered."""
    with api.db.read() as session:
        row = path_row(session, Dataset, dataset_id, viewer.workspace_id)
    text = read_dataset_file(api, viewer.workspace_id, dataset_id, CARD).decode("utf-8", "replace")
    return page("card.html", row=row, card=card_html(text), section="datasets")


@router.get("/jobs/{job_id}/pairs")
def show_pairs(api: ApiDep, viewer: Viewer, job_id: str, filters: FiltersDep, after: After = None) -> Response:
    """A page of a job's pairs."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, viewer.workspace_id)
        shown, next_after = pairs.page_of(session, job_id, filters, after)
        choices = pairs.choices(session, job_id, filters)
    context: dict[str, Any] = {"pairs": shown, "next_after": next_after, "choices": choices, "filters": filters}
    context["searched"] = pairs.SEARCHED
    return page("pairs.html", job_id=job_id, title=job.name or job.id, section="jobs", **context)


@router.get("/pairs/{pair_id}")
def show_pair(api: ApiDep, viewer: Viewer, pair_id: str, filters: FiltersDep) -> Response:
    """One pair: the injected error in its solution, and its proof."""
    with api.db.read() as session:
        row = path_row(session, PairRow, pair_id, viewer.workspace_id)
        context = pair_context(session, row) | {"position": pairs.position(session, row, filters), "filters": filters}
    may_write = viewer.may("write")
    return page("pair.html", count_limit=pairs.COUNT_LIMIT, section="jobs", may_write=may_write, **context)


_MORE = (
    *(
        acts,
        ask,
        verbs,
        life,
        inputs,
        preferences,
        downloads,
        checkpoints,
    ),  # before what takes any word as a path's end
    *(contents, comparison, studies, pair_parts, access, webhooks, sessions),
)
for _router in (module.router for module in _MORE):
    router.include_router(_router)
_add_detail("jobs", "job", job_context)
_add_detail("datasets", "dataset", dataset_context)
_add_detail("training", "training", training_context)
_add_detail("evaluations", "evaluation", evaluation_context)
for _section in SECTIONS:
    _add_list(_section)
