"""What is sent and answered about studies and campaigns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas import ModelName, Name, Request, RowId, StateOut
from errata.study_config import CampaignConfig, StudyConfig


class StudyIn(Request):
    """A study: a start model, training and test problems, and its arms."""

    problem_set: RowId = Field(description="What the arms' injection jobs solve.")
    test_set: RowId = Field(description="What every arm is tested on, once per seed; it decides nothing.")
    validation_set: RowId | None = Field(None, description="What trials are chosen between on, where there are any.")
    language_model: ModelName
    config: StudyConfig
    name: Name | None = None


class CampaignIn(Request):
    """A campaign: a start model, training problems, and the problems that its rounds are measured on."""

    problem_set: RowId
    evaluation_set: RowId
    language_model: ModelName
    config: CampaignConfig = CampaignConfig()
    name: Name | None = None


class PartOut(BaseModel):
    """A job that a study or campaign started."""

    id: str
    kind: str = Field(description="injection job, dataset, training job or evaluation.")
    state: str
    url: str


class PartCounts(BaseModel):
    """The parts there are so far; how many there will be is not known before the last."""

    made: int
    open: int
    ended: int


class _Started(StateOut):
    name: str | None
    partial: bool
    problem_set: str = Field(validation_alias="problem_set_id")
    language_model: str
    config: dict[str, Any]
    result: dict[str, Any] | None
    parts: PartCounts
    rows: list[PartOut] | None = Field(None, description="The parts in the order in which they were made; of one only.")
    tags: list[str] = Field(default_factory=list)


class StudyOut(_Started):
    """A study; ``result`` holds its table once it has ended (docs/studies.md)."""

    object: Literal["study"] = "study"
    validation_set: str | None = Field(validation_alias="validation_set_id")
    test_set: str = Field(validation_alias="test_set_id")


class CampaignOut(_Started):
    """A campaign; ``result`` holds the rounds that are done, and why it ended once it has."""

    object: Literal["campaign"] = "campaign"
    evaluation_set: str = Field(validation_alias="evaluation_set_id")
