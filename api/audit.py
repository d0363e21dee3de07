"""``GET /v1/audit-log``: who changed what in the caller's workspace, newest first, for scope ``admin``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy import Select, select

from api.http.auth import Admin
from api.http.errors import Invalid, documented
from api.http.routing import ApiDep, StrictRoute
from api.http.rows import Listing, PageDep, paginate
from api.schemas import RowAnswer, Storable
from models.access import AuditEntry

router = APIRouter(prefix="/v1", tags=["audit log"], route_class=StrictRoute, responses=documented(401, 403, 422, 503))
Outcome = Literal["done", "refused", "failed"]
Text = Annotated[str, Query(max_length=300), Storable]
_REFUSED_FROM, _FAILED_FROM = 400, 500


class AuditEntryOut(RowAnswer):
    """One changing request. Bodies and secrets are not kept."""

    id: str
    object: Literal["audit_entry"] = "audit_entry"
    created_at: datetime
    actor: str = Field(description="A key's id, `oidc:SUBJECT`, `anonymous` (keyless) or `operator` (command line).")
    actor_name: str | None
    method: str
    route: str = Field(description="As the API describes it, without ids.")
    object_id: str | None = Field(description="The row that the request named or made.")
    status: int
    outcome: Outcome
    address: str | None = Field(description="Behind a proxy that is trusted: the client's, as the proxy tells it.")
    request_id: str | None = Field(description="`X-Request-ID` of the answer, and `request` of the log's lines.")


@dataclass(frozen=True)
class AuditFilters:
    """Which entries are wanted."""

    actor: str | None = None
    object_id: str | None = None
    route: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None

    def apply(self, query: Select[Any]) -> Select[Any]:
        """``query`` with these conditions."""
        for column in ("actor", "object_id", "route"):
            if (value := getattr(self, column)) is not None:
                query = query.where(getattr(AuditEntry, column) == value)
        if self.outcome is not None:
            first, after = {"done": (0, 400), "refused": (400, 500), "failed": (500, 1000)}[self.outcome]
            query = query.where(AuditEntry.status >= first, AuditEntry.status < after)
        if self.since is not None:
            query = query.where(AuditEntry.created_at >= _utc("since", self.since))
        return query if self.until is None else query.where(AuditEntry.created_at < _utc("until", self.until))


def audit_filters(
    actor: Text | None = None,
    object_id: Text | None = None,
    route: Text | None = None,
    outcome: Outcome | None = None,
    since: Annotated[datetime | None, Query(description="From this time on; without a zone it is UTC.")] = None,
    until: Annotated[datetime | None, Query(description="Before this time.")] = None,
) -> AuditFilters:
    """The query parameters of the list."""
    return AuditFilters(actor, object_id, route, outcome, since, until)


FiltersDep = Annotated[AuditFilters, Depends(audit_filters)]


def outcome_of(status: int) -> Outcome:
    """What became of a request that was answered with this status."""
    if status >= _FAILED_FROM:
        return "failed"
    return "refused" if status >= _REFUSED_FROM else "done"


def entries(workspace_id: str, filters: AuditFilters) -> Select[Any]:
    """The entries of a workspace that the filters let through."""
    return filters.apply(select(AuditEntry).where(AuditEntry.workspace_id == workspace_id))


@router.get("/audit-log")
def list_audit_log(caller: Admin, api: ApiDep, page: PageDep, filters: FiltersDep) -> Listing[AuditEntryOut]:
    """Every changing request of the workspace, newest first: who, what, when, from where, and what became of it."""
    with api.db.read() as session:
        query = entries(caller.workspace_id, filters)
        found = paginate(session, query, (AuditEntry.created_at, AuditEntry.id), page, descending=True)
    return found.listing(lambda row: AuditEntryOut.of(row, outcome=outcome_of(row.status)))


def _utc(name: str, time: datetime) -> datetime:
    try:
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
    except OverflowError:
        raise Invalid.field(name, "outside of the calendar", "give a time such as 2026-01-31T12:00:00Z") from None
