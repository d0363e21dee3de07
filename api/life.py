"""Renaming, tagging and deleting: the same three operations for every kind of row that a workspace keeps.

A row that others depend on is deleted with them, on request, or not at all; none of them may be running. Deleted rows
are gone for everybody at once. What belonged to them goes at once too, or where it is much, with the sweeper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api import datasets, evaluations, language_models
from api.http.auth import Caller, Reader, Trainer, Writer
from api.http.errors import Conflict, FieldError, Invalid, documented
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import KINDS, Listing, lock_row, path_row
from api.injection_jobs import jobs as injection_jobs
from api.jobs import JobResource, typed
from api.problem_sets.schemas import ProblemSetOut
from api.schemas import ModelName, Name, Request, Tags
from api.studies import routes as studies
from api.studies.schemas import CampaignOut, StudyOut
from api.training import routes as training
from api.training.schemas import TrainingJobOut
from models.curation import set_tags, tags_of
from models.deletion import dependents, hide, purge, still_running, with_pilots
from models.jobs import InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.studies import Campaign, Study
from models.workspaces import LanguageModel, ProblemSet

log = logging.getLogger(__name__)
router = make_router("/v1", "life")
_PURGE_SECONDS = 3.0  # what a request waits for; the sweeper goes on
Cascade = Annotated[bool, Query(description="Delete what depends on it as well.")]


class TagsPatch(Request):
    """What is changed of a row; what is left out stays."""

    tags: Tags | None = Field(None, description="All of its tags from now on.")


class Patch(TagsPatch):
    """What is changed of a row; what is left out stays."""

    name: Name | None = None


class ModelPatch(TagsPatch):
    """What is changed of a language model; what is left out stays."""

    name: ModelName | None = Field(None, description="Only of one that a training job made.")


class DependentOut(BaseModel):
    """A row that is deleted with another one, or that has been."""

    object: Literal["dependent"] = "dependent"
    kind: str = Field(description="Such as dataset or training job.")
    id: str
    name: str | None
    url: str


class DeletionOut(BaseModel):
    """What was deleted: the row itself first. ``purged``: its files and all that belonged to it are gone already."""

    object: Literal["deletion"] = "deletion"
    deleted: list[DependentOut]
    purged: bool = Field(description="False: the sweeper goes on with it.")


class ModelDeletionOut(BaseModel):
    """What was deleted, as OpenAI's client expects it of a model; ``rows`` and ``purged`` as of every other row."""

    id: str = Field(description="The name it had.")
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
    rows: list[DependentOut] = Field(description="The model first, then what was deleted with it.")
    purged: bool = Field(description="False: the sweeper goes on with it.")


@dataclass(frozen=True)
class Life:
    """One kind of row: its path parameter, what may be changed, who may, how it is found and how it is told."""

    table: type[Any]
    parameter: str
    name: str  # of operations
    body: type[TagsPatch]
    caller: Any
    answer: Callable[[Session, Any, str], Any]  # told to a workspace
    model: type[Any]
    find: Callable[[Session, str, str, bool], Any] | None = None  # by name; True: to change the row itself

    def row(self, session: Session, name: str, workspace_id: str, *, own: bool) -> Any:
        """The row that a path names. Raises NotFound."""
        if self.find is not None:
            return self.find(session, name, workspace_id, own)
        return path_row(session, self.table, name, workspace_id)


def _problem_set(session: Session, row: ProblemSet, workspace_id: str) -> ProblemSetOut:
    return ProblemSetOut.of(row, tags=tags_of(session, workspace_id, [row.id]).get(row.id, []))


def _job(resource: JobResource[Any, Any, Any]) -> Callable[[Session, Any, str], Any]:
    return lambda session, row, _workspace_id: resource.one(session, row.id)


LIVES = (
    Life(ProblemSet, "problem_set_id", "problem_set", Patch, Writer, _problem_set, ProblemSetOut),
    Life(
        InjectionJob,
        "job_id",
        "injection_job",
        Patch,
        Writer,
        _job(injection_jobs.jobs),
        injection_jobs.InjectionJobOut,
    ),
    Life(
        Dataset,
        "dataset_id",
        "dataset",
        Patch,
        Writer,
        _job(datasets.jobs),
        datasets.DatasetOut,
    ),
    Life(
        TrainingRun,
        "run_id",
        "training_job",
        TagsPatch,
        Trainer,
        _job(training.jobs),
        TrainingJobOut,
    ),
    Life(
        Evaluation,
        "evaluation_id",
        "evaluation",
        Patch,
        Writer,
        _job(evaluations.jobs),
        evaluations.EvaluationOut,
    ),
    Life(Study, "study_id", "study", Patch, Trainer, _job(studies.studies), StudyOut),
    Life(Campaign, "campaign_id", "campaign", Patch, Trainer, _job(studies.campaigns), CampaignOut),
    Life(
        LanguageModel,
        "name",
        "model",
        ModelPatch,
        Trainer,
        language_models.answer,
        language_models.LanguageModelOut,
        find=language_models.named,
    ),
)


