"""The dashboard's routes. Every one reads in one short session and renders; the few words it writes are a cookie's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import authenticate
from api.http.errors import Unauthorized
from api.http.routing import ApiDep
from api.http.rows import path_row
from api.pages import overview, pairs
from api.pages.access import Viewer, remember
from api.pages.datasets import dataset_view
from api.pages.evaluations import evaluation_view
from api.pages.jobs import job_view, recent_events
from api.pages.rendering import PageRoute, page
from api.pages.training import training_view
from models.base import Base, db_now
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, TrainingRun

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Section = Literal["jobs", "datasets", "training", "evaluations"]
_SECTION_TITLES: dict[str, str] = {
    "jobs": "Injection jobs",
    "datasets": "Datasets",
    "training": "Training runs",
    "evaluations": "Evaluations",
}
_ID = Query(pattern=r"^[a-z]+_[0-9a-z]{1,40}$")
_NAME = Query(pattern=r"^[a-z][a-z0-9_-]{0,39}$")


def _filters(
    type: Annotated[str | None, _NAME] = None,
    kind: Annotated[str | None, _NAME] = None,
    evidence: Annotated[str | None, _NAME] = None,
) -> pairs.Filters:
    return pairs.Filters(type, kind, evidence)


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
                session, viewer.workspace_id, now, name, limit=overview.PAGE if name == "jobs" else 4
            )
            for name in overview.SECTIONS
        }
        job_ids = [row.id for row in listings["jobs"].rows]
        sample = pairs.newest_sample(session, job_ids)
    live = any(listing.live for listing in listings.values())
    return {
        "now": now,
        "listings": listings,
        "live": live,
        "sample": sample[1] if sample else None,
        "sample_job": sample[0] if sample else None,
        "fragment_url": "/fragments/overview",
    }


def _list(api: ApiDep, viewer: Viewer, section: Section, after: str | None) -> dict[str, Any]:
    with api.db.read() as session:
        now = _clock(session)
        listing = overview.listing(session, viewer.workspace_id, now, section, after, overview.LONG_PAGE)
    return {
        "now": now,
        "listing": listing,
        "live": listing.live,
        "section": section,
        "title": _SECTION_TITLES[section],
        "paged": after is not None,
        "fragment_url": f"/fragments/list/{section}" + (f"?after={after}" if after else ""),
    }


@router.get("/fragments/list/{section}")
def refresh_list(api: ApiDep, viewer: Viewer, section: Section, after: Annotated[str | None, _ID] = None) -> Response:
    """A list's content alone."""
    return page("fragments/list.html", **_list(api, viewer, section, after))


def _add_list(section: Section) -> None:
    """``/jobs`` and its like: separate paths, so that no other path of the application is shadowed."""

    def show_list(api: ApiDep, viewer: Viewer, after: Annotated[str | None, _ID] = None) -> Response:
        return page("live.html", fragment="fragments/list.html", **_list(api, viewer, section, after))

    router.add_api_route(f"/{section}", show_list, methods=["GET"])


def _add_detail(
    section: Section, table: type[Base], name: str, view_of: Callable[[Session, Any, datetime], Any]
) -> None:
    """``/jobs/{id}`` and its like, and the fragment that refreshes it."""
    fragment = f"fragments/{name}.html"

    def context(api: ApiDep, viewer: Viewer, row_id: str) -> dict[str, Any]:
        with api.db.read() as session:
            row: Any = path_row(session, table, row_id, viewer.workspace_id)
            now = _clock(session)
            view = view_of(session, row, now)
            events = recent_events(session, row.id)
        url = f"/fragments/{section}/{row_id}"
        return {"view": view, "now": now, "events": events, "section": section, "live": view.live, "fragment_url": url}

    def show(api: ApiDep, viewer: Viewer, row_id: str) -> Response:
        return page("live.html", fragment=fragment, **context(api, viewer, row_id))

    def refresh(api: ApiDep, viewer: Viewer, row_id: str) -> Response:
        return page(fragment, **context(api, viewer, row_id))

    router.add_api_route(f"/{section}/{{row_id}}", show, methods=["GET"])
    router.add_api_route(f"/fragments/{section}/{{row_id}}", refresh, methods=["GET"])


@router.get("/jobs/{job_id}/pairs")
def show_pairs(
    api: ApiDep, viewer: Viewer, job_id: str, filters: FiltersDep, after: Annotated[str | None, _ID] = None
) -> Response:
    """A page of a job's pairs."""
    with api.db.read() as session:
        job = path_row(session, InjectionJob, job_id, viewer.workspace_id)
        lines, next_after = pairs.page_of(session, job_id, filters, after)
        found = pairs.choices(session, job_id, filters)
    return page(
        "pairs.html",
        job_id=job_id,
        title=job.name or job.id,
        lines=lines,
        next_after=next_after,
        choices=found,
        filters=filters,
        section="jobs",
    )


@router.get("/pairs/{pair_id}")
def show_pair(api: ApiDep, viewer: Viewer, pair_id: str, filters: FiltersDep) -> Response:
    """One pair: the injected error in its solution, and its proof."""
    with api.db.read() as session:
        row = path_row(session, PairRow, pair_id, viewer.workspace_id)
        view = pairs.pair_view(session, row)
        place = pairs.place(session, row, filters)
    return page("pair.html", view=view, place=place, filters=filters, count_limit=pairs.COUNT_LIMIT, section="jobs")


@router.post("/sign-in")
def sign_in(request: Request, api: ApiDep, key: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Keep an API key for this browser. Only from our own form: another site must not sign a visitor in."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise HTTPException(403, "The form must be sent from this site's own page.")
    try:
        authenticate(request, api, HTTPAuthorizationCredentials(scheme="Bearer", credentials=key.strip()))
    except Unauthorized as error:
        return page("sign_in.html", 401, refused=str(error.detail))
    response = RedirectResponse("/", 303)
    remember(response, request, key.strip())
    return response


_add_detail("jobs", InjectionJob, "job", job_view)
_add_detail("datasets", Dataset, "dataset", dataset_view)
_add_detail("training", TrainingRun, "training", training_view)
_add_detail("evaluations", Evaluation, "evaluation", evaluation_view)
for _section in _SECTION_TITLES:
    _add_list(_section)  # type: ignore[arg-type]
