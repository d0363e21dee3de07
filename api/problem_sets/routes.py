"""``/v1/problem-sets``: posting problems and brought solutions, as documents or files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from fastapi import Query, Response
from pydantic import BaseModel
from sqlalchemy import select

from api.http import strict_json
from api.http.auth import Reader, Writer
from api.http.errors import BadRequest, FieldError, documented, invalid_below
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing, PageDep, child_listing, paginate, path_row
from api.http.uploads import RawRow, Upload, UploadDep, read_rows, rows_of
from api.problem_sets.ingest import OnBadRow, parse_problems, parse_solutions, store_problem_set, store_solutions
from api.problem_sets.schemas import (
    ProblemIn,
    ProblemOut,
    ProblemSetHeader,
    ProblemSetIn,
    ProblemSetOut,
    SolutionIn,
    SolutionsIn,
    SolutionsOut,
)
from errata.types import Domain
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1/problem-sets", "problem sets")
M = TypeVar("M", bound=BaseModel)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
OnBadRowParam = Annotated[
    OnBadRow | None,
    Query(description="What a bad row does. Default: 'report' for files, 'refuse' for JSON documents."),
]


def _body(document: type[Any], form: list[str]) -> dict[str, Any]:
    """The OpenAPI request body of a route that takes a document or a file."""
    fields: dict[str, Any] = {name: {"type": "string"} for name in form} | {"file": _BINARY["schema"]}
    types = ("application/jsonl", "application/x-ndjson", "text/csv", "application/vnd.apache.parquet")
    content: dict[str, Any] = dict.fromkeys(types, _BINARY)
    content["application/json"] = {"schema": {"$ref": f"#/components/schemas/{document.__name__}"}}
    content["multipart/form-data"] = {"schema": {"type": "object", "properties": fields, "required": ["file"]}}
    return {"requestBody": {"required": True, "content": content}}


#: Schemas that only hand-written request bodies refer to (api.app adds them to OpenAPI).
DOCUMENTS = (ProblemIn, ProblemSetIn, SolutionIn, SolutionsIn)


def _document(upload: Upload, api: Api) -> Any:
    try:
        return strict_json.loads(upload.open(api.settings.body_limit).read())
    except strict_json.JsonError as error:
        message = f"not acceptable JSON: {error}"
        raise BadRequest(message, [FieldError(field="body", message=message, remedy="send one JSON object")]) from None


def _rows(upload: Upload, api: Api) -> Iterator[RawRow]:
    return read_rows(upload.open(api.settings.upload_limit), upload.format, api.settings.upload_limit * 4)


@router.post(
    "",
    status_code=201,
    responses=documented(409, 413, 415),
    openapi_extra=_body(ProblemSetIn, ["name", "domain", "tolerance", "unordered", "extract", "license", "source_url"]),
)
def create_problem_set(
    caller: Writer,
    api: ApiDep,
    who: IdempotencyDep,
    upload: UploadDep,
    response: Response,
    name: Annotated[str | None, Query(max_length=200, description="For raw files: the set's name.")] = None,
    domain: Annotated[Domain | None, Query(description="For raw files.")] = None,
    tolerance: Annotated[str | None, Query(max_length=200, description='For raw files: JSON, `{"rel": 0.01}`.')] = None,
    unordered: Annotated[bool | None, Query(description="For raw files.")] = None,
    extract: Annotated[str | None, Query(max_length=300, description="For raw files: a regular expression.")] = None,
    license: Annotated[str | None, Query(max_length=200, description="For raw files: terms of use.")] = None,
    source_url: Annotated[
        str | None, Query(max_length=2000, description="For raw files: where they come from.")
    ] = None,
    on_bad_row: OnBadRowParam = None,
) -> ProblemSetOut:
    """Post problems: a JSON document, or a file (JSON lines, JSON, CSV, Parquet; our fields or a known format)."""
    header: ProblemSetHeader
    if upload.is_document:
        header = document = _validated(ProblemSetIn, _document(upload, api))
        rows = rows_of(document.problems)
    else:
        criteria = {"tolerance": tolerance, "unordered": unordered, "extract": extract}
        origin = {"license": license, "source_url": source_url}
        given = {"name": name, "domain": domain, **criteria, **origin, **upload.fields}
        header = _validated(ProblemSetHeader, {key: value for key, value in given.items() if value is not None})
        rows = _rows(upload, api)
    # Parsed before the transaction opens: a large file would hold the write lock for its whole reading.
    on_bad, criteria = on_bad_row or _default(upload), header.criteria()
    parsed = parse_problems(rows, api.settings, on_bad, document=upload.is_document, criteria=criteria)
    body: list[Any] = [header.name, header.domain, on_bad_row, upload.digest(), *([criteria] if criteria else [])]
    told = {"license": header.license, "source_url": header.source_url}
    body += [told] if any(told.values()) else []

    def store() -> str:
        stored = store_problem_set(session, caller.workspace_id, header.name, header.domain, parsed)
        stored.license, stored.source_url = header.license, header.source_url
        return stored.id

    with api.db.begin() as session:
        set_id, new = once(
            session,
            api,
            who,
            caller.workspace_id,
            body,
            store,
        )
        answer = ProblemSetOut.of(session.get_one(ProblemSet, set_id), notes=parsed.notes)
    response.headers["Location"] = f"/v1/problem-sets/{set_id}"
    response.headers["Idempotent-Replayed"] = str(not new).lower()
    return answer


def _default(upload: Upload) -> OnBadRow:
    return "refuse" if upload.is_document else "report"


def _validated(model: type[M], value: Any) -> M:
    with invalid_below():
        return model.model_validate(value)


@router.get("")
def list_problem_sets(caller: Reader, api: ApiDep, page: PageDep) -> Listing[ProblemSetOut]:
    """Problem sets, newest first."""
    query = select(ProblemSet).where(ProblemSet.workspace_id == caller.workspace_id)
    with api.db.read() as session:
        found = paginate(session, query, (ProblemSet.created_at, ProblemSet.id), page, descending=True)
    return found.listing(ProblemSetOut.of)


@router.get("/{problem_set_id}", responses=documented(404))
def get_problem_set(caller: Reader, api: ApiDep, problem_set_id: str) -> ProblemSetOut:
    """One problem set."""
    with api.db.read() as session:
        return ProblemSetOut.of(path_row(session, ProblemSet, problem_set_id, caller.workspace_id))


@router.get("/{problem_set_id}/problems", responses=documented(404))
def list_problems(caller: Reader, api: ApiDep, problem_set_id: str, page: PageDep) -> Listing[ProblemOut]:
    """The problems of a set, in posting order."""
    filters = {ProblemRow.problem_set_id: problem_set_id}
    keys = (ProblemRow.position,)
    return child_listing(ProblemOut.of, api.db, ProblemSet, problem_set_id, caller.workspace_id, keys, page, filters)


@router.post(
    "/{problem_set_id}/solutions",
    responses=documented(404, 413, 415),
    openapi_extra=_body(SolutionsIn, []),
)
def bring_solutions(
    caller: Writer, api: ApiDep, problem_set_id: str, upload: UploadDep, on_bad_row: OnBadRowParam = None
) -> SolutionsOut:
    """Bring solutions along instead of sampling them. Sending the same ones again changes nothing."""
    if upload.is_document:
        rows = rows_of(_validated(SolutionsIn, _document(upload, api)).solutions)
    else:
        rows = _rows(upload, api)
    refuse_or_report = on_bad_row or _default(upload)
    # Looked up twice: first so that a wrong id is told before a large file is read, then in the transaction.
    with api.db.read() as session:
        path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
    parsed = parse_solutions(rows, api.settings, refuse_or_report, document=upload.is_document)
    with api.db.begin() as session:
        problem_set = path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
        return store_solutions(session, problem_set, parsed, api.settings, refuse_or_report)
