"""``/v1/models``: the language models a workspace may name, in the shape the `openai` client expects, and their files.

A workspace may name its own language models and the operator's. An operator's entry lives in the default workspace and
has no training run; everyone may use it. What a workspace has trained is its own. A name is the only way to refer to a
model: no job's request holds a path or a URL.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from api.http.archives import ARCHIVE_RESPONSES, send_archive
from api.http.audit import concerns
from api.http.auth import Admin, Reader
from api.http.downloads import FILE_RESPONSES, FileOut, StoredFile, manifest_files, send_listed
from api.http.errors import Conflict, Invalid, NotFound, documented
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing
from api.model_entries import ModelIn, checked_entry, put_entry
from api.schemas import RowAnswer, Tag
from models.curation import tags_of
from models.files import FileStore, UnsafePath
from models.folders import MANIFEST
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from workers.dispatch import doubts

router = make_router("/v1/models", "language models")


def _unix_seconds(time: datetime) -> int:
    return int(time.timestamp())


class LanguageModelOut(RowAnswer):
    """A language model; ``id`` is its name, as the `openai` client expects. Where it is stored is not told."""

    id: str = Field(validation_alias="name")
    object: Literal["model"] = "model"
    created: Annotated[int, BeforeValidator(_unix_seconds)] = Field(
        validation_alias="created_at", description="Unix time, seconds."
    )
    owned_by: str
    engine: str
    base_model: str | None
    training_job: str | None = Field(validation_alias="training_run_id")
    tags: list[str] = Field(default_factory=list)


class AddedModelOut(LanguageModelOut):
    """A language model that was just registered."""

    notes: list[str] = Field(description="Why workers may not find it, as far as the service can tell; mostly empty.")


class ModelListing(BaseModel):
    """Every language model the caller may name; also a valid answer to the `openai` client."""

    object: Literal["list"] = "list"
    data: list[LanguageModelOut]
    has_more: Literal[False] = False


def visible(workspace_id: str) -> ColumnElement[bool]:
    """The condition that a registry entry may be used by a workspace."""
    shared = and_(LanguageModel.workspace_id == DEFAULT_WORKSPACE, LanguageModel.training_run_id.is_(None))
    return or_(LanguageModel.workspace_id == workspace_id, shared)


def find_model(session: Session, name: str, workspace_id: str) -> LanguageModel | None:
    """The entry of this name, a workspace's own before an operator's."""
    query = select(LanguageModel).where(LanguageModel.name == name, visible(workspace_id))
    found = session.scalars(query).all()
    # A workspace may train a model under an operator's name: it then means its own.
    return min(found, key=lambda row: row.workspace_id != workspace_id, default=None)


def body_model(session: Session, name: str, workspace_id: str, field: str) -> LanguageModel:
    """The entry a body's field names. Raises Invalid naming the field."""
    row = find_model(session, name, workspace_id)
    if row is None:
        raise Invalid.field(field, "there is no language model of this name", "give a name listed by GET /v1/models")
    return row


def named(session: Session, name: str, workspace_id: str, own: bool = False) -> LanguageModel:
    """The entry a path names; ``own``: one to change or delete. Raises NotFound, and Conflict for an operator's."""
    row = find_model(session, name, workspace_id)
    if row is None:
        raise NotFound("there is no such language model; see GET /v1/models")
    if own and row.training_run_id is None:
        raise Conflict("this language model is the operator's: only those that a training job made are yours to change")
    return row


def answer(session: Session, row: LanguageModel, workspace_id: str) -> LanguageModelOut:
    """One entry as a workspace sees it."""
    return _answers(session, [row], workspace_id)[0]


