"""Where an injection job stops before its problems do: at so many pairs, or when it has spent so many tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from errata.strict import Strict

Limit = Literal["accepted_pairs", "generated_tokens", "prompt_tokens"]
LIMITS: tuple[Limit, ...] = ("accepted_pairs", "generated_tokens", "prompt_tokens")
Count = Annotated[int, Field(ge=1, le=2**53)]


class StopConfig(Strict):
    """Limits of a job. At the first one reached no new shard starts, and the problems left are skipped."""

    accepted_pairs: Count | None = Field(None, description="Pairs that the job has stored, step and full; null: all.")
    generated_tokens: Count | None = Field(None, description="Tokens generated in all stages; null: no limit.")
    prompt_tokens: Count | None = Field(None, description="Tokens of prompts in all stages, cached ones too.")

    @property
    def limits(self) -> dict[Limit, int]:
        """The limits that are set."""
        return {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}

    def reached(self, counts: Mapping[str, Any]) -> Limit | None:
        """The first limit that a funnel's counts have reached; None: none yet."""
        amounts = amounts_of(counts)
        return next((name for name, limit in self.limits.items() if amounts[name] >= limit), None)


def amounts_of(counts: Mapping[str, Any]) -> dict[Limit, int]:
    """What is held against each limit, from a funnel's counts."""
    spent = counts["tokens"].values()
    return {
        "accepted_pairs": counts["pairs"]["total"],
        "generated_tokens": sum(stage["completion"] for stage in spent),
        "prompt_tokens": sum(stage["prompt"] for stage in spent),
    }


def may_start(
    stop: StopConfig, counts: Mapping[str, Any], *, done: int, in_flight: int, guess: Mapping[Limit, float]
) -> bool:
    """Whether a further shard may start: the limits are not reached, nor will the shards in flight reach one.

    ``done`` and ``in_flight`` are problems of finished and of started shards. A problem in flight is taken to bring
    what those before it did; before anything is known, ``guess``. A shard always starts where none is in flight.
    """
    if stop.reached(counts) is not None:
        return False
    if not in_flight:
        return True
    amounts, sampled = amounts_of(counts), counts["problems"]["total"]
    for name, limit in stop.limits.items():
        # Pairs come with the last stage alone, tokens from the first stage on.
        known = done if name == "accepted_pairs" else sampled
        each = amounts[name] / known if known else guess[name]
        if amounts[name] + in_flight * each >= limit:
            return False
    return True
