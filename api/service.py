"""What is about the service itself: presets, health and readiness."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.http.auth import Reader
from api.http.errors import FieldError, Unavailable, documented
from api.http.routing import StrictRoute
from api.http.rows import Listing
from errata.config import PRESETS, InjectionConfig, resolve
from models.health import Health as PartsOfService
from models.health import overall, unreachable
from models.session import passing

router = APIRouter(tags=["service"], route_class=StrictRoute)


class PresetOut(BaseModel):
    """A preset as the complete configuration it stands for."""

    object: Literal["preset"] = "preset"
    name: str
    config: InjectionConfig


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class PartOut(BaseModel):
    """One part of the service. ``degraded``: something waits for it, or soon will."""

    name: str
    state: Literal["ok", "degraded", "failing"]
    detail: str
    remedy: str | None = None


class Readiness(BaseModel):
    """The service takes requests. ``degraded``: a part is missing without which some of them wait."""

    status: Literal["ok", "degraded"]
    parts: list[PartOut]


@router.get("/v1/presets", responses=documented(401, 403, 422))
def list_presets(caller: Reader) -> Listing[PresetOut]:  # noqa: ARG001 - the caller must be allowed to read
    """Every preset of injection jobs, resolved."""
    return Listing.whole([PresetOut(name=name, config=resolve(name)) for name in PRESETS])


@router.get("/healthz", responses=documented(422))
def healthz() -> Health:
    """Alive: the process answers. Looks at nothing else."""
    return Health()


@router.get("/readyz", responses=documented(422, 503))
def readyz(request: Request) -> Readiness:
    """Ready: the database answers at this version's schema, and files can be written. Names each part with its state.

    The broker and workers may be away: jobs are accepted all the same, and the answer is ``degraded``.
    """
    health: PartsOfService = request.app.state.health
    try:
        parts = health.parts()
    except SQLAlchemyError as error:
        if not passing(error):
            raise
        parts = [unreachable(error)]
    state = overall(parts)
    failing = [part for part in parts if part.state == "failing"]
    if failing:
        told = [FieldError(field=part.name, message=part.detail, remedy=part.remedy or "") for part in failing]
        named = "; ".join(f"{part.name}: {part.detail}" for part in failing)
        raise Unavailable(f"{named}; try again", told, headers={"Retry-After": "5"})
    return Readiness.model_validate({"status": state, "parts": [part.as_json() for part in parts]})