def _register(life: Life) -> None:
    url = "/models" if life.table is LanguageModel else KINDS[life.table].url.removeprefix("/v1")
    path, row_id = f"{url}/{{{life.parameter}}}", Annotated[str, Path(alias=life.parameter)]

    def change(caller: Caller, api: ApiDep, row_id: str, body: TagsPatch) -> Any:
        return change_row(life, api, caller, row_id, body)

    def list_dependents(caller: Reader, api: ApiDep, row_id: str) -> Listing[DependentOut]:
        with api.db.read() as session:
            row = life.row(session, row_id, caller.workspace_id, own=True)
            return Listing.whole([_told(other) for other in dependents(session, row)])

    def remove(caller: Caller, api: ApiDep, row_id: str, cascade: Cascade = False) -> DeletionOut | ModelDeletionOut:
        done = delete_row(life, api, caller, row_id, cascade=cascade)
        if life.table is LanguageModel:
            return ModelDeletionOut(id=row_id, rows=done.deleted, purged=done.purged)
        return done

    change_text = "Rename or tag it." if "name" in life.body.model_fields else "Tag it."
    delete_text = "Delete it with its rows and files; with `cascade` also what depends on it. Refused while any runs."
    listed_text = "What would be deleted with it: everything that cannot be without it."
    changed = _Operation("PATCH", f"update_{life.name}", change_text, life.model, (404, 409, 413, 415))
    changed.add(path, typed(change, caller=life.caller, row_id=row_id, body=life.body))
    listed = _Operation("GET", f"list_{life.name}_dependents", listed_text, Listing[DependentOut], (404, 409))
    listed.add(f"{path}/dependents", typed(list_dependents, row_id=row_id))
    answered = ModelDeletionOut if life.table is LanguageModel else DeletionOut
    deleted = _Operation("DELETE", f"delete_{life.name}", delete_text, answered, (404, 409))
    deleted.add(path, typed(remove, caller=life.caller, row_id=row_id))


@dataclass(frozen=True)
class _Operation:
    """How a route is described: its method, its name, its text, the model of its answer, and its refusals."""

    method: str
    name: str
    about: str
    model: Any
    refusals: tuple[int, ...]

    def add(self, path: str, handler: Callable[..., Any]) -> None:
        """Add the route."""
        options: dict[str, Any] = {"name": self.name, "description": self.about, "response_model": self.model}
        router.add_api_route(path, handler, methods=[self.method], responses=documented(*self.refusals), **options)


def change_row(life: Life, api: Api, caller: Caller, row_id: str, body: TagsPatch) -> Any:
    """Rename or tag a row; answers the row as it is told. Raises NotFound, Conflict, and Invalid naming the field."""
    name = getattr(body, "name", None)
    with api.db.begin() as session:
        row = life.row(session, row_id, caller.workspace_id, own=name is not None)
        if name is None and body.tags is None:
            known = " or ".join(f"`{field}`" for field in life.body.model_fields)
            raise Invalid.field("body", "nothing is changed", f"give {known}")
        lock_row(session, row)  # of two at once the second replaces what the first gave
        if name is not None and name != row.name:
            if isinstance(row, LanguageModel):
                training.check_name(session, caller.workspace_id, name, "name")
            row.name = name
        if body.tags is not None:
            set_tags(session, caller.workspace_id, row.id, body.tags)
        session.flush()
        return life.answer(session, row, caller.workspace_id)


def _told(row: Any) -> DependentOut:
    if isinstance(row, LanguageModel):
        return DependentOut(kind="language model", id=row.id, name=row.name, url=f"/v1/models/{row.name}")
    kind = KINDS[type(row)]
    name = getattr(row, "name", None) or getattr(row, "output_name", None)
    return DependentOut(kind=kind.name, id=row.id, name=name, url=f"{kind.url}/{row.id}")


def delete_row(
    life: Life, api: Api, caller: Caller, row_id: str, *, cascade: bool, listed: Collection[str] | None = None
) -> DeletionOut:
    """Delete a row, with ``cascade`` also what depends on it. Raises NotFound, and Conflict where something forbids it.

    ``listed``: the ids that a person was shown; where others have come to depend on the row since, nothing is deleted.
    """
    with api.db.begin() as session:
        row = life.row(session, row_id, caller.workspace_id, own=True)
        lock_row(session, row)  # nothing new may come to depend on it meanwhile
        others = dependents(session, row)
        told = [_told(one) for one in (row, *others)]
        if others and not cascade:
            errors = [
                FieldError(field=one.url, message=f"this {one.kind} depends on it", remedy=_HOW) for one in told[1:]
            ]
            raise Conflict(f"{_count(len(others))} on it: {_first(told[1:])}; {_HOW}", errors)
        if listed is not None and {one.id for one in others} - set(listed):
            raise Conflict("something else has come to depend on it since; look at the list again")
        rows = with_pilots(session, [row, *others])
        if running := still_running(session, rows):
            named = [_told(one) for one in running]
            errors = [
                FieldError(field=one.url, message="it is still running", remedy="cancel it first") for one in named
            ]
            raise Conflict(f"it cannot be deleted while {_first(named)} goes on; cancel it first", errors)
        hide(session, rows)
    return DeletionOut(deleted=told, purged=free_space(api))


def _error(one: DependentOut, message: str, remedy: str) -> FieldError:
    return FieldError(field=one.url, message=message, remedy=remedy)


_HOW = "delete them first, or all at once with `cascade=true`"


def _count(others: int) -> str:
    return "1 other depends" if others == 1 else f"{others} others depend"


def _first(told: list[DependentOut]) -> str:
    """The first few of them in words."""
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return ", ".join(f"{one.kind} {one.id}" for one in told[:5]) + more


def free_space(api: Api) -> bool:
    """Purge what is hidden, as far as a request may wait for it. False: the sweeper goes on."""
    try:
        return purge(api.db, api.store, _PURGE_SECONDS)
    except SQLAlchemyError as error:  # the rows are hidden: the deletion is done, and the sweeper frees the space
        log.warning("what was deleted is left to the sweeper: %s", error)
        return False


for _life in LIVES:
    _register(_life)
