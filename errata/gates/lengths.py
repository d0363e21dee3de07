"""Lengths of pairs: how many do not fit into a context, and how many lose their error when they are cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LIMITS = (1024, 2048, 4096, 8192)
Count = Callable[[Sequence[str]], list[int]]
"""The length of each text: tokens, or characters."""


@dataclass(frozen=True, slots=True)
class PairLength:
    """``whole``: prompt and longer side. ``error``: where the sides begin to differ, behind the prompt's start."""

    pair_id: str
    whole: int
    error: int


def measure(pairs: Sequence[tuple[str, str, str, str]], count: Count) -> list[PairLength]:
    """The lengths of pairs given as id, prompt (the solution before the step included), chosen and rejected."""
    texts: list[str] = []
    for _, prompt, chosen, rejected in pairs:
        texts += [prompt, chosen, rejected, _shared_start(chosen, rejected)]
    counts = count(texts)
    found = []
    for at, (pair_id, *_) in enumerate(pairs):
        before, right, wrong, same = counts[4 * at : 4 * at + 4]
        found.append(PairLength(pair_id, before + max(right, wrong), before + same))
    return found


def _shared_start(one: str, other: str) -> str:
    differs = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differs, min(len(one), len(other)))]


def summary(lengths: Sequence[PairLength], max_length: int) -> dict[str, Any]:
    """Shares over each limit and over ``max_length``, the longest, and the share whose error lies beyond it.

    Raises ValueError where there are no lengths.
    """
    if not lengths:
        raise ValueError("no lengths")
    total = len(lengths)
    return {
        "measured": total,
        "over": {str(limit): sum(each.whole > limit for each in lengths) / total for limit in LIMITS},
        "over_max_length": sum(each.whole > max_length for each in lengths) / total,
        "error_cut_off": sum(each.error >= max_length for each in lengths) / total,
        "longest": max(each.whole for each in lengths),
        "median": sorted(each.whole for each in lengths)[total // 2],
    }
