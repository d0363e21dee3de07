"""What the service tells of studies and campaigns."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from errata_client.progress import Record
from errata_client.records import Job


class PartCounts(Record):
    """The jobs that were started so far; how many there will be is not known before the last."""

    made: int
    open: int
    ended: int


class Part(Record):
    """A job that a study or campaign started."""

    id: str
    kind: str
    state: str
    url: str


class _Started(Job):
    tags: list[str] = Field(default_factory=list)
    name: str | None
    partial: bool
    problem_set: str
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None
    parts: PartCounts
    rows: list[Part] | None = None

    @property
    def fraction(self) -> float:
        """Of the parts that were started so far, the share that has ended."""
        return 1.0 if self.ended else self.parts.ended / self.parts.made if self.parts.made else 0.0


class Study(_Started):
    """Arms x seeds under equal budgets; ``result`` holds its table once it has ended."""

    validation_set: str | None
    test_set: str


class Campaign(_Started):
    """Rounds with the newest model; ``result`` holds those that are done, and why it ended once it has."""

    evaluation_set: str
