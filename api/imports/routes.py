"""``POST /v1/datasets/import``: a preference file becomes a dataset without jobs.

The file is read and checked within the request, so that its sender hears of bad rows at once. A worker then writes the
dataset from the checked rows, which lie in the file store until the next import after it has ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Response
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.datasets import DatasetOut
from api.datasets import jobs as datasets
from api.http.auth import Writer
from api.http.errors import Conflict, documented, invalid_below
from api.http.idempotency import Idempotency, IdempotencyDep, once
from api.http.routing import Api, ApiDep, accepted, make_router
from api.http.uploads import Upload, UploadDep
from api.imports.ingest import Ingest, Recognised, recognised
from api.imports.report import Report
from api.imports.schemas import ImportIn
from api.quotas import admit_job
from errata.imports.config import FormatName, ImportConfig
from errata.seeds import Split
from models.base import new_id
from models.files import FileStore
from models.folders import write_manifest
from models.imports import ROWS, staged_folder
from models.outputs import Dataset
from models.states import JobState
from workers.dispatch import Hint, plan_dataset

router: APIRouter = make_router("/v1/datasets", "datasets")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = ("name", "format", "mapping", "license", "source_url", "file_name", "config", "on_bad_row")
#: Schemas that only parameters with JSON refer to (api.app adds them to OpenAPI).
DOCUMENTS = (ImportConfig,)
_ENDED_EMPTY = (JobState.FAILED, JobState.CANCELLED)
T = TypeVar("T")


def _body() -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "string"} for name in _FORM} | {"file": _BINARY["schema"]}
    types = ("application/jsonl", "application/json", "text/csv", "application/vnd.apache.parquet")
    content: dict[str, Any] = dict.fromkeys(types, _BINARY)
    content["multipart/form-data"] = {"schema": {"type": "object", "properties": fields, "required": ["file"]}}
    return {"requestBody": {"required": True, "content": content}}


def _param(text: str) -> Any:
    return Query(max_length=10_000, description=text)


@router.post(
    "/import",
    status_code=202,
    responses={
        200: {"model": DatasetOut, "description": "The same import came before."},
        **documented(409, 413, 415, 429),
    },
    openapi_extra=_body(),
)
def import_dataset(
    caller: Writer,
    api: ApiDep,
    who: IdempotencyDep,
    upload: UploadDep,
    response: Response,
    name: Annotated[str | None, _param("For raw files, as the other parameters: the dataset's name.")] = None,
    format: Annotated[FormatName | None, _param("Told by the file's columns where it is not given.")] = None,
    mapping: Annotated[
        str | None, _param('JSON: field to column, `{"prompt": "instruction"}`; `a.b` for nested ones.')
    ] = None,
    license: Annotated[str | None, _param("Of the file, such as `cc-by-4.0`; stands on the card.")] = None,
    source_url: Annotated[str | None, _param("Where the file is from; stands on the card.")] = None,
    file_name: Annotated[str | None, _param("The file's name; a form tells it.")] = None,
    config: Annotated[str | None, _param("JSON, schema: ImportConfig.")] = None,
    on_bad_row: Annotated[
        Literal["report", "refuse"] | None, _param("Leave bad rows out and list them, or refuse the file.")
    ] = None,
) -> DatasetOut:
    """Import a preference file: OpenAI, TRL, KTO, SFT, Step-DPO, HH or Errata's own rows; JSON lines, CSV, Parquet."""
    given: dict[str, Any] = {
        "name": name,
        "format": format,
        "mapping": mapping,
        "license": license,
        "source_url": source_url,
        "file_name": file_name or upload.name or None,
        "config": config,
        "on_bad_row": on_bad_row,
        **upload.fields,
    }
    row_id, created, replayed = take_preferences(api, who, caller.workspace_id, upload, given)
    with api.db.read() as session:
        answer = datasets.one(session, row_id)
    accepted(response, f"/v1/datasets/{row_id}", replayed=replayed)
    if not created:
        response.status_code = 200
    return answer


def take_preferences(
    api: Api, who: Idempotency, workspace_id: str, upload: Upload, given: dict[str, Any]
) -> tuple[str, bool, bool]:
    """Import a file: the dataset's id, whether it was added, whether the idempotency key was used.

    ``given``: what is told of the file, by name; nulls are left out. Raises Invalid naming a field or the first bad
    rows, BadRequest for a damaged file, and what a quota refuses.
    """
    with invalid_below():
        body = ImportIn.model_validate({key: value for key, value in given.items() if value is not None})
    with invalid_below("config"):
        settings = ImportConfig.model_validate(body.config)
    return _import(api, who, workspace_id, upload, body, settings)


