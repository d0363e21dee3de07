"""How the pairs of a dataset are distributed, for its manifest: the step that is wrong, edit distance, lengths. Pure.

Steps are counted one by one, everything else in bins whose bounds double: 0, 1, 2 to 3, 4 to 7, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

MOST_STEPS = 30  # steps behind it count together
#: What is measured, in the manifest's order: the wrong step from 1, and per side its characters.
MEASURES = ("step", "distance", "chosen_characters", "rejected_characters")


class Distributions:
    """Counts of pairs by what is measured. Values below 0 are refused with ValueError."""

    def __init__(self) -> None:
        self._bins: dict[str, Counter[int]] = {name: Counter() for name in MEASURES}

    def add(self, name: str, values: Iterable[int]) -> None:
        """Count values of one measure."""
        self.add_counts(name, Counter(values))

    def add_counts(self, name: str, counts: Counter[int]) -> None:
        """Count values of one measure that are counted already: value to number of pairs."""
        bins = self._bins[name]
        for value, count in counts.items():
            if value < 0:
                raise ValueError(f"{name}: {value} is below 0")
            bins[min(value, MOST_STEPS + 1) if name == "step" else value.bit_length()] += count

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Per measure its bins in order: ``low`` and ``high`` (null: without end) and ``pairs``; empty ones are out."""
        return {
            name: [_bin(name, at, count) for at, count in sorted(bins.items())]
            for name, bins in self._bins.items()
            if bins
        }


def _bin(name: str, at: int, count: int) -> dict[str, Any]:
    if name == "step":
        return {"low": at, "high": at if at <= MOST_STEPS else None, "pairs": count}
    return {"low": 1 << (at - 1) if at else 0, "high": (1 << at) - 1, "pairs": count}
