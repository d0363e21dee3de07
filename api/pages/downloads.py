"""Archives for a browser that signed in: ``/v1`` takes no cookie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from api.datasets import download_archive
from api.http.routing import ApiDep
from api.language_models import download_model_archive
from api.pages.rendering import PageRoute, Viewer
from api.training.checkpoints import download_checkpoint

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/datasets/{dataset_id}/archive.zip")
def dataset_archive(request: Request, api: ApiDep, viewer: Viewer, dataset_id: str) -> Response:
    """Every file of a dataset."""
    return download_archive(request, viewer, api, dataset_id)


@router.get("/models/{name}/archive.zip")
def model_archive(request: Request, api: ApiDep, viewer: Viewer, name: str) -> Response:
    """Every file of a trained model."""
    return download_model_archive(request, viewer, api, name)


@router.get("/training/{run_id}/checkpoints/{step}/archive.zip")
def checkpoint_archive(
    request: Request, api: ApiDep, viewer: Viewer, run_id: str, step: Annotated[int, Path(ge=0, le=2**31 - 1)]
) -> Response:
    """Every file of a checkpoint."""
    return download_checkpoint(request, viewer, api, run_id, step)
