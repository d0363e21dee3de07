"""Where an injection job stops before its problems do: at so many pairs, tokens or money, or at a point in time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from errata.prices import Prices
from errata.strict import Strict

Limit = Literal["accepted_pairs", "generated_tokens", "prompt_tokens", "money"]
LIMITS: tuple[Limit, ...] = ("accepted_pairs", "generated_tokens", "prompt_tokens", "money")
DEADLINE: Literal["deadline"] = "deadline"
Count = Annotated[int, Field(ge=1, le=2**53)]
Money = Annotated[float, Field(gt=0.0, le=1e12)]


class StopConfig(Strict):
    """Limits of a job. At the first one reached no new shard starts, and the problems left are skipped."""

    accepted_pairs: Count | None = Field(None, description="Pairs that the job has stored, step and full; null: all.")
    generated_tokens: Count | None = Field(None, description="Tokens generated in all stages; null: no limit.")
    prompt_tokens: Count | None = Field(None, description="Tokens of prompts in all stages, cached ones too.")
    money: Money | None = Field(
        None, description="What those tokens cost by the prices of the models' entries, in their currency."
    )
    deadline: AwareDatetime | None = Field(
        None, description="From then on no new shard starts, with offset or Z; null: no deadline."
    )

    @property
    def limits(self) -> dict[Limit, float]:
        """The limits of what is counted that are set."""
        return {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}

    @property
    def told(self) -> dict[str, float | str]:
        """Everything that is set, as JSON values."""
        given: dict[str, float | str] = dict(self.model_dump(mode="json", exclude_none=True))
        return given

    def reached(
        self, counts: Mapping[str, Any], prices: Prices | None = None, now: datetime | None = None
    ) -> Limit | Literal["deadline"] | None:
        """The first limit that a funnel's counts, or the clock, have reached; None: none yet."""
        amounts = amounts_of(counts, prices)
        found = next((name for name, limit in self.limits.items() if amounts[name] >= limit), None)
        late = self.deadline is not None and now is not None and now >= self.deadline
        return DEADLINE if found is None and late else found


def amounts_of(counts: Mapping[str, Any], prices: Prices | None = None) -> dict[Limit, float]:
    """What is held against each limit, from a funnel's counts; without prices nothing costs anything."""
    spent = counts["tokens"].values()
    return {
        "accepted_pairs": counts["pairs"]["total"],
        "generated_tokens": sum(stage["completion"] for stage in spent),
        "prompt_tokens": sum(stage["prompt"] for stage in spent),
        "money": 0.0 if prices is None else prices.spent(counts["tokens"]),
    }


def may_start(
    stop: StopConfig,
    counts: Mapping[str, Any],
    *,
    done: int,
    in_flight: int,
    guess: Mapping[Limit, float],
    prices: Prices | None = None,
    now: datetime | None = None,
) -> bool:
    """Whether a further shard may start: the limits are not reached, nor will the shards in flight reach one.

    ``done`` and ``in_flight`` are problems of finished and of started shards. A problem in flight is taken to bring
    what those before it did; before anything is known, ``guess``. A shard starts where none is in flight and none of
    the limits is reached.
    """
    if stop.reached(counts, prices, now) is not None:
        return False
    if not in_flight:
        return True
    amounts, sampled = amounts_of(counts, prices), counts["problems"]["total"]
    for name, limit in stop.limits.items():
        # Pairs come with the last stage alone, tokens from the first stage on.
        known = done if name == "accepted_pairs" else sampled
        each = amounts[name] / known if known else guess[name]
        if amounts[name] + in_flight * each >= limit:
            return False
    return True
