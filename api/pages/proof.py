"""A pair's evidence in words and figures (docs/method.md, step 8). Tolerates details it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.pages.text import percent, visible

SENTENCES = {
    "contradiction": "An equation in the edited step is false; the same place in the original was true.",
    "divergence": "Continuing from the edited step misses the right answer far more often than from the original.",
    "verifier": "The edited whole fails its checker; the original passes.",
    "unproven": "Nothing shows that the edit is wrong. It was kept by the job's policy.",
}
_FULL = "Two solutions of the same problem: one reaches the right answer, the other does not."


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of continuations that miss the right answer, with its interval, each from 0 to 1."""

    label: str
    value: float
    low: float
    high: float
    edited: bool

    @property
    def text(self) -> str:
        """ "88 % (64 to 99 %)"."""
        if (self.low, self.high) == (self.value, self.value):
            return percent(self.value)
        return f"{percent(self.value)} ({percent(self.low).removesuffix(' %')} to {percent(self.high)})"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the proof card shows; fields that do not apply are empty."""

    kind: str
    sentence: str
    equation: str | None = None
    left: str | None = None
    right: str | None = None
    original: str | None = None
    rates: tuple[Rate, ...] = ()
    note: str | None = None


def proof_of(kind: str | None, detail: dict[str, Any], pair_type: str) -> Proof:
    """The proof card of a pair. A full pair without evidence of its own is proven by its two verdicts."""
    if kind is None:
        return Proof("verdicts" if pair_type == "full" else "unproven", _FULL if pair_type == "full" else "")
    sentence = SENTENCES.get(kind, "")
    if kind == "contradiction":
        return Proof(
            kind,
            sentence,
            equation=_text(detail, "equation"),
            left=_text(detail, "left"),
            right=_text(detail, "right"),
            original=_text(detail, "original"),
        )
    note = _text(detail, "report") or _text(detail, "why")
    if note is None and (count := _text(detail, "k")):
        note = f"{count} continuations from each step."
    return Proof(kind, sentence, rates=tuple(_rates(detail)), note=note)


def _text(detail: dict[str, Any], name: str) -> str | None:
    value = detail.get(name)
    return None if value is None or value == "" else visible(str(value))


def _rates(detail: dict[str, Any]) -> list[Rate]:
    """Rates the detail holds; one without an interval stands alone."""
    told = (
        ("From the edited step", "rate", "low", "high", True),
        ("From the original", "original_rate", "original_low", "original_high", False),
    )
    rates = []
    for label, name, low_name, high_name, edited in told:
        if (value := _share(detail, name)) is not None:
            low, high = _share(detail, low_name), _share(detail, high_name)
            rates.append(Rate(label, value, value if low is None else low, value if high is None else high, edited))
    return rates


def _share(detail: dict[str, Any], name: str) -> float | None:
    value = detail.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
