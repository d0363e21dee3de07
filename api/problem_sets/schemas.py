"""Problem sets, their problems, and brought solutions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas import BadRow, Name, Request, RowAnswer
from errata.types import Domain


class ProblemIn(Request):
    """One problem in our fields. Rows in GSM8K's, MATH's and Step-DPO's fields are taken as well."""

    question: str
    gold_answer: str
    gold_solution: str | None = None
    subject: str | None = None
    level: str | None = None
    id: str | None = Field(None, description="Your own id; unique in the set.")
    meta: dict[str, Any] = Field(default_factory=dict, description="What the domain's verifier needs.")


class ProblemSetHeader(Request):
    """What a problem set needs besides its problems."""

    name: Name
    domain: Domain = Domain.MATH


class ProblemSetIn(ProblemSetHeader):
    """A problem set as one JSON document. ``problems`` are read row by row (see ProblemIn)."""

    problems: list[Any] = Field(min_length=1, json_schema_extra={"items": {"$ref": "#/components/schemas/ProblemIn"}})


class ProblemSetOut(RowAnswer):
    """A problem set."""

    object: Literal["problem_set"] = "problem_set"
    id: str
    name: str
    domain: str
    problem_count: int
    content_sha256: str
    rejected: list[BadRow] = Field(description="Rows not taken, up to the server's limit.")
    created_at: datetime


class ProblemOut(RowAnswer):
    """One problem of a set; ``position`` counts from 0 in posting order."""

    object: Literal["problem"] = "problem"
    id: str
    problem_set: str = Field(validation_alias="problem_set_id")
    position: int
    external_id: str | None
    question: str
    gold_answer: str
    gold_solution: str | None
    subject: str | None
    level: str | None
    meta: dict[str, Any]


class SolutionIn(Request):
    """One brought solution."""

    problem: int | str = Field(description="Position (from 0), problem id, or your own id of the problem.")
    source: str = Field(description="Who wrote it; one solution per problem and source.")
    text: str
    label: bool | None = Field(None, description="Your own verdict; compared with ours, never used for it.")


class SolutionsIn(Request):
    """Brought solutions as one JSON document."""

    solutions: list[Any] = Field(min_length=1, json_schema_extra={"items": {"$ref": "#/components/schemas/SolutionIn"}})


class SolutionsOut(BaseModel):
    """What became of brought solutions: ``received = added + existing + rejected_count``."""

    object: Literal["brought_solutions"] = "brought_solutions"
    problem_set: str
    received: int
    added: int
    existing: int = Field(description="The same problem, source and text came before.")
    rejected_count: int
    rejected: list[BadRow] = Field(description="Rows not taken, up to the server's limit.")
