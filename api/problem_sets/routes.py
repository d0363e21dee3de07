"""``/v1/problem-sets``: posting problems and brought solutions, as documents or files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Query, Response
from pydantic import BaseModel
from sqlalchemy import select

from api.http.auth import Reader, Writer
from api.http.errors import documented
from api.http.idempotency import Idempotency, IdempotencyDep, once
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing, PageDep, child_listing, paginate, path_row
from api.http.uploads import Upload, UploadDep, rows_of
from api.problem_sets.formats import SOLUTION_FIELDS
from api.problem_sets.ingest import OnBadRow, Reading, read_problems
from api.problem_sets.reading import Sent, default_of, read_document, read_request, rule_in_form, validated
from api.problem_sets.schemas import (
    HubProblemSetIn,
    ProblemIn,
    ProblemOut,
    ProblemSetHeader,
    ProblemSetIn,
    ProblemSetOut,
    SolutionIn,
    SolutionsIn,
    SolutionsOut,
)
from api.problem_sets.solutions import read_solutions, store_solutions
from api.problem_sets.store import (
    Identity,
    bring_references,
    bring_references_early,
    find_by_upload,
    store_problem_set,
    tell_origin,
)
from api.schemas import Tag
from errata.types import Domain
from models.curation import tagged, tags_of
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1/problem-sets", "problem sets")
M = TypeVar("M", bound=BaseModel)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
OnBadRowParam = Annotated[
    OnBadRow | None,
    Query(description="What a bad row does. Default: 'report' for files, 'refuse' for JSON documents."),
]


def _body(documents: list[type[Any]], form: list[str]) -> dict[str, Any]:
    """The OpenAPI request body of a route that takes one of some documents, or a file."""
    fields: dict[str, Any] = {name: {"type": "string"} for name in form} | {"file": _BINARY["schema"]}
    types = (
        *("application/jsonl", "application/x-ndjson", "text/csv", "text/tab-separated-values"),
        *("application/vnd.apache.parquet", "application/gzip", "application/zstd"),
    )
    content: dict[str, Any] = dict.fromkeys(types, _BINARY)
    schemas = [{"$ref": f"#/components/schemas/{document.__name__}"} for document in documents]
    content["application/json"] = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
    content["multipart/form-data"] = {"schema": {"type": "object", "properties": fields, "required": ["file"]}}
    return {"requestBody": {"required": True, "content": content}}


#: Schemas that only hand-written request bodies refer to (api.app adds them to OpenAPI).
DOCUMENTS = (ProblemIn, ProblemSetIn, HubProblemSetIn, SolutionIn, SolutionsIn)


@router.post(
    "",
    status_code=201,
    responses={
        **documented(408, 409, 413, 415, 503),
        200: {"description": "The set that holds the same problems already."},
    },
    openapi_extra=_body([ProblemSetIn, HubProblemSetIn], [*ProblemSetHeader.model_fields, "on_bad_row"]),
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
    benchmark: Annotated[bool | None, Query(description="For raw files: whether it is a benchmark.")] = None,
    mapping: Annotated[
        str | None, Query(max_length=4000, description='For raw files: JSON, `{"question": "q", "gold_answer": "a"}`.')
    ] = None,
    solutions: Annotated[Literal["reference"] | None, Query(description="For raw files.")] = None,
    license: Annotated[str | None, Query(max_length=200, description="For raw files: terms of use.")] = None,
    source_url: Annotated[
        str | None, Query(max_length=2000, description="For raw files: where they come from.")
    ] = None,
    on_bad_row: OnBadRowParam = None,
) -> ProblemSetOut:
    """Post problems: a JSON document, or a file (JSON lines, JSON, CSV, TSV, Parquet; gzip and zstd of these).

    A JSON document may name a dataset on the hub instead of its problems, where the operator allows it.
    Rows are in our fields, in those of a known format, or in columns that `mapping` names. The same problems with the
    same name and domain again answer the set that is there (200); it keeps its licence and source, if it has them.
    """
    given = {
        "name": name,
        "domain": domain,
        "tolerance": tolerance,
        "unordered": unordered,
        "extract": extract,
        "mapping": mapping,
        "solutions": solutions,
        "benchmark": benchmark,
        "license": license,
        "source_url": source_url,
    }
    set_id, created, replayed, told = take_problems(api, who, caller.workspace_id, upload, given, on_bad_row)
    with api.db.read() as session:
        answer = ProblemSetOut.of(session.get_one(ProblemSet, set_id), **told)
    response.headers["Location"] = f"/v1/problem-sets/{set_id}"
    response.headers["Idempotent-Replayed"] = str(replayed).lower()
    response.status_code = 201 if created or replayed else 200
    return answer


def take_problems(
    api: Api,
    who: Idempotency,
    workspace_id: str,
    upload: Upload,
    given: dict[str, Any],
    on_bad_row: OnBadRow | None,
) -> tuple[str, bool, bool, dict[str, Any]]:
    """Store an upload: the set's id, whether it is new, whether the idempotency key answered, what its rows are told.

    ``given``: header fields that stand outside the body. Raises Invalid naming a field or the first bad rows.
    """
    sent = read_request(upload, api, given, on_bad_row)
    identity = Identity(workspace_id, sent.header.name, str(sent.header.domain), sent.header.benchmark)
    with api.db.read() as session:
        known = find_by_upload(session, identity, sent.sha256)
    if known is None:
        return _stored(api, who, identity, sent)
    set_id, replayed = _known(api, who, identity, sent, known)
    return set_id, False, replayed, {}


def _known(api: Api, who: Idempotency, identity: Identity, sent: Sent, known: ProblemSet) -> tuple[str, bool]:
    """The id of the set that this very upload made, and whether the idempotency key answered with it."""
    set_id, adds = known.id, sent.origin.adds_to(known)
    if who.key is None and sent.header.solutions is None and not adds:
        return set_id, False
    with api.db.begin() as session:

        def again() -> str:
            if sent.header.solutions:
                bring_references(session, set_id)
            tell_origin(session, set_id, sent.origin)
            return set_id

        set_id, new = once(session, api, who, identity.workspace_id, sent.body, again)
        return set_id, not new


def _stored(api: Api, who: Idempotency, identity: Identity, sent: Sent) -> tuple[str, bool, bool, dict[str, Any]]:
    """The id of the set with these problems, whether it is new, and whether the idempotency key answered with it.

    With it what is to be told about the rows of this upload: the same problems may have come with other bad rows.
    """
    columns: list[str] = []
    created = False
    # Read before the transaction opens: a large file would hold the write lock for its whole reading.
    with read_problems(sent.rows(columns), columns, sent.reading, api.db) as problems:
        early = bool(sent.header.solutions) and problems.stored
        if early:
            bring_references_early(api.db, problems)
        with api.db.begin() as session:

            def make() -> str:
                nonlocal created
                set_id, created = store_problem_set(session, identity, sent.sha256, problems)
                if sent.header.solutions and not (created and early):
                    bring_references(session, set_id)
                tell_origin(session, set_id, sent.origin)
                return set_id

            set_id, new = once(session, api, who, identity.workspace_id, sent.body, make)
        told = {
            "rejected": problems.bad.listed(),
            "rejected_count": problems.bad.count,
            "notes": problems.notes.listed(),
        }
    return set_id, created, not new, told if new else {}


@router.get("")
def list_problem_sets(
    caller: Reader, api: ApiDep, page: PageDep, tag: Annotated[Tag | None, Query()] = None
) -> Listing[ProblemSetOut]:
    """Problem sets, newest first."""
    query = select(ProblemSet).where(ProblemSet.workspace_id == caller.workspace_id)
    if tag is not None:
        query = query.where(tagged(ProblemSet, caller.workspace_id, tag))
    with api.db.read() as session:
        found = paginate(session, query, (ProblemSet.created_at, ProblemSet.id), page, descending=True)
        tags = tags_of(session, caller.workspace_id, [row.id for row in found.rows])
    return found.listing(lambda row: ProblemSetOut.of(row, tags=tags.get(row.id, [])))


@router.get("/{problem_set_id}", responses=documented(404))
def get_problem_set(caller: Reader, api: ApiDep, problem_set_id: str) -> ProblemSetOut:
    """One problem set."""
    with api.db.read() as session:
        row = path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
        return ProblemSetOut.of(row, tags=tags_of(session, caller.workspace_id, [row.id]).get(row.id, []))


@router.get("/{problem_set_id}/problems", responses=documented(404))
def list_problems(caller: Reader, api: ApiDep, problem_set_id: str, page: PageDep) -> Listing[ProblemOut]:
    """The problems of a set, in posting order."""
    filters = {ProblemRow.problem_set_id: problem_set_id}
    keys = (ProblemRow.position,)
    return child_listing(ProblemOut.of, api.db, ProblemSet, problem_set_id, caller.workspace_id, keys, page, filters)


@router.post(
    "/{problem_set_id}/solutions",
    responses=documented(404, 408, 413, 415),
    openapi_extra=_body([SolutionsIn], ["on_bad_row"]),
)
def bring_solutions(
    caller: Writer, api: ApiDep, problem_set_id: str, upload: UploadDep, on_bad_row: OnBadRowParam = None
) -> SolutionsOut:
    """Bring solutions along instead of sampling them. Sending the same ones again changes nothing."""
    if upload.is_document:
        rows = rows_of(validated(SolutionsIn, read_document(upload, api)).solutions)
    else:
        rows = upload.rows(api.settings.upload_limit, SOLUTION_FIELDS)
    rule = on_bad_row or rule_in_form(upload) or default_of(upload)
    reading = Reading(api.settings, rule, upload.is_document)
    # Looked up twice: first so that a wrong id is told before a large file is read, then in the transaction.
    with api.db.read() as session:
        path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
    with read_solutions(rows, reading) as solutions, api.db.begin() as session:
        problem_set = path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
        return store_solutions(session, problem_set, solutions)
