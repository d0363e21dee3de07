"""``/v1/files``: files for fine-tuning, checked when they come and kept as they were sent.

The metrics of a job that has ended are a file as well, named by ``result_files``; it is made when it is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal, cast

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from api.http.auth import Reader, Writer
from api.http.downloads import FILE_RESPONSES, Download, gone, send
from api.http.errors import Invalid, NotFound, documented
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import Api, ApiDep, make_router
from api.http.uploads import Upload, format_by_name
from api.imports.ingest import Ingest, recognised
from api.life import free_space
from api.openai.ids import After, Keys, Page, anchor, public_id, row_id, rows_behind, unix
from api.openai.results import RESULT_PREFIX, result_csv, result_run
from api.schemas import Name
from errata.imports.config import ImportConfig
from errata.output_config import SplitConfig
from models.base import new_id
from models.deletion import hide
from models.files import FileStore, UnsafePath
from models.folders import list_files, write_manifest
from models.outputs import TrainingRun
from models.uploads import CONTENT, UploadedFile, upload_folder

router = make_router("/v1/files", "openai fine-tuning")
_PURPOSE = "fine-tune"
_FIELDS = {"purpose"}
_MOST_FIELDS = 16
_CHUNK = 1024 * 1024
_KEYS = Keys(UploadedFile.created_at, UploadedFile.id)
#: Every row is trained on: a validation file is what holds rows out.
ALL_ROWS = ImportConfig(split=SplitConfig(test=0.0))
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": [_PURPOSE]},
                    },
                    "required": ["file", "purpose"],
                }
            }
        },
    }
}


class FileObject(BaseModel):
    """A file, in OpenAI's shape."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Unix time, seconds.")
    expires_at: int | None = Field(None, description="Files are kept until they are deleted.")
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: str | None = None


class FileDeleted(BaseModel):
    """A file that is no more, in OpenAI's shape."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


@dataclass(frozen=True)
class Sent:
    """A form with a file on disk."""

    file: IO[bytes]
    name: str
    fields: dict[str, str]


async def receive_form(request: Request) -> AsyncIterator[Sent]:
    """The file of a form and its other fields, removed when the request ends. Raises Invalid."""
    form = await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=64 * 1024)
    try:
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if set(files) != {"file"}:
            raise Invalid.field("file", "the form holds no file of this name", "send multipart/form-data with `file`")
        yield Sent(cast(IO[bytes], files["file"].file), files["file"].filename or "", fields)
    finally:
        with suppress(OSError):
            await form.close()


SentDep = Annotated[Sent, Depends(receive_form, scope="function")]


def _checked_fields(sent: Sent) -> str:
    """The file's name. Raises Invalid for a purpose or a field that means nothing here."""
    unknown = sorted(set(sent.fields) - _FIELDS)
    if unknown:
        remedy = "leave it out: files are kept until you delete them" if "expires" in unknown[0] else "leave it out"
        raise Invalid.field(unknown[0][:80], "there is no such field here", remedy)
    if sent.fields.get("purpose") != _PURPOSE:
        raise Invalid.field("purpose", "files are taken for fine-tuning alone", f"give '{_PURPOSE}'")
    try:
        return TypeAdapter(Name).validate_python(sent.name or "file.jsonl")
    except ValidationError as error:
        told = str(error.errors()[0]["msg"])
        raise Invalid.field("file", f"its name cannot be kept: {told}", "give it a plain name") from None


def as_upload(content: IO[bytes], name: str) -> Upload:
    """A file's content as the importer reads it: JSON lines unless its name says otherwise."""
    return Upload(content, format_by_name(name.lower()) or "jsonl", is_document=False, name=name)


def _check(api: Api, upload: Upload) -> dict[str, Any]:
    """What a file holds, every row read. Raises Invalid and BadRequest naming the first bad lines."""
    found, rows = recognised(upload.rows(api.settings.upload_limit), None, {})
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        ingest = Ingest(found, ALL_ROWS, api.settings, nowhere)
        ingest.read(rows, refuse=True)
    report = ingest.report.as_dict()
    return {"format": found.known.name, **{name: report[name] for name in ("rows", "pairs", "samples", "duplicates")}}


def _publish(files: FileStore, content: IO[bytes], file_id: str) -> int:
    """Keep a file's content; its size in bytes."""
    content.seek(0)
    with files.scratch() as folder:
        with (folder / CONTENT).open("wb") as out:
            while chunk := content.read(_CHUNK):
                out.write(chunk)
        listed = list_files(folder)
        write_manifest(folder, {"files": listed})
        files.publish(folder, upload_folder(file_id))
    return int(listed[0]["bytes"])


