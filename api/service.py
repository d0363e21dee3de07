"""What is about the service itself: presets, health and readiness."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import exists, select

from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import ApiDep, StrictRoute
from api.http.rows import Listing
from errata.config import PRESETS, InjectionConfig, resolve
from models.workspaces import Workspace

router = APIRouter(tags=["service"], route_class=StrictRoute)


class PresetOut(BaseModel):
    """A preset as the complete configuration it stands for."""

    object: Literal["preset"] = "preset"
    name: str
    config: InjectionConfig


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


@router.get("/v1/presets", responses=documented(401, 403, 422))
def list_presets(caller: Reader) -> Listing[PresetOut]:  # noqa: ARG001 - the caller must be allowed to read
    """Every preset of injection jobs, resolved."""
    return Listing.whole([PresetOut(name=name, config=resolve(name)) for name in PRESETS])


@router.get("/healthz", responses=documented(422))
def healthz() -> Health:
    """Alive: the process answers. Looks at nothing else."""
    return Health()


@router.get("/readyz", responses=documented(422, 503))
def readyz(api: ApiDep) -> Health:
    """Ready: the database answers and has its tables. The broker may be down: jobs are accepted all the same."""
    with api.db.read() as session:
        session.scalar(select(exists(select(Workspace.id))))
    return Health()