def _import(
    api: Api, who: Idempotency, workspace_id: str, upload: Upload, body: ImportIn, settings: ImportConfig
) -> tuple[str, bool, bool]:
    """Check and stage the file unless the same import came before; see ``_store`` for the answer."""
    digest = upload.digest()
    key = import_key(digest, body, settings)
    dataset = Dataset(id=new_id("ds"), workspace_id=workspace_id, name=body.name, import_key=key)
    with api.db.read() as session:
        found = existing_import(session, workspace_id, key)
    if found is not None:
        return _store(api, who, dataset, key)
    # Read and staged before the transaction opens: a large file would hold the write lock for its whole reading.
    files = FileStore(api.store.files)
    about = stage(api, files, [Part(upload)], body, settings, dataset.id)
    told = {"file": body.file_name, "file_sha256": digest, **about}
    dataset.config = {"jobs": [], **settings.model_dump(mode="json"), "import": told}
    created = False
    try:
        row_id, created, replayed = _store(api, who, dataset, key)
    finally:
        if not created:
            files.remove(staged_folder(dataset.id))
    return row_id, created, replayed


@dataclass(frozen=True)
class Part:
    """One of the files that become a dataset; ``split``: where its rows go, drawn by question where it is None."""

    upload: Upload
    split: Split | None = None


def import_key(digest: str, body: ImportIn, settings: ImportConfig) -> str:
    """What makes two imports the same: the file, its name as a dataset, and everything that decides on its rows."""
    values = [digest, body.model_dump(mode="json", exclude={"config", "file_name"}), settings.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def existing_import(session: Session, workspace_id: str, key: str) -> str | None:
    """The dataset of the same import, unless it ended without files."""
    same = select(Dataset.id).where(Dataset.workspace_id == workspace_id, Dataset.import_key == key)
    return session.scalar(same.where(Dataset.state.not_in(_ENDED_EMPTY)))


def stage(
    api: Api, files: FileStore, parts: Sequence[Part], body: ImportIn, settings: ImportConfig, dataset_id: str
) -> dict[str, Any]:
    """Check the files' rows and leave them for the worker; what is told of them. Raises Invalid and BadRequest."""
    limit = api.settings.upload_limit
    read = [recognised(part.upload.rows(limit), body.format, body.mapping) for part in parts]
    first = read[0][0]
    with files.scratch() as folder:
        with (folder / ROWS).open("w", encoding="utf-8", newline="\n") as out:
            ingest = Ingest(first, settings, api.settings, out)
            for part, (found, rows) in zip(parts, read, strict=True):
                ingest.read(rows, refuse=body.on_bad_row == "refuse", found=found, split=part.split)
        write_manifest(folder, {"files": []})
        files.publish(folder, staged_folder(dataset_id))
    return _told(first, body, ingest.report)


def _told(found: Recognised, body: ImportIn, report: Report) -> dict[str, Any]:
    return {
        "format": found.known.name,
        "mapping": body.mapping,
        "license": body.license,
        "source_url": body.source_url,
        "ignored_columns": found.ignored,
        **report.as_dict(),
    }


def _store(api: Api, who: Idempotency, dataset: Dataset, key: str) -> tuple[str, bool, bool]:
    """Add the dataset unless the same import came before: its id, whether it was added, whether the key was used."""
    hints: list[Hint] = []

    def make(session: Session) -> str:
        found = existing_import(session, dataset.workspace_id, key)
        if found is not None:
            return found
        admit_job(session, dataset.workspace_id, Dataset)
        row, planned = add_import(session, dataset, key)
        hints.extend(planned)
        return row.id

    def attempt() -> tuple[str, bool]:
        hints.clear()
        with api.db.begin() as session:
            return once(session, api, who, dataset.workspace_id, key, lambda: make(session))

    row_id, new = again_behind_another(attempt)
    api.dispatcher.send(hints)
    return row_id, row_id == dataset.id, not new


def again_behind_another(attempt: Callable[[], T]) -> T:
    """What ``attempt`` returns, a transaction that looks for an import and adds it.

    Where another request added the same one meanwhile, a second attempt finds it.
    """
    try:
        return attempt()
    except IntegrityError:
        return attempt()


def add_import(session: Session, dataset: Dataset, key: str) -> tuple[Dataset, list[Hint]]:
    """Add a staged dataset in the caller's transaction, as a row of its own: it may be tried again.

    Raises Conflict, and IntegrityError where the same import was added meanwhile.
    """
    if dataset.config is None:
        raise Conflict("the dataset of this import has just ended without files; send the file again")
    # One that ended without files gives its key away. Another request's, committed since this one looked, keeps it:
    # the row below then collides with it.
    same = update(Dataset).where(Dataset.workspace_id == dataset.workspace_id, Dataset.import_key == key)
    session.execute(same.where(Dataset.state.in_(_ENDED_EMPTY)).values(import_key=None))
    row = Dataset(
        id=dataset.id,
        workspace_id=dataset.workspace_id,
        name=dataset.name,
        import_key=key,
        config=dataset.config,
    )
    session.add(row)
    session.flush()
    return row, plan_dataset(session, row)
