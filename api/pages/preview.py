"""What a training run would see, before it is started: its tokens with the spans that count, sizes, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.http.errors import invalid_below
from api.http.routing import Api
from api.pages.format import decimal, duration, number, size, visible
from api.training.routes import preview_of
from api.training.schemas import PreviewExample, PromptTokens, SideTokens, TrainingPreviewIn, TrainingPreviewOut

_PAIRS = 3
_WHERE = {"cpu_core": "one CPU core", "gpu": "one large GPU"}
_COUNTS = (
    ("trained", "Pairs that are trained on"),
    ("identical", "Both sides the same: no gradient"),
    ("lost", "Error beyond the longest text: no gradient"),
    ("cut", "Only the end beyond the longest text"),
    ("unweighted", "Without weight in this objective"),
    ("duplicates", "Said twice"),
    ("longest", "Longest, in tokens"),
    ("scored", "Tokens that the loss sees"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it is drawn. ``trained``: the loss sees it; ``differs``: it lies in the error's span, too."""

    text: str
    trained: bool
    differs: bool = False
    eos: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """The tokens of one side, or of the prompt; ``omitted`` others are not drawn."""

    name: str
    tokens: tuple[Token, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class Example:
    """One pair as the trainer sees it."""

    title: str
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a preview; ``refused`` says why the run would fail at its start."""

    refused: str | None
    figures: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str], ...]
    examples: tuple[Example, ...]


def preview_view(api: Api, workspace_id: str, sent: Mapping[str, Any]) -> Preview:
    """The preview of what a form was filled in with; takes seconds. Raises Invalid, Conflict and TooManyRequests."""
    wanted = {name: value for name, value in sent.items() if name in TrainingPreviewIn.model_fields}
    with invalid_below():
        body = TrainingPreviewIn.model_validate({**wanted, "examples": _PAIRS})
    return shown(preview_of(api, workspace_id, body))


def shown(found: TrainingPreviewOut) -> Preview:
    """A preview as it is drawn."""
    return Preview(
        visible(found.refused) if found.refused else None,
        tuple(_figures(found)),
        tuple((f"On {_where(name)}", _time(seconds)) for name, seconds in (found.seconds or {}).items()),
        tuple(_example(each) for each in found.examples),
    )


def _time(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else "less than 1 s"


def _where(name: str) -> str:
    return next((told for key, told in _WHERE.items() if key in name), name.replace("_", " "))


def _figures(found: TrainingPreviewOut) -> list[tuple[str, str]]:
    rows = [("Rows of the dataset", number(found.rows))] if found.rows is not None else []
    if found.examined is not None and found.examined != found.rows:
        rows.append(("Examined", number(found.examined)))
    if found.report is not None:
        counts = ((label, getattr(found.report, name)) for name, label in _COUNTS)
        rows += [(label, number(count)) for label, count in counts if count]
    if found.steps is not None:
        rows.append(("Optimizer steps", number(found.steps)))
    if found.tokens is not None:
        told = f"{number(found.tokens.used)}, packed from {number(found.tokens.plain)} ({decimal(found.tokens.ratio)}x)"
        rows.append(("Tokens of an epoch", told))
    sizes = (("Parameters", number, found.parameters), ("Memory", size, found.memory_bytes))
    rows += [(label, told(count)) for label, told, count in (*sizes, ("Disk", size, found.disk_bytes)) if count]
    return rows


def _example(pair: PreviewExample) -> Example:
    kind = f", {pair.error_kind.replace('_', ' ')}" if pair.error_kind else ""
    return Example(
        f"{pair.type} pair{kind}",
        (_prompt(pair.prompt), _side("chosen", pair.chosen), _side("rejected", pair.rejected)),
    )


def _prompt(prompt: PromptTokens) -> Side:
    return Side("prompt", tuple(Token(visible(each.text), trained=False) for each in prompt.tokens), prompt.omitted)


def _side(name: str, side: SideTokens) -> Side:
    start, stop = _span(side.divergent)
    tokens = tuple(
        Token(visible(each.text), _scored(side, at), _scored(side, at) and start <= at < stop, at in side.eos)
        for at, each in enumerate(side.tokens)
    )
    return Side(name, tokens, side.omitted)


def _scored(side: SideTokens, at: int) -> bool:
    return any(start <= at < stop for start, stop in side.scored)


def _span(divergent: Sequence[int]) -> tuple[int, int]:
    return (divergent[0], divergent[1]) if len(divergent) == 2 else (0, 0)
