"""The configuration of a dataset: which pairs are frozen, how they are split, and in which shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from errata.config import Strict

PairType = Literal["step", "full"]
ShapeName = Literal[
    "steps_and_full", "sft", "trl", "trl_conversational", "step_dpo", "openai", "kto", "process_reward", "critique"
]


class SplitConfig(Strict):
    """How rows are divided. By problem: no question occurs on both sides."""

    test: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.05, description="Share of the questions held out.")
    by: Literal["problem"] = "problem"


class DatasetConfig(Strict):
    """One dataset, fully resolved: stored with it and printed on its card."""

    jobs: list[str] = Field(min_length=1, max_length=100, description="Injection jobs whose pairs are frozen.")
    split: SplitConfig = SplitConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1)
    types: list[PairType] = Field(["step", "full"], min_length=1)
    kinds: list[str] | None = Field(None, min_length=1, description="Step pairs of these error kinds only; null: all.")
    require_evidence: bool = Field(False, description="Step pairs with proof only (full pairs rest on two verdicts).")
    shapes: list[ShapeName] = Field(
        ["steps_and_full", "sft", "trl"], description="Besides `steps_and_full`, which is always written."
    )

    @field_validator("jobs", "types", "kinds", "shapes")
    @classmethod
    def _once(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("each value may occur once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DatasetConfig:
        if self.kinds is not None and "step" not in self.types:
            raise ValueError("kinds: only step pairs have an error kind, and 'types' leaves them out")
        return self
