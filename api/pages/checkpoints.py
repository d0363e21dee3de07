"""One checkpoint of a training run: downloaded, gone on from, or made a language model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from api.http.auth import Caller
from api.http.errors import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, invalid_below
from api.http.routing import Api, ApiDep
from api.http.rows import path_row
from api.pages.acts import Given
from api.pages.forms import Values
from api.pages.rendering import PageRoute, Viewer, is_live, page
from api.pages.shell import curl_post
from api.quotas import admit_job
from api.training.checkpoints import CheckpointModelIn, CheckpointResumeIn, run_from
from models.base import db_now
from models.outputs import Checkpoint, TrainingRun

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Step = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get("/training/{run_id}/checkpoints/{step}")
def show_checkpoint(request: Request, api: ApiDep, viewer: Viewer, run_id: str, step: Step) -> Response:
    """One checkpoint, and what can be done with it."""
    return _page(request, api, viewer, run_id, step, {})


@router.post("/training/{run_id}/checkpoints/{step}/{act}")
def use_checkpoint(
    request: Request,
    api: ApiDep,
    viewer: Viewer,
    run_id: str,
    step: Step,
    act: Literal["resume", "model"],
    given: Given,
) -> Response:
    """Start the run that goes on from the checkpoint, or that makes a model of it, and show that run."""
    if not viewer.may("train"):
        raise Forbidden("this key lacks the scope 'train'; sign in with one made with it")
    trains = act == "resume"
    try:
        name = _name(given, trains=trains)
        with api.db.begin() as session:
            ended = path_row(session, TrainingRun, run_id, viewer.workspace_id)
            admit_job(session, viewer.workspace_id, TrainingRun)
            started = run_from(session, ended, step, name, trains=trains).id
    except (Conflict, Invalid, TooManyRequests) as error:
        return _page(request, api, viewer, run_id, step, given, error)
    return RedirectResponse(f"/training/{started}", 303)


def _name(given: Values, *, trains: bool) -> str | None:
    name = given.get("name", [""])[0].strip()
    with invalid_below():
        if trains:
            return CheckpointResumeIn.model_validate({"output_name": name or None}).output_name
        return CheckpointModelIn.model_validate({"name": name}).name


def _page(
    request: Request,
    api: Api,
    viewer: Caller,
    run_id: str,
    step: int,
    given: Values,
    refused: Conflict | Invalid | TooManyRequests | None = None,
) -> Response:
    with api.db.read() as session:
        run = path_row(session, TrainingRun, run_id, viewer.workspace_id)
        found = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id, Checkpoint.step == step)).first()
        if found is None:
            raise NotFound("The run has no checkpoint of this step.")
        now = session.scalars(select(db_now())).one()
    at = f"/v1/training-jobs/{run_id}/checkpoints/{step}"
    base = str(request.base_url)
    ended = not is_live(run.state) and found.state == "ready"
    context: dict[str, Any] = {
        "run": run,
        "row": found,
        "now": now,
        "may_start": ended and viewer.may("train"),
        "unfinished": run.total_steps is None or step < run.total_steps,
        "given": given.get("name", [""])[0],
        "refused": refused,
        "curls": (curl_post(base, f"{at}/resume", {}), curl_post(base, f"{at}/model", {"name": "NAME"})),
    }
    return page("checkpoint.html", refused.status if refused else 200, section="training", **context)
