"""What jobs start from: problem sets, language models, and estimates."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.estimates import estimates
from api.http.auth import Caller
from api.http.errors import BadRequest, Forbidden, Invalid, NotFound, TooLarge, UnsupportedMediaType
from api.http.idempotency import Idempotency
from api.http.routing import ApiDep
from api.http.rows import PageRequest, paginate, path_row
from api.http.uploads import UploadDep
from api.language_models import find_model, model_names, visible
from api.pages.format import flat
from api.pages.rendering import PageRoute, Viewer, check_origin, is_live, page
from api.problem_sets.routes import take_problems
from errata.types import Domain
from models.base import db_now
from models.jobs import Estimate, InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.workspaces import BroughtSolution, LanguageModel, ProblemRow, ProblemSet

router = APIRouter(route_class=PageRoute, include_in_schema=False)
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]
_ROWS = 50
_LINKS = 20
_MAX_DEPTH = 20  # of a lineage that is drawn


@router.get("/upload")
def show_upload(viewer: Viewer) -> Response:
    """The form that takes a file of problems."""
    _may_write(viewer)
    return page("upload.html", section="problem-sets", refused=None, domains=[str(each) for each in Domain])


@router.post("/upload")
def send_upload(request: Request, api: ApiDep, viewer: Viewer, upload: UploadDep) -> Response:
    """Take a file of problems, and show the set; what is refused comes back with the reason."""
    check_origin(request)
    _may_write(viewer)
    fields = {name: value for name, value in upload.fields.items() if value.strip()}
    fields.setdefault("name", upload.name.partition(".")[0][:200] or "problems")
    try:
        set_id, *_ = take_problems(
            api, Idempotency(None, "POST /upload"), viewer.workspace_id, replace(upload, fields=fields), {}, None
        )
    except (BadRequest, Invalid, TooLarge, UnsupportedMediaType) as error:
        domains = [str(each) for each in Domain]
        return page("upload.html", error.status, section="problem-sets", refused=error, domains=domains)
    return RedirectResponse(f"/problem-sets/{set_id}", 303)


def _may_write(viewer: Caller) -> None:
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")


@router.get("/problem-sets")
def show_problem_sets(api: ApiDep, viewer: Viewer, after: After = None) -> Response:
    """Problem sets, newest first."""
    with api.db.read() as session:
        query = select(ProblemSet).where(ProblemSet.workspace_id == viewer.workspace_id)
        keys = (ProblemSet.created_at, ProblemSet.id)
        found = paginate(session, query, keys, PageRequest(_ROWS, after), descending=True)
        now = session.scalars(select(db_now())).one()
        may_write = viewer.may("write")
        return page(
            "problem_sets.html", sets=found.rows, more=found.next, now=now, may_write=may_write, section="problem-sets"
        )


@router.get("/problem-sets/{set_id}")
def show_problem_set(api: ApiDep, viewer: Viewer, set_id: str, after: After = None) -> Response:
    """One problem set: a page of its problems, and what was made of it."""
    with api.db.read() as session:
        row = path_row(session, ProblemSet, set_id, viewer.workspace_id)
        problems = select(ProblemRow).where(ProblemRow.problem_set_id == row.id)
        found = paginate(session, problems, (ProblemRow.position,), PageRequest(_ROWS, after))
        brought = select(func.count()).where(BroughtSolution.problem_set_id == row.id)
        context: dict[str, Any] = {
            "row": row,
            "problems": found.rows,
            "more": found.next,
            "brought": session.scalar(brought) or 0,
            "jobs": _newest(session, InjectionJob, row, viewer.workspace_id),
            "evaluations": _newest(session, Evaluation, row, viewer.workspace_id),
            "now": session.scalars(select(db_now())).one(),
        }
    return page("problem_set.html", section="problem-sets", may_write=viewer.may("write"), **context)


def _newest(session: Session, table: Any, problem_set: ProblemSet, workspace_id: str) -> list[Any]:
    query = select(table).where(table.problem_set_id == problem_set.id, table.workspace_id == workspace_id)
    return list(session.scalars(query.order_by(table.created_at.desc()).limit(_LINKS)))


@router.get("/models")
def show_models(api: ApiDep, viewer: Viewer) -> Response:
    """Every language model that the viewer may name."""
    with api.db.read() as session:
        rows = session.scalars(select(LanguageModel).where(visible(viewer.workspace_id)).order_by(LanguageModel.name))
        models = list(rows)
        bases = model_names(session, [row.base_model_id for row in models])
        now = session.scalars(select(db_now())).one()
        return page("models.html", models=models, bases=bases, now=now, section="models")


@router.get("/models/{name}")
def show_model(api: ApiDep, viewer: Viewer, name: str) -> Response:
    """One language model: what it was made from, what was made from it, and how it answered."""
    with api.db.read() as session:
        row = find_model(session, name, viewer.workspace_id)
        if row is None:
            raise NotFound("There is no such language model.")
        evaluations = select(Evaluation).where(
            Evaluation.language_model_id == row.id, Evaluation.workspace_id == viewer.workspace_id
        )
        lineage = _lineage(session, row, viewer.workspace_id)
        root = session.get_one(LanguageModel, lineage[-1][1].base_model_id).name if lineage else row.name
        context: dict[str, Any] = {
            "row": row,
            "lineage": lineage,
            "root": root,
            "children": _children(session, row, viewer.workspace_id),
            "evaluations": list(session.scalars(evaluations.order_by(Evaluation.created_at.desc()).limit(_LINKS))),
            "now": session.scalars(select(db_now())).one(),
            "may_train": viewer.may("train"),
            "may_write": viewer.may("write"),
        }
    return page("model.html", section="models", **context)


def _lineage(
    session: Session, row: LanguageModel, workspace_id: str
) -> list[tuple[LanguageModel, TrainingRun, Dataset]]:
    """From the model back to the one that no run of ours made: model, its run, the run's dataset."""
    found: list[tuple[LanguageModel, TrainingRun, Dataset]] = []
    at: LanguageModel | None = row
    while at is not None and at.training_run_id and len(found) < _MAX_DEPTH:
        run = session.get(TrainingRun, at.training_run_id)
        if run is None or run.workspace_id != workspace_id:
            break
        found.append((at, run, session.get_one(Dataset, run.dataset_id)))
        at = session.get(LanguageModel, run.base_model_id)
    return found


