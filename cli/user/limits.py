"""Where an injection job stops, as options of commands give it and as it is shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

StopPairs = Annotated[int | None, typer.Option("--stop-pairs", min=1, help="Stop at so many pairs.")]
StopGenerated = Annotated[
    int | None, typer.Option("--stop-generated-tokens", min=1, help="Stop at so many generated tokens.")
]
StopMoney = Annotated[
    float | None, typer.Option("--stop-money", min=0, help="Stop when the tokens cost so much, by the models' prices.")
]
Deadline = Annotated[str | None, typer.Option(help="Begin nothing from this time on, as 2026-12-31T18:00:00Z.")]
Urgency = Annotated[str, typer.Option("--priority", help="low, normal or high, beside the workspace's other jobs.")]
StopPrompts = Annotated[int | None, typer.Option("--stop-prompt-tokens", min=1, help="Stop at so many prompt tokens.")]


def given_limits(
    pairs: int | None = None,
    generated: int | None = None,
    prompts: int | None = None,
    money: float | None = None,
    deadline: str | None = None,
) -> dict[str, Any]:
    """The limits that options give, without those left out."""
    given: dict[str, Any] = {"accepted_pairs": pairs, "generated_tokens": generated, "prompt_tokens": prompts}
    given |= {"money": money, "deadline": deadline}
    return {name: at for name, at in given.items() if at is not None}


def amount(at: Any) -> str:
    """A limit as it is shown: a number, or a time."""
    return at if isinstance(at, str) else f"{at:,}"


def stopped_of(job: Any) -> str | None:
    """The limit that ended the job, and what it left."""
    reached = getattr(job, "stopped", None)
    if not reached:
        return None
    skipped = sum((((job.funnel or {}).get("problems") or {}).get("skipped") or {}).values())
    at = amount((job.config.get("stop") or {}).get(reached, 0))
    return f"{at} {reached.replace('_', ' ')}; {skipped:,} problems left"


def spent_of(job: Any) -> str | None:
    """What its tokens cost, where its models have prices."""
    spent = getattr(job, "spent", None)
    return f"{spent['amount']:,} {spent['currency']}" if spent else None
