"""The configurations of datasets and evaluations: every choice named, bounded, and complete."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from errata.config import Probability, Temperature, ThoughtMarkers
from errata.gates.config import GatesConfig
from errata.prompt_config import SolvePromptConfig
from errata.strict import Strict

PairType = Literal["step", "full"]
ShapeName = Literal[
    "steps_and_full", "whole", "whole_conversational", "whole_kto", "whole_kto_conversational", "whole_openai", "sft",
    "sft_conversational", "trl", "trl_conversational", "step_dpo", "openai", "kto", "process_reward", "critique",
]  # fmt: skip


class SplitConfig(Strict):
    """How rows are divided. By problem: no question occurs on both sides."""

    test: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.05, description="Share of the questions held out.")
    by: Literal["problem"] = "problem"


class DatasetConfig(Strict):
    """One dataset, fully resolved: stored with it and printed on its card."""

    jobs: list[str] = Field(min_length=1, max_length=100, description="Injection jobs whose pairs are frozen.")
    split: SplitConfig = SplitConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1)
    types: list[PairType] = Field(["step", "full"], min_length=1, max_length=2)
    kinds: list[str] | None = Field(
        None, min_length=1, max_length=100, description="Step pairs of these error kinds only; null: all."
    )
    require_evidence: bool = Field(False, description="Step pairs with proof only (full pairs rest on two verdicts).")
    shapes: list[ShapeName] | None = Field(
        None,
        max_length=20,
        description="Besides `steps_and_full`, which is always written. Null: chosen by the solver's model,"
        " conversational where it has a chat template or solutions were brought along. GET /v1/dataset-shapes has all.",
    )
    whole_right_answers: bool = Field(
        False,
        description="In the shapes `whole*`, also step pairs whose rejected side has a wrong step and comes to the"
        " right answer all the same. For trainers that compare both sides of a pair (DPO, ORPO), not for KTO.",
    )
    gates: GatesConfig = Field(GatesConfig(), description="What the dataset is checked for, and what that does.")

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


class EvaluationConfig(SolvePromptConfig):
    """Prompt, decoding and reading of one evaluation. Any two evaluations of the same problems can be compared."""

    temperature: Temperature = Field(0.0, description="0 is greedy (the paper's evaluations).")
    top_p: Probability = 1.0
    samples: int = Field(1, ge=1, le=256, description="Answers per problem; above 1 pass@k and maj@k are reported.")
    max_tokens: int = Field(1024, ge=1, le=32768)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    limit: int | None = Field(None, ge=1, description="Evaluate the first problems of the set only.")
    thoughts: ThoughtMarkers = ThoughtMarkers()

    @model_validator(mode="after")
    def _greedy_once(self) -> EvaluationConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError(
                "samples: at temperature 0 every answer is the same; ask for one, or raise the temperature"
            )
        return self

    def problem_count(self, available: int) -> int:
        """How many of a set's problems are evaluated."""
        return available if self.limit is None else min(self.limit, available)
