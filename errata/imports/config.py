"""How a file is imported: every choice named, bounded, and stored with the dataset."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from errata.gates.config import GatesConfig
from errata.output_config import SplitConfig
from errata.strict import Strict
from errata.types import Domain

FormatName = Literal["errata", "openai", "trl", "kto", "sft", "step_dpo", "process_reward", "critique"]
ImportShape = Literal[
    "sft", "whole", "whole_conversational", "whole_openai", "whole_kto", "whole_kto_conversational", "trl",
    "trl_conversational",
]  # fmt: skip
GOLD = "gold_answer"
#: The fields a mapping may name: what the readers of all formats ask a row for.
MAPPABLE = (
    *("prompt", "system", "chosen", "rejected", "completion", "label", "messages"),
    *("question", "initial_reason_steps", "completions", "labels"),
    GOLD,
)
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]


class ImportConfig(Strict):
    """What becomes of an imported file's rows, fully resolved: stored with the dataset and printed on its card."""

    prompts: Literal["auto", "message", "text"] = Field(
        "auto",
        description="What a prompt that is one text is: a user's message, rendered by the model's chat template, or"
        " text taken as it stands. auto: a message, but text where it holds a chat template's marks already.",
    )
    completions: Literal["auto", "whole", "step"] = Field(
        "auto",
        description="Whether a completion ends the turn (EOS follows it) or is one step of a solution. auto: whole, but"
        " a step in Errata's and Step-DPO's formats where it is one.",
    )
    domain: Domain = Field(Domain.MATH, description="Of rows in Errata's own formats that do not tell it.")
    split: SplitConfig = SplitConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1)
    shapes: list[ImportShape] | None = Field(
        None, max_length=10, description="Besides what Errata trains on; null: `whole` or `whole_conversational`."
    )

    gates: GatesConfig = Field(GatesConfig(), description="What the rows are checked for, and what that does.")

    @field_validator("shapes")
    @classmethod
    def _once(cls, value: list[ImportShape] | None) -> list[ImportShape] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("each value may occur once")
        return value


def checked_mapping(mapping: object) -> dict[str, str]:
    """A mapping from fields to a file's columns. Raises ValueError saying what is wrong with it."""
    if not isinstance(mapping, dict) or not all(isinstance(name, str) and name for name in mapping.values()):
        raise ValueError('not an object of column names; give one such as {"prompt": "instruction"}')
    unknown = sorted(set(mapping) - set(MAPPABLE))
    if unknown:
        raise ValueError(f"there is no field '{unknown[0][:80]}'; known: {', '.join(MAPPABLE)}")
    return dict(mapping)