def model_names(session: Session, ids: Iterable[str | None]) -> dict[str, str]:
    """Names by id."""
    wanted = {row_id for row_id in ids if row_id}
    if not wanted:
        return {}
    rows = session.execute(select(LanguageModel.id, LanguageModel.name).where(LanguageModel.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def _answers(session: Session, rows: Sequence[LanguageModel], workspace_id: str) -> list[LanguageModelOut]:
    tags = tags_of(session, workspace_id, [row.id for row in rows])
    bases = model_names(session, [row.base_model_id for row in rows])
    return [
        LanguageModelOut.of(
            row,
            owned_by="errata" if row.training_run_id else "operator",
            base_model=bases.get(row.base_model_id or ""),
            tags=tags.get(row.id, []),
        )
        for row in rows
    ]


@router.get("")
def list_models(caller: Reader, api: ApiDep, tag: Annotated[Tag | None, Query()] = None) -> ModelListing:
    """Every language model the caller may name, oldest first."""
    query = select(LanguageModel).where(visible(caller.workspace_id))
    with api.db.read() as session:
        rows = session.scalars(query.order_by(LanguageModel.created_at, LanguageModel.id)).all()
        own = {row.name for row in rows if row.workspace_id == caller.workspace_id}
        named = [row for row in rows if row.workspace_id == caller.workspace_id or row.name not in own]
        answers = _answers(session, named, caller.workspace_id)
        return ModelListing(data=[answer for answer in answers if tag is None or tag in answer.tags])


@router.post("", status_code=201, responses=documented(409, 413, 415))
def add_model(caller: Admin, api: ApiDep, body: ModelIn, response: Response) -> AddedModelOut:
    """Register a language model, or change what a name stands for. Folders, hub ids and addresses must be among those
    that the operator lists in `ERRATA_MODEL_SOURCES`.
    """
    config = checked_entry(body, api.settings.allowed_model_sources)
    notes = doubts(config)  # the hub may take seconds: no session is open
    with api.db.begin() as session:
        row = put_entry(session, caller.workspace_id, body.name, body.engine, config)
        concerns(row.id)
        session.refresh(row)
        tags = tags_of(session, caller.workspace_id, [row.id]).get(row.id, [])
        response.headers["Location"] = f"/v1/models/{body.name}"
        return AddedModelOut.of(row, owned_by="operator", base_model=None, tags=tags, notes=notes)


@router.get("/{name}", responses=documented(404))
def get_model(caller: Reader, api: ApiDep, name: str) -> LanguageModelOut:
    """One language model by its name."""
    with api.db.read() as session:
        row = named(session, name, caller.workspace_id)
        return _answers(session, [row], caller.workspace_id)[0]


def _files(api: Api, name: str, workspace_id: str) -> list[StoredFile]:
    """The manifest's files and the manifest. An operator's entry has none here: its weights are the operator's."""
    with api.db.read() as session:
        row = find_model(session, name, workspace_id)
    if row is None:
        raise NotFound("there is no such language model; see GET /v1/models")
    if row.training_run_id is None:
        raise NotFound("this language model is the operator's; those that a training job made can be downloaded")
    folder = f"models/{row.training_run_id}"
    try:
        data = FileStore(api.store.files).read_bytes(f"{folder}/{MANIFEST}")
    except (FileNotFoundError, UnsafePath):
        raise NotFound("the language model's files are no longer in the file store") from None
    own = StoredFile(folder, MANIFEST, len(data), hashlib.sha256(data).hexdigest())
    return [*manifest_files(folder, json.loads(data)), own]


@router.get("/{name}/files", responses=documented(404))
def list_model_files(caller: Reader, api: ApiDep, name: str) -> Listing[FileOut]:
    """Every file of a trained language model, with size and SHA-256."""
    return Listing.whole(FileOut.listed(_files(api, name, caller.workspace_id), f"/v1/models/{name}/files"))


@router.head("/{name}/archive.zip", include_in_schema=False)
@router.get("/{name}/archive.zip", responses=ARCHIVE_RESPONSES, response_class=Response)
def download_model_archive(request: Request, caller: Reader, api: ApiDep, name: str) -> Response:
    """Every file of a trained language model as one ZIP archive, streamed, or a range of it."""
    return send_archive(request, FileStore(api.store.files), _files(api, name, caller.workspace_id), name)


@router.head("/{name}/files/{path:path}", include_in_schema=False)
@router.get("/{name}/files/{path:path}", responses=FILE_RESPONSES, response_class=Response)
def download_model_file(request: Request, caller: Reader, api: ApiDep, name: str, path: str) -> Response:
    """A file, or a range of it. Only paths the model's manifest lists exist."""
    return send_listed(request, FileStore(api.store.files), _files(api, name, caller.workspace_id), path)
