"""Studies and campaigns: both lists on one page, a study's table, and a campaign's rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.routing import ApiDep
from api.http.rows import path_row
from api.pages.format import flat
from api.pages.rendering import PageRoute, Viewer, is_live, page
from api.studies.parts import Parts
from models.base import db_now
from models.outputs import Dataset, Event, TrainingRun
from models.states import TERMINAL
from models.studies import Campaign, Study

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_LISTED, _EVENTS = 50, 20
_SECTIONS = {"inj": "jobs", "ds": "datasets", "train": "training", "eval": "evaluations"}


@dataclass(frozen=True, slots=True)
class PartLink:
    """A job that was started: where its page is, and what it is doing."""

    id: str
    url: str
    title: str
    state: str


@router.get("/studies")
def show_studies(api: ApiDep, viewer: Viewer) -> Response:
    """The newest studies and campaigns."""
    with api.db.read() as session:
        found: dict[str, Any] = {}
        for name, table in (("studies", Study), ("campaigns", Campaign)):
            mine = select(table).where(table.workspace_id == viewer.workspace_id)
            found[name] = session.scalars(mine.order_by(table.created_at.desc()).limit(_LISTED)).all()
        now = session.scalars(select(db_now())).one()
    return page("studies.html", section="studies", now=now, **found)


@router.get("/studies/{study_id}")
def show_study(api: ApiDep, viewer: Viewer, study_id: str) -> Response:
    """A study's table and its parts."""
    return page("live.html", fragment="fragments/study.html", **_context(api, viewer, Study, study_id))


@router.get("/fragments/studies/{study_id}")
def refresh_study(api: ApiDep, viewer: Viewer, study_id: str) -> Response:
    """The changing part alone."""
    return page("fragments/study.html", **_context(api, viewer, Study, study_id))


@router.get("/campaigns/{campaign_id}")
def show_campaign(api: ApiDep, viewer: Viewer, campaign_id: str) -> Response:
    """A campaign's rounds and its parts."""
    return page("live.html", fragment="fragments/campaign.html", **_context(api, viewer, Campaign, campaign_id))


@router.get("/fragments/campaigns/{campaign_id}")
def refresh_campaign(api: ApiDep, viewer: Viewer, campaign_id: str) -> Response:
    """The changing part alone."""
    return page("fragments/campaign.html", **_context(api, viewer, Campaign, campaign_id))


def _context(api: ApiDep, viewer: Viewer, table: Any, row_id: str) -> dict[str, Any]:
    with api.db.read() as session:
        row: Any = path_row(session, table, row_id, viewer.workspace_id)
        events = select(Event).where(Event.subject_id == row.id).order_by(Event.id.desc()).limit(_EVENTS)
        parts = _parts(session, row)
        return {
            "row": row,
            "heading": row.name or row.id,
            "section": "studies",
            "now": session.scalars(select(db_now())).one(),
            "live": is_live(row.state),
            "parts": parts,
            "ended": sum(part.state in TERMINAL for part in parts),
            "events": session.scalars(events).all(),
            "settings": flat(row.config),
            "result": row.result or {},
            "fragment_url": f"/fragments/{table.__tablename__}/{row.id}",
        }


def _parts(session: Session, row: Study | Campaign) -> list[PartLink]:
    found = sorted(Parts(session, row, concurrency=1).rows(), key=lambda each: (each.created_at, each.id))
    return [
        PartLink(each.id, f"/{_SECTIONS[each.id.partition('_')[0]]}/{each.id}", _title(each), each.state)
        for each in found
    ]


def _title(row: Any) -> str:
    if isinstance(row, TrainingRun):
        return f"training {row.output_name}"
    return f"dataset {row.name}" if isinstance(row, Dataset) else row.__tablename__.removesuffix("s").replace("_", " ")
