"""The funnel as levels to draw: at each, what went on and what was lost, with a sentence for every reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.pages.text import words
from errata.funnel import Funnel
from errata.types import EvidenceKind, Reason

_SENTENCES: dict[str, str] = {str(reason): reason.sentence for reason in Reason}
_VERDICTS = (("correct", "correct"), ("incorrect", "incorrect"), ("unparsable", "unreadable"), ("timeout", "timed out"))


@dataclass(frozen=True, slots=True)
class Loss:
    """Inputs of one level that went no further. ``share`` is of the level's total."""

    reason: str
    sentence: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the funnel: ``kept`` of ``total`` went on, the others are ``losses`` or not decided yet."""

    name: str
    unit: str
    total: int
    kept: int
    kept_as: str
    losses: tuple[Loss, ...]
    note: str

    @property
    def share(self) -> float:
        """Share that went on."""
        return self.kept / self.total if self.total else 0.0

    @property
    def open(self) -> int:
        """How many are neither kept nor lost yet: the job still works on them."""
        return max(0, self.total - self.kept - sum(loss.count for loss in self.losses))


@dataclass(frozen=True, slots=True)
class Part:
    """One value of a breakdown with its part of the whole."""

    value: str
    label: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of one stage; ``share`` is of all tokens of the job."""

    stage: str
    prompt: int
    completion: int
    cached: int
    share: float


@dataclass(frozen=True, slots=True)
class FunnelView:
    """A job's funnel as drawn, its pairs by type, error kind and evidence, and its tokens."""

    levels: tuple[Level, ...]
    pairs: int
    by_type: tuple[Part, ...]
    by_kind: tuple[Part, ...]
    by_evidence: tuple[Part, ...]
    tokens: tuple[Spent, ...]
    proven_share: float | None
    tokens_per_pair: float | None

    @property
    def empty(self) -> bool:
        """Whether nothing was counted yet."""
        return not any(level.total for level in self.levels)

    @property
    def tokens_total(self) -> int:
        """Prompt and completion tokens of all stages."""
        return sum(spent.prompt + spent.completion for spent in self.tokens)


def funnel_view(funnel: Funnel) -> FunnelView:
    """What is shown of a funnel."""
    c = funnel.counts
    figures = funnel.figures()
    return FunnelView(
        levels=(_problems(c["problems"]), _samples(c["samples"]), _steps(c["steps"]), _edits(c["edits"])),
        pairs=c["pairs"]["total"],
        by_type=parts_of(c["pairs"]["by_type"]),
        by_kind=parts_of(c["pairs"]["by_kind"]),
        by_evidence=parts_of(c["pairs"]["by_evidence"]),
        tokens=_spent(c["tokens"]),
        proven_share=figures["proven_share_of_edits"],
        tokens_per_pair=figures["tokens_per_pair"],
    )


def sentence(reason: str) -> str:
    """What a person is told of a reason; an unknown one is shown by its name."""
    return _SENTENCES.get(reason, words(reason).capitalize() + ".")


def parts_of(counts: Mapping[str, int]) -> tuple[Part, ...]:
    """A breakdown, largest part first."""
    total = sum(counts.values()) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Part(name, words(name), count, count / total) for name, count in ordered if count)


def _losses(counts: Mapping[str, int], total: int) -> tuple[Loss, ...]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Loss(name, sentence(name), count, count / max(total, 1)) for name, count in ordered if count)


def _problems(c: Mapping[str, Any]) -> Level:
    return Level("Problems", "problem", c["total"], c["kept"], "kept", _losses(c["dropped"], c["total"]), "")


def _samples(c: Mapping[str, Any]) -> Level:
    verdicts = [f"{c['verdicts'][name]:,} {told}" for name, told in _VERDICTS if c["verdicts"].get(name)]
    if c.get("spared"):
        verdicts.append(f"{c['spared']:,} more not needed")
    drawn = sum(c["drawn"].values())
    return Level(
        "Solutions", "solution", c["total"], drawn, "drawn", _losses(c["unused"], c["total"]), ", ".join(verdicts)
    )


def _steps(c: Mapping[str, Any]) -> Level:
    return Level("Steps", "step", c["total"], c["edited"], "edited", _losses(c["skipped"], c["total"]), "")


def _edits(c: Mapping[str, Any]) -> Level:
    """An edit that was proven but not chosen counts among the rejected, so what is left became step pairs."""
    proven = sum(c["proven"].values())
    kept = max(0, proven - c["rejected"].get("not_chosen", 0))
    by = [f"{n:,} by {words(kind)}" for kind, n in c["proven"].items() if n and kind != EvidenceKind.UNPROVEN]
    note = "proven wrong: " + ", ".join(by) if by else ""
    return Level("Edits", "edit", c["total"], kept, "became step pairs", _losses(c["rejected"], c["total"]), note)


def _spent(tokens: Mapping[str, Mapping[str, int]]) -> tuple[Spent, ...]:
    total = sum(stage.get("prompt", 0) + stage.get("completion", 0) for stage in tokens.values()) or 1
    return tuple(
        Spent(
            name,
            stage.get("prompt", 0),
            stage.get("completion", 0),
            stage.get("cached", 0),
            (stage.get("prompt", 0) + stage.get("completion", 0)) / total,
        )
        for name, stage in tokens.items()
        if stage.get("prompt", 0) + stage.get("completion", 0)
    )
