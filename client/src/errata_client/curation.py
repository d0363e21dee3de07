"""What the service answers about reviews, retractions, lineage, differences and deletions, typed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AliasChoices, Field

from errata_client.progress import Record


class Review(Record):
    """A decision about a pair; the newest one of a pair stands."""

    id: str
    pair: str
    verdict: Literal["accepted", "rejected", "withdrawn"]
    reason: str | None
    reviewer: str | None
    source: str
    created_at: datetime


class TrainedModel(Record):
    """A training job and its result."""

    training_job: str
    state: str
    language_model: str | None


class HoldingDataset(Record):
    """A dataset that holds such pairs, how many, and what was trained on it."""

    dataset: str
    name: str
    pairs: int
    models: list[TrainedModel]


class Retraction(Record):
    """A retracted problem or job; ``reached`` is told of one, not in lists."""

    id: str
    job: str | None
    problem: str | None
    external_id: str | None = None
    reason: str
    reviewer: str | None
    created_at: datetime
    reached: list[HoldingDataset] | None = None


class PairLineage(Record):
    """What a pair comes from, and the datasets that hold it."""

    pair: dict[str, Any]
    problem: dict[str, Any]
    problem_set: dict[str, Any]
    job: dict[str, Any]
    solution: dict[str, Any]
    rejected_solution: dict[str, Any] | None
    edit: dict[str, Any] | None
    datasets: list[HoldingDataset]


class DatasetDifference(Record):
    """Counts of pairs by what they say: only in ``after``, only in ``before``, in both, and in another split."""

    before: str
    after: str
    added: int
    removed: int
    common: int
    moved: int


class Dependent(Record):
    """A row that cannot be without another one."""

    kind: str
    id: str
    name: str | None
    url: str


class Deletion(Record):
    """What was deleted. ``purged``: its space is free already; else the sweeper goes on."""

    # Of a model the answer is OpenAI's, where `deleted` is true and the rows have a name of their own.
    deleted: list[Dependent] = Field(validation_alias=AliasChoices("rows", "deleted"))
    purged: bool


class ArgillaReviews(Record):
    """What became of records from Argilla."""

    received: int
    reviewed: int
    without_answer: int
    disagreed: list[str]
    unknown: list[str]