@router.post("", responses=documented(408, 409, 413, 415), openapi_extra=_BODY)
def create_file(caller: Writer, api: ApiDep, who: IdempotencyDep, sent: SentDep, response: Response) -> FileObject:
    """Upload a file for fine-tuning: rows of preferences or of chat messages, as JSON lines. A bad row refuses it."""
    name = _checked_fields(sent)
    upload = as_upload(sent.file, name)
    digest = upload.digest()
    report = _check(api, upload)
    files, file_id, kept = FileStore(api.store.files), new_id("file"), False
    size = _publish(files, sent.file, file_id)

    def make(session: Session) -> str:
        about = {"name": name, "purpose": _PURPOSE, "size": size, "sha256": digest, "report": report}
        session.add(UploadedFile(id=file_id, workspace_id=caller.workspace_id, **about))
        session.flush()
        return file_id

    try:
        with api.db.begin() as session:
            body = [digest, name, _PURPOSE]
            found, new = once(session, api, who, caller.workspace_id, body, lambda: make(session))
            answer = _answer(session.get_one(UploadedFile, found))
        kept = found == file_id
    finally:
        if not kept:
            files.remove(upload_folder(file_id))
    response.headers["Idempotent-Replayed"] = str(not new).lower()
    return answer


def _answer(row: UploadedFile) -> FileObject:
    return FileObject(
        id=public_id(row.id), bytes=row.size, created_at=unix(row.created_at), filename=row.name, purpose=row.purpose
    )


@router.get("")
def list_files_of_workspace(
    caller: Reader,
    api: ApiDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Files per page.")] = 10_000,
    order: Annotated[Literal["asc", "desc"], Query(description="By the time of upload.")] = "desc",
    purpose: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[FileObject]:
    """Uploaded files, newest first. The results of jobs are named by their job alone."""
    own = UploadedFile.workspace_id == caller.workspace_id
    query = select(UploadedFile).where(own)
    if purpose is not None:
        query = query.where(UploadedFile.purpose == purpose.replace("\x00", ""))
    with api.db.read() as session:
        at = anchor(session, _KEYS, own, UploadedFile.id == (row_id(after) or "")) if after else None
        rows, more = rows_behind(session, query, _KEYS, at, limit, descending=order == "desc")
        return Page[FileObject].of([_answer(row) for (row,) in rows], has_more=more)


def find_file(session: Session, public: str, workspace_id: str) -> UploadedFile | None:
    """The file of this id; None for one that another workspace has."""
    found = session.get(UploadedFile, row_id(public) or "") if public.startswith("file-") else None
    return found if found is not None and found.workspace_id == workspace_id else None


def _file(session: Session, public: str, workspace_id: str) -> UploadedFile:
    found = find_file(session, public, workspace_id)
    if found is None:
        raise NotFound("there is no such file; see GET /v1/files, and `result_files` of a job that has ended")
    return found


def _result(session: Session, run: TrainingRun, public: str) -> tuple[FileObject, str]:
    text = result_csv(session, run)
    assert run.finished_at is not None
    answer = FileObject(
        id=public,
        bytes=len(text.encode()),
        created_at=unix(run.finished_at),
        filename="step_metrics.csv",
        purpose="fine-tune-results",
    )
    return answer, text


@router.get("/{file_id}", responses=documented(404))
def retrieve_file(caller: Reader, api: ApiDep, file_id: str) -> FileObject:
    """One file, or the results of a job."""
    with api.db.read() as session:
        run = result_run(session, file_id, caller.workspace_id)
        if run is not None:
            return _result(session, run, file_id)[0]
        return _answer(_file(session, file_id, caller.workspace_id))


@router.delete("/{file_id}", responses=documented(404, 409))
def delete_file(caller: Writer, api: ApiDep, file_id: str) -> FileDeleted:
    """Delete a file. Jobs that were made of it, and their datasets, stay."""
    with api.db.begin() as session:
        if file_id.startswith(RESULT_PREFIX) and result_run(session, file_id, caller.workspace_id) is not None:
            raise Invalid.field("file_id", "the results go with their job", "delete the training job instead")
        hide(session, [_file(session, file_id, caller.workspace_id)])
    free_space(api)
    return FileDeleted(id=file_id)


@router.get("/{file_id}/content", responses=FILE_RESPONSES, response_class=Response)
def retrieve_file_content(request: Request, caller: Reader, api: ApiDep, file_id: str) -> Response:
    """A file as it was sent, or the results of a job as CSV."""
    with api.db.read() as session:
        run = result_run(session, file_id, caller.workspace_id)
        if run is not None:
            return Response(_result(session, run, file_id)[1], media_type="text/csv; charset=utf-8")
        row = _file(session, file_id, caller.workspace_id)
    store, path = FileStore(api.store.files), f"{upload_folder(row.id)}/{CONTENT}"

    def chunks(start: int, stop: int) -> Iterator[bytes]:
        try:
            return store.chunks(path, start, stop)
        except (FileNotFoundError, UnsafePath):
            raise gone() from None

    name = re.sub(r"[^A-Za-z0-9._-]", "_", row.name)
    return send(request, Download(name, "application/octet-stream", row.size, row.sha256, chunks, lambda: row.sha256))
