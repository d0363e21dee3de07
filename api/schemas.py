"""What several resources share: requests, answers made from rows, and how far a job is."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.http import strict_json
from api.http.strict_json import JsonError, check_text
from models.curation import MOST_TAGS


def _storable(text: str) -> str:
    try:
        check_text(text)
    except JsonError as error:
        raise ValueError(f"holds {error}") from None
    return text


Storable = AfterValidator(_storable)
# Constraints first: behind a function they would check the text before stripping it.
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)]
RowId = Annotated[str, StringConstraints(max_length=80), AfterValidator(_storable)]
ProblemName = Annotated[str, StringConstraints(min_length=1, max_length=1_000), Storable]  # our id, or the caller's own
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), Storable]
Tags = Annotated[list[Tag], Field(max_length=MOST_TAGS)]


class Request(BaseModel):
    """A request body: unknown fields are refused, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class RowAnswer(BaseModel):
    """An answer read from a row's attributes. A field whose column has another name says so by ``validation_alias``."""

    model_config = ConfigDict(from_attributes=True, validate_by_name=True, validate_by_alias=True)

    @classmethod
    def of(cls, row: Any, **more: Any) -> Self:
        """The answer for a row; ``more`` is what the row does not hold, or holds otherwise."""
        known = {**getattr(row, "__dict__", {}), **more}
        # Pydantic reads a dictionary much faster. A property, or a column that is not loaded, is not in it.
        unread = (pair for pair in _sources(cls) if known.keys().isdisjoint(pair))
        if any(hasattr(type(row), name) for pair in unread for name in pair):
            return cls.model_validate(_Joined(row, more))
        return cls.model_validate(known)


@cache
def _sources(model: type[RowAnswer]) -> list[tuple[str, str]]:
    """Each field's name and alias: where a row has the field, it has an attribute by one of them."""
    fields = model.model_fields.items()
    return [(name, alias if isinstance(alias := field.validation_alias, str) else name) for name, field in fields]


class _Joined:
    """A row and what is known beside it, as the one object that pydantic reads attributes from."""

    def __init__(self, row: Any, more: dict[str, Any]) -> None:
        self.__dict__.update(more)
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)  # reached only for names that ``more`` does not hold


def key_of(name: str, default: Any = None) -> BeforeValidator:
    """For a field that is one key of a JSON column, whose name is its alias. A null column holds no key."""
    return BeforeValidator(lambda column: (column or {}).get(name, default))


class _OfRows(BaseModel):
    """What is told about rows of a file; equal texts are one entry."""

    line: int = Field(description="First such line of the file (row number in JSON and Parquet), from 1.")
    count: int = Field(1, description="How many rows this is about.")
    lines: list[int] = Field([], description="The first of them, at most ten.")


class BadRow(_OfRows):
    """Rows that were not taken, all for one reason."""

    reason: str


class RowNote(_OfRows):
    """Something to know about rows that were taken."""

    note: str


class ShardCounts(BaseModel):
    """How far a leased computation is: shards per state, and per stage those that are waiting or running."""

    total: int
    queued: int
    running: int
    done: int
    quarantined: int
    cancelled: int
    skipped: int = Field(0, description="Never begun: their job reached a limit of its `config.stop` before.")
    stages: dict[str, dict[str, int]] = Field(description="stage -> state -> shards, without those that ended.")


class StageProgress(BaseModel):
    """What the running shards of one stage have made so far. Of a shard that is requeued, its part starts anew."""

    unit: str = Field(description="What the stage makes: samples, edits, continuations, answers or pairs.")
    made: int
    total: int = Field(description="The most there will be; adaptive sampling spares some.")
    tokens: int = Field(description="Generated tokens.")
    doing: str | None = Field(None, description="What a shard waits for before it makes anything: engine or model.")


class Progress(BaseModel):
    """How far a job is. Rate and ETA are null until something has been measured."""

    fraction: float = Field(
        ge=0, le=1, description="Share of all stages of all shards that has ended, running stages by what they made."
    )
    shards: ShardCounts
    problems_done: int
    problems_total: int
    elapsed_seconds: float | None
    problems_per_second: float | None
    eta_seconds: float | None
    queue_position: int | None = Field(None, description="From 1, among jobs that wait; null once running.")
    inside: dict[str, StageProgress] = Field(
        default_factory=dict, description="stage -> what its running shards have made, where they tell."
    )
    tokens: dict[str, int] = Field(
        default_factory=dict,
        description="Language model tokens so far, by kind. `reused` stand in answers kept from earlier requests:"
        " nothing was spent on them.",
    )
    made: dict[str, int] = Field(default_factory=dict, description="Samples and edits so far, of all stages.")


class StateOut(RowAnswer):
    """What everything tells that starts and ends: jobs over shards, estimates and training jobs."""

    id: str
    state: str
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobOut(StateOut):
    """What every job over shards tells: injection jobs, datasets, evaluations, rejudgings."""

    partial: bool = Field(description="It ended without some of its shards.")
    progress: Progress


def json_value(value: Any) -> Any:
    """The value of a form field or query parameter, which holds JSON as text. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except strict_json.JsonError as error:
        raise ValueError(f"not acceptable JSON: {error}; give an object such as the description shows") from None
