"""What tokens cost: prices per million, by the stage that spends them. The currency is a label, never converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from errata.strict import Strict

Price = Annotated[float, Field(ge=0.0, le=1e9)]
_PER = 1e6


class StagePrice(Strict):
    """Of a million tokens of prompts, and of a million generated ones."""

    prompt: Price
    completion: Price


class Prices(Strict):
    """What the models of a job cost when it was accepted, by stage. Stages that ask no model are not named."""

    currency: str
    stages: dict[str, StagePrice]

    def spent(self, tokens: Mapping[str, Mapping[str, int]]) -> float:
        """What a funnel's tokens cost. Reused ones cost nothing; prompts cost the same from a prefix cache."""
        return sum(self.of(stage, each.get("prompt", 0), each.get("completion", 0)) for stage, each in tokens.items())

    def of(self, stage: str, prompt: float, completion: float) -> float:
        """What so many tokens of a stage cost."""
        price = self.stages.get(stage)
        return 0.0 if price is None else (price.prompt * prompt + price.completion * completion) / _PER


def read_prices(stored: Mapping[str, Any] | None) -> Prices | None:
    """The prices as a job keeps them; None where it has none."""
    return None if stored is None else Prices.model_validate(stored)
