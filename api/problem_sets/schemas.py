"""Problem sets, their problems, and brought solutions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from api.problem_sets.answer_criteria import checked
from api.problem_sets.mapping import ColumnMapping
from api.schemas import BadRow, Name, Request, RowAnswer, RowNote, json_value
from errata.types import Domain


class Tolerance(Request):
    """How far a number may lie from gold: in itself, or as a share of gold. The wider of the two counts."""

    abs: float | None = Field(None, ge=0)
    rel: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _given(self) -> Tolerance:
        if self.abs is None and self.rel is None:
            raise ValueError('give "abs", "rel" or both')
        return self


class ProblemIn(Request):
    """One problem in our fields. Rows of GSM8K, MATH, Step-DPO, verl and ``messages`` are taken as well."""

    question: str
    gold_answer: str
    gold_solution: str | None = None
    subject: str | None = None
    level: str | None = None
    id: str | None = Field(None, description="Your own id; unique in the set.")
    golds: list[str] | None = Field(None, description="Further answers that are right as well.")
    tolerance: Tolerance | None = Field(None, description="How far a number may lie from gold.")
    unordered: bool | None = Field(None, description="Whether the order of an answer's parts does not matter.")
    extract: str | None = Field(
        None,
        description="A regular expression that finds the answer in a line: group `answer`, else the first, else all.",
    )
    meta: dict[str, Any] = Field(default_factory=dict, description="What the domain's verifier needs.")


class ProblemSetHeader(Request):
    """What a problem set needs besides its problems, and what holds for every problem that does not say otherwise."""

    name: Name
    domain: Domain = Domain.MATH
    tolerance: Annotated[Tolerance | None, BeforeValidator(json_value)] = Field(
        None, description='How far a number may lie from gold, such as {"rel": 0.01}; as JSON in forms and addresses.'
    )
    unordered: bool | None = Field(None, description="Whether the order of an answer's parts does not matter.")
    extract: str | None = Field(None, description="A regular expression that finds the answer in a line.")
    benchmark: bool = Field(
        False, description="Whether it is a benchmark: datasets are checked for its questions (gate `contamination`)."
    )
    mapping: Annotated[dict[str, str] | None, BeforeValidator(json_value)] = Field(
        None,
        description='Which column holds which field: {"question": "q", "gold_answer": "final"}; a dot reaches into'
        " objects and lists (`prompt.0.content`). Other columns are left out. As JSON in forms and addresses.",
    )
    solutions: Literal["reference"] | None = Field(
        None,
        description="`reference`: the rows' own solutions are brought too, as solutions of the source `reference`.",
    )
    license: str | None = Field(None, max_length=200, description="On what terms the problems may be used.")
    source_url: str | None = Field(
        None, max_length=2000, pattern=r"^https?://\S+$", description="Where the problems come from."
    )

    @field_validator("extract")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value is not None:
            checked({"extract": value})
        return value

    @field_validator("mapping")
    @classmethod
    def _mapped(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        if value is not None:
            ColumnMapping(value)
        return value

    def criteria(self) -> dict[str, Any]:
        """What goes to the ``meta`` of the problems."""
        return self.model_dump(include={"tolerance", "unordered", "extract"}, exclude_none=True)


class ProblemSetIn(ProblemSetHeader):
    """A problem set as one JSON document. ``problems`` are read row by row (see ProblemIn)."""

    problems: list[Any] = Field(min_length=1, json_schema_extra={"items": {"$ref": "#/components/schemas/ProblemIn"}})


class HubSource(Request):
    """One split of a dataset on the hub."""

    dataset: str = Field(min_length=1, max_length=200, description="owner/name, as on the hub.")
    config: str | None = Field(None, min_length=1, max_length=200, description="Needed where there are several.")
    split: str = Field("train", min_length=1, max_length=200)
    revision: str | None = Field(
        None, min_length=1, max_length=200, description="Branch, tag or commit; default: the main branch."
    )


class HubProblemSetIn(ProblemSetHeader):
    """A problem set of rows that stand on the hub. Licence and source are the dataset card's unless they are given."""

    hub: HubSource


class ProblemSetOut(RowAnswer):
    """A problem set."""

    object: Literal["problem_set"] = "problem_set"
    id: str
    name: str
    domain: str
    problem_count: int
    content_sha256: str
    benchmark: bool = Field(description="Whether datasets are checked for its questions.")
    license: str | None = Field(description="As the sender told; on the card of every dataset made from it.")
    source_url: str | None
    rejected: list[BadRow] = Field(description="Rows not taken, by reason.")
    rejected_count: int | None = Field(None, description="How many rows were not taken; null for sets from before it.")
    tags: list[str] = Field(default_factory=list)
    notes: list[RowNote] = Field([], description="Of rows taken, what their sender should know.")
    created_at: datetime

    @field_validator("notes", mode="before")
    @classmethod
    def _none_yet(cls, value: Any) -> Any:
        return value or []  # null in sets from before the column


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
    rejected: list[BadRow] = Field(description="Rows not taken, by reason.")
