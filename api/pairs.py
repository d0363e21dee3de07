"""``/v1/pairs``: browsing preference pairs of all jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field
from sqlalchemy import select

from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row, where_given
from api.schemas import RowAnswer, RowId
from errata.types import EditorName, EvidenceKind, Form
from models.jobs import InjectionJob, PairRow

router = make_router("/v1/pairs", "pairs")


class PairOut(RowAnswer):
    """One pair: ``question`` + ``prefix`` is the prompt, ``chosen`` and ``rejected`` differ in the error."""

    object: Literal["pair"] = "pair"
    id: str
    job: str = Field(validation_alias="job_id")
    problem: str = Field(validation_alias="problem_id")
    solution: str = Field(validation_alias="solution_id")
    rejected_solution: str | None = Field(validation_alias="rejected_solution_id")
    edit: str | None = Field(validation_alias="edit_id")
    type: Literal["step", "full"]
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None = Field(description="Counts from 0; null for full pairs.")
    start: int | None = Field(description="Offset of the chosen step in its solution.")
    end: int | None
    error_kind: str | None
    form: str | None = Field(description="stands or consistent; null for full pairs and pairs of earlier versions.")
    editor: str | None = Field(description="words, slip, rule, mined or random-token; null where there is no form.")
    distance: int | None
    evidence_kind: str | None
    evidence: dict[str, Any] | None
    source: str
    language_model: str | None
    prompt_version: str | None
    seed: int | None
    created_at: datetime


@router.get("")
def list_pairs(
    caller: Reader,
    api: ApiDep,
    page: PageDep,
    job: Annotated[RowId | None, Query(description="Of one injection job.")] = None,
    type_: Annotated[Literal["step", "full"] | None, Query(alias="type")] = None,
    error_kind: Annotated[RowId | None, Query()] = None,
    form: Annotated[Form | None, Query()] = None,
    editor: Annotated[EditorName | None, Query()] = None,
    evidence: Annotated[EvidenceKind | None, Query()] = None,
    problem: Annotated[RowId | None, Query(description="Of one problem (its id).")] = None,
) -> Listing[PairOut]:
    """Pairs, oldest first."""
    filters = {
        PairRow.workspace_id: caller.workspace_id,
        PairRow.job_id: job,
        PairRow.type: type_,
        PairRow.error_kind: error_kind,
        PairRow.form: form,
        PairRow.editor: editor,
        PairRow.evidence_kind: evidence,
        PairRow.problem_id: problem,
    }
    with api.db.read() as session:
        if job is not None:
            body_row(session, InjectionJob, job, caller.workspace_id, "job")
        found = paginate(session, where_given(select(PairRow), filters), (PairRow.created_at, PairRow.id), page)
    return found.listing(PairOut.of)


@router.get("/{pair_id}", responses=documented(404))
def get_pair(caller: Reader, api: ApiDep, pair_id: str) -> PairOut:
    """One pair."""
    with api.db.read() as session:
        return PairOut.of(path_row(session, PairRow, pair_id, caller.workspace_id))
