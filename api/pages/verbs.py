"""The buttons of a row's page: cancelling, retrying, extending, pausing, resuming, and what usually comes next.

Each goes through the same functions and checks as ``/v1``. What stops work, or starts more, asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from api.datasets import jobs as datasets
from api.evaluations import jobs as evaluations
from api.http.auth import Caller, Scope
from api.http.errors import Conflict, Forbidden
from api.http.routing import ApiDep
from api.http.rows import path_row
from api.injection_jobs.extensions import ExtensionIn, extend_job
from api.injection_jobs.failures import pause_job, resume_job, retry_job
from api.injection_jobs.jobs import jobs as injection_jobs
from api.jobs import JobResource
from api.language_models import model_names
from api.pages import life
from api.pages.acts import Given
from api.pages.overview import pair_count
from api.pages.rendering import PageRoute, Viewer, is_live, page
from api.pages.shell import curl_post
from api.quotas import admit_job
from api.training.checkpoints import run_from
from api.training.routes import cancel_run, move_run
from api.training.routes import jobs as training_jobs
from errata.stopping import StopConfig
from models.jobs import Shard
from models.outputs import Checkpoint, TrainingRun
from models.states import JobState, ShardState, TrainingState
from workers.dispatch import Hint

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Verb:
    """A button of a row's page. ``asks``: what a person is told before it is done; None: it is done at once.

    ``sends``: the body of the same request to ``/v1``, for an act that starts something there.
    """

    section: str
    name: str
    scope: Scope
    resource: JobResource[Any, Any, Any]
    act: Callable[[Session, Any], tuple[str, list[Hint]]]  # the id of the row to show then, and hints
    asks: str | None = None
    sends: dict[str, Any] | None = None


def _same(act: Callable[[Session, Any], list[Hint]]) -> Callable[[Session, Any], tuple[str, list[Hint]]]:
    return lambda session, row: (row.id, act(session, row))


def _retried(session: Session, job: Any) -> tuple[str, list[Hint]]:
    again, hints = retry_job(session, job)
    return again.id, hints


def _extended(session: Session, job: Any) -> tuple[str, list[Hint]]:
    added, hints = extend_job(session, job, ExtensionIn(problems="rest", stop=StopConfig()))
    return added.id, hints


def _resumed_run(session: Session, run: Any) -> tuple[str, list[Hint]]:
    """Go on from the newest checkpoint that is kept."""
    newest = select(func.max(Checkpoint.step)).where(Checkpoint.run_id == run.id, Checkpoint.state == "ready")
    step = session.scalar(newest)
    if step is None:
        raise Conflict("the training job has no checkpoint to go on from; start a new one")
    admit_job(session, run.workspace_id, TrainingRun)
    return run_from(session, run, step, None, trains=True).id, []


VERBS: dict[tuple[str, str], Verb] = {
    (verb.section, verb.name): verb
    for verb in (
        Verb(
            *("jobs", "cancel", "write", injection_jobs, _same(injection_jobs.stop)),
            asks="Running shards stop within seconds. Pairs and samples that it has stay. It cannot be started again.",
        ),
        Verb("jobs", "retry", "write", injection_jobs, _retried),
        Verb(
            *("jobs", "extend", "write", injection_jobs, _extended),
            asks="A new job takes up the problems that this one skipped at its limit. It has no limit.",
            sends={"problems": "rest"},
        ),
        Verb("jobs", "pause", "write", injection_jobs, _same(pause_job)),
        Verb("jobs", "resume", "write", injection_jobs, _same(resume_job)),
        Verb(
            "datasets", "cancel", "write", datasets, _same(datasets.stop), asks="The files written so far are removed."
        ),
        Verb("evaluations", "cancel", "write", evaluations, _same(evaluations.stop), asks="Answers that it has stay."),
        Verb("training", "pause", "train", training_jobs, _same(move_run("pause"))),
        Verb("training", "resume", "train", training_jobs, _same(move_run("resume"))),
        Verb(
            *("training", "go-on", "train", training_jobs, _resumed_run),
            asks="A new run begins with the newest checkpoint of this one and goes to the same end.",
        ),
        Verb(
            *("training", "cancel", "train", training_jobs, _same(cancel_run)),
            asks="The run writes a last checkpoint, which is kept, and ends for good. A new run can go on from it.",
        ),
    )
}


def _verb(section: str, name: str, viewer: Caller) -> Verb:
    verb = VERBS.get((section, name))
    if verb is None:
        raise HTTPException(404, "There is no such page.")
    if not viewer.may(verb.scope):
        raise Forbidden(f"this key lacks the scope '{verb.scope}'; sign in with one made with it")
    return verb


@router.get("/{section}/{row_id}/do/{name}")
def ask(request: Request, api: ApiDep, viewer: Viewer, section: str, row_id: str, name: str) -> Response:
    """The second step before something stops."""
    verb = _verb(section, name, viewer)
    with api.db.read() as session:
        row: Any = path_row(session, verb.resource.table, row_id, viewer.workspace_id)
        title = getattr(row, "name", None) or getattr(row, "output_name", None) or row.id
        state = row.state
    url = f"{verb.resource.kind.url}/{row_id}/{name}"
    curl = curl_post(str(request.base_url), url, verb.sends) if verb.sends is not None else None
    return page("confirm.html", verb=verb, row_id=row_id, title=title, state=state, section=section, curl=curl)


@router.post("/{section}/{row_id}/do/{name}")
def do(api: ApiDep, viewer: Viewer, section: str, row_id: str, name: str, given: Given) -> Response:
    """Do it, and show the row."""
    verb = _verb(section, name, viewer)
    if verb.asks and "sure" not in given:
        return RedirectResponse(f"/{section}/{row_id}/do/{name}", 303)
    with api.db.begin() as session:
        shown, hints = verb.act(session, path_row(session, verb.resource.table, row_id, viewer.workspace_id))
    api.dispatcher.send(hints)
    return RedirectResponse(f"/{section}/{shown}", 303)


@dataclass(frozen=True, slots=True)
class Action:
    """A button of a page: a form that posts, or a link to a page that asks or starts. ``main``: the likeliest next."""

    label: str
    url: str
    posts: bool = False
    main: bool = False


def of_row(session: Session, section: str, row: Any, viewer: Caller) -> list[Action]:
    """What the viewer may do with a row as it now is."""
    found = _next(session, section, row) if viewer.may(_next_scope(section)) else []
    for (where, name), verb in VERBS.items():
        if where == section and viewer.may(verb.scope) and _applies(session, name, row):
            url = f"/{section}/{row.id}/do/{name}"
            found.append(
                Action(name.replace("-", " ").capitalize() + (" …" if verb.asks else ""), url, posts=verb.asks is None)
            )
    return found + life_acts(section, row, viewer)


def life_acts(section: str, row: Any, viewer: Caller) -> list[Action]:
    """Renaming, tagging and deleting, where the viewer may; what runs is deleted only when it has ended."""
    if not life.may_change(section, row, viewer):
        return []
    at = f"/{section}/{quote(row.name if section == 'models' else row.id, safe='')}"
    acts = [Action("Tag" if section == "training" else "Rename or tag", f"{at}/edit")]
    ended = not is_live(getattr(row, "state", JobState.SUCCEEDED))
    return [*acts, Action("Delete …", f"{at}/delete")] if ended else acts


def _next_scope(section: str) -> Scope:
    return "train" if section == "datasets" else "write"


def _next(session: Session, section: str, row: Any) -> list[Action]:
    """What usually comes after a row that ended well."""
    if row.state != JobState.SUCCEEDED:
        return []
    if section == "jobs" and pair_count(session, row.id):
        return [Action("Freeze its pairs", f"/new/datasets?jobs={row.id}", main=True)]
    if section == "datasets":
        return [Action("Train on it", f"/new/training?dataset={row.id}", main=True)]
    if section == "training" and row.output_model_id:
        name = quote(model_names(session, [row.output_model_id]).get(row.output_model_id, ""), safe="")
        return [Action("Evaluate the model", f"/new/evaluations?language_model={name}", main=True)]
    if section == "evaluations":
        return [Action("Compare", f"/compare?after={row.id}", main=True)]
    return []


def _applies(session: Session, name: str, row: Any) -> bool:
    """Whether a verb would be accepted now; the verb itself decides in the end."""
    if name == "retry":
        quarantined = select(Shard.id).where(Shard.injection_job_id == row.id, Shard.state == ShardState.QUARANTINED)
        lacking = not is_live(row.state) and (row.partial or row.state != JobState.SUCCEEDED)
        return lacking or session.scalar(select(exists(quarantined))) is True
    if name == "extend":
        return row.stopped is not None and not is_live(row.state)
    if name == "go-on":
        unfinished = not is_live(row.state) and row.state != TrainingState.SUCCEEDED and row.last_step is None
        ready = select(Checkpoint.id).where(Checkpoint.run_id == row.id, Checkpoint.state == "ready")
        return unfinished and session.scalar(select(exists(ready))) is True
    if name in ("resume", "pause"):
        paused = row.state == TrainingState.PAUSED or getattr(row, "paused_at", None) is not None
        waits = row.state in (TrainingState.QUEUED, TrainingState.RUNNING)
        return paused and is_live(row.state) if name == "resume" else waits and not paused
    return is_live(row.state) and row.state != JobState.CANCELLING
