"""What jobs start from: problem sets, language models, and estimates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from api.pages.lineage import ancestors, graph
from api.pages.rendering import PageRoute, Viewer, check_origin, is_live, page
from api.pages.shell import curl_upload
from api.pages.verbs import life_acts
from api.problem_sets.routes import take_problems
from api.schemas import Storable
from errata.types import Domain
from models.base import db_now
from models.curation import tagged, tags_of
from models.jobs import Estimate, InjectionJob
from models.outputs import Evaluation, TrainingRun
from models.workspaces import BroughtSolution, LanguageModel, ProblemRow, ProblemSet

router = APIRouter(route_class=PageRoute, include_in_schema=False)
TagQuery = Annotated[str | None, Query(min_length=1, max_length=100), Storable]
After = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,600}$")]
_ROWS = 50
_LINKS = 20


@router.get("/upload")
def show_upload(request: Request, viewer: Viewer) -> Response:
    """The form that takes a file of problems."""
    _may_write(viewer)
    return _upload_form(request)


def _upload_form(
    request: Request, refused: BadRequest | Invalid | TooLarge | UnsupportedMediaType | None = None
) -> Response:
    curl = curl_upload(str(request.base_url), "/v1/problem-sets", {"name": "NAME", "domain": str(Domain.MATH)})
    context = {"refused": refused, "domains": [str(each) for each in Domain], "curl": curl}
    return page("upload.html", refused.status if refused else 200, section="problem-sets", **context)


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
        return _upload_form(request, error)
    return RedirectResponse(f"/problem-sets/{set_id}", 303)


def _tags(session: Session, viewer: Caller, ids: Sequence[str]) -> dict[str, list[str]]:
    return tags_of(session, viewer.workspace_id, ids)


def _may_write(viewer: Caller) -> None:
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")


@router.get("/problem-sets")
def show_problem_sets(api: ApiDep, viewer: Viewer, after: After = None, tag: TagQuery = None) -> Response:
    """Problem sets, newest first; with ``tag`` those that have it."""
    with api.db.read() as session:
        query = select(ProblemSet).where(ProblemSet.workspace_id == viewer.workspace_id)
        if tag:
            query = query.where(tagged(ProblemSet, viewer.workspace_id, tag))
        keys = (ProblemSet.created_at, ProblemSet.id)
        found = paginate(session, query, keys, PageRequest(_ROWS, after), descending=True)
        context: dict[str, Any] = {
            "sets": found.rows,
            "more": found.next,
            "now": session.scalars(select(db_now())).one(),
            "may_write": viewer.may("write"),
            "tags": _tags(session, viewer, [row.id for row in found.rows]),
            "tag": tag,
        }
    return page("problem_sets.html", section="problem-sets", **context)


@router.get("/problem-sets/{set_id}")
def show_problem_set(api: ApiDep, viewer: Viewer, set_id: str, after: After = None) -> Response:
    """One problem set: a page of its problems, and what was made of it."""
    with api.db.read() as session:
        row = path_row(session, ProblemSet, set_id, viewer.workspace_id)
        problems = select(ProblemRow).where(ProblemRow.problem_set_id == row.id)
        found = paginate(session, problems, (ProblemRow.position,), PageRequest(_ROWS, after))
        jobs = _newest(session, InjectionJob, row, viewer.workspace_id)
        evaluations = _newest(session, Evaluation, row, viewer.workspace_id)
        brought = select(func.count()).where(BroughtSolution.problem_set_id == row.id)
        context: dict[str, Any] = {
            "row": row,
            "problems": found.rows,
            "more": found.next,
            "brought": session.scalar(brought) or 0,
            "jobs": jobs,
            "evaluations": evaluations,
            "names": model_names(session, [each.language_model_id for each in (*jobs, *evaluations)]),
            "now": session.scalars(select(db_now())).one(),
            "acts": life_acts("problem-sets", row, viewer),
            "tags": _tags(session, viewer, [row.id]).get(row.id, []),
        }
    return page("problem_set.html", section="problem-sets", may_write=viewer.may("write"), **context)


def _newest(session: Session, table: Any, problem_set: ProblemSet, workspace_id: str) -> list[Any]:
    query = select(table).where(table.problem_set_id == problem_set.id, table.workspace_id == workspace_id)
    return list(session.scalars(query.order_by(table.created_at.desc()).limit(_LINKS)))


@router.get("/models")
def show_models(api: ApiDep, viewer: Viewer, tag: TagQuery = None) -> Response:
    """Every language model that the viewer may name; with ``tag`` those that have it."""
    with api.db.read() as session:
        rows = session.scalars(select(LanguageModel).where(visible(viewer.workspace_id)).order_by(LanguageModel.name))
        models = list(rows)
        tags = _tags(session, viewer, [row.id for row in models])
        models = [row for row in models if tag is None or tag in tags.get(row.id, [])]
        bases = model_names(session, [row.base_model_id for row in models])
        now = session.scalars(select(db_now())).one()
        shown: dict[str, Any] = {"models": models, "bases": bases, "now": now, "tags": tags, "tag": tag}
        return page("models.html", section="models", **shown)


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
        evaluated = list(session.scalars(evaluations.order_by(Evaluation.created_at.desc()).limit(_LINKS)))
        lineage = ancestors(session, row, viewer.workspace_id)
        root = session.get_one(LanguageModel, lineage[-1][1].base_model_id) if lineage else row
        context: dict[str, Any] = {
            "row": row,
            "lineage": lineage,
            "root": root.name,
            "graph": graph(session, row, root, viewer.workspace_id),
            "acts": life_acts("models", row, viewer),
            "tags": _tags(session, viewer, [row.id]).get(row.id, []),
            "trained_here": row.training_run_id is not None and row.workspace_id == viewer.workspace_id,
            "children": _children(session, row, viewer.workspace_id),
            "evaluations": evaluated,
            "sets": _set_names(session, [each.problem_set_id for each in evaluated]),
            "now": session.scalars(select(db_now())).one(),
            "may_train": viewer.may("train"),
            "may_write": viewer.may("write"),
        }
    return page("model.html", section="models", **context)


def _set_names(session: Session, ids: Iterable[str]) -> dict[str, str]:
    rows = session.execute(select(ProblemSet.id, ProblemSet.name).where(ProblemSet.id.in_(set(ids))))
    return {row.id: row.name for row in rows}


def _children(session: Session, row: LanguageModel, workspace_id: str) -> list[TrainingRun]:
    query = select(TrainingRun).where(TrainingRun.base_model_id == row.id, TrainingRun.workspace_id == workspace_id)
    return list(session.scalars(query.order_by(TrainingRun.created_at.desc()).limit(_LINKS)))


@router.get("/estimates")
def show_estimates(api: ApiDep, viewer: Viewer, after: After = None) -> Response:
    """Estimates, newest first."""
    with api.db.read() as session:
        query = select(Estimate).where(Estimate.workspace_id == viewer.workspace_id)
        order = (Estimate.created_at, Estimate.id)
        found = paginate(session, query, order, PageRequest(_ROWS, after), descending=True)
        told = estimates.summaries(session, found.rows)
        sets = {row.problem_set for row in told}
        names = _set_names(session, sets)
        now = session.scalars(select(db_now())).one()
    return page("estimates.html", told=told, names=names, more=found.next, now=now, section="jobs")


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
        "tab": "Estimate",
        "settings": flat(told.config),
        "live": is_live(told.state),
        "section": "jobs",
        "fragment_url": f"/fragments/estimates/{estimate_id}",
    }