def _children(session: Session, row: LanguageModel, workspace_id: str) -> list[TrainingRun]:
    query = select(TrainingRun).where(TrainingRun.base_model_id == row.id, TrainingRun.workspace_id == workspace_id)
    return list(session.scalars(query.order_by(TrainingRun.created_at.desc()).limit(_LINKS)))


@router.get("/estimates/{estimate_id}")
def show_estimate(api: ApiDep, viewer: Viewer, estimate_id: str) -> Response:
    """One estimate: its forecast, and a button that starts the job."""
    return page("live.html", fragment="fragments/estimate.html", **_estimate(api, viewer, estimate_id))


@router.get("/fragments/estimates/{estimate_id}")
def refresh_estimate(api: ApiDep, viewer: Viewer, estimate_id: str) -> Response:
    """The estimate's content alone."""
    return page("fragments/estimate.html", **_estimate(api, viewer, estimate_id))


def _estimate(api: ApiDep, viewer: Viewer, estimate_id: str) -> dict[str, Any]:
    with api.db.read() as session:
        row = path_row(session, Estimate, estimate_id, viewer.workspace_id)
        told = estimates.one(session, row.id)
        problem_set = session.get_one(ProblemSet, told.problem_set)
        name = problem_set.name
    return {
        "told": told,
        "problem_set": name,
        "settings": flat(told.config),
        "live": is_live(told.state),
        "section": "jobs",
        "fragment_url": f"/fragments/estimates/{estimate_id}",
    }
