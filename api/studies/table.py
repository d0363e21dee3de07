"""A study's table: each arm's measures, and its paired difference to the control, with 95 % intervals.

Seeds and problems are both random: an interval is over the two together (errata.statistics.crossed_mean). An arm
whose measures are the same with every seed, such as a start model that is scored, has one over problems alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from errata.statistics import CrossedMean, crossed_mean

Measured = Mapping[str, Mapping[str, float]]
"""Measure (greedy, sampled, pass@8, ...) -> problem -> rate."""


@dataclass(frozen=True)
class Tested:
    """One arm's test: ``rates`` by seed, and what is told of it besides."""

    rates: Mapping[int, Measured]
    seeds: Mapping[int, dict[str, Any]]
    trial: int | None = None
    validation: list[float] | None = None
    failed: str | None = None


def study_table(arms: Mapping[str, Tested], control: str | None, seeds: Sequence[int]) -> dict[str, Any]:
    """``arms``: name -> ``measures`` and ``against_control``, each measure -> estimate with interval.

    ``against_control`` also has ``p_value`` and the problems that were ``gained`` and ``lost``: those whose mean over
    seeds crossed one half. ``problems`` counts those that every arm answered; nothing else is compared.
    """
    whole = {name: arm for name, arm in arms.items() if not arm.failed and arm.rates}
    shared = _shared(whole)
    told: dict[str, Any] = {}
    for name, arm in arms.items():
        told[name] = {
            "measures": {m: _mean(_rows(arm, m, seeds, shared)) for m in _measures(arm)} if name in whole else {},
            "against_control": {},
            "trial": arm.trial,
            "validation": arm.validation,
            "failed": arm.failed,
            "seeds": {str(seed): row for seed, row in arm.seeds.items()},
        }
        if control in whole and name in whole and name != control:
            other = whole[control]
            told[name]["against_control"] = {
                m: _difference(_rows(arm, m, seeds, shared), _rows(other, m, seeds, shared))
                for m in _measures(arm)
                if m in _measures(other)
            }
    return {"control": control, "problems": len(shared), "seed_list": list(seeds), "arms": told}


def _shared(arms: Mapping[str, Tested]) -> list[str]:
    """The problems that every arm answered with every seed, in one order."""
    answered = [set(rates) for arm in arms.values() for measured in arm.rates.values() for rates in measured.values()]
    return sorted(set.intersection(*answered)) if answered else []


def _measures(arm: Tested) -> list[str]:
    return list(next(iter(arm.rates.values())))


def _rows(arm: Tested, measure: str, seeds: Sequence[int], problems: Sequence[str]) -> list[list[float]]:
    return [[float(arm.rates[seed][measure][each]) for each in problems] for seed in seeds]


def _mean(rows: list[list[float]]) -> dict[str, Any]:
    found = _crossed(rows)
    if found is None:
        return {"estimate": None, "interval": None}
    return {"estimate": found.estimate, "interval": [max(found.low, 0.0), min(found.high, 1.0)]}


def _difference(after: list[list[float]], before: list[list[float]]) -> dict[str, Any]:
    found = _crossed([[a - b for a, b in zip(*pair, strict=True)] for pair in zip(after, before, strict=True)])
    if found is None:
        return {"delta": None, "interval": None, "p_value": None, "gained": 0, "lost": 0}
    means = [[fmean(column) for column in zip(*rows, strict=True)] for rows in (before, after)]
    crossed = [(b >= 0.5, a >= 0.5) for b, a in zip(*means, strict=True)]
    told = asdict(found)
    return {
        "delta": told["estimate"],
        "interval": [told["low"], told["high"]],
        "p_value": told["p_value"],
        "gained": sum(a and not b for b, a in crossed),
        "lost": sum(b and not a for b, a in crossed),
    }


def _crossed(rows: list[list[float]]) -> CrossedMean | None:
    """None: fewer than two problems. Rows that are all the same are one."""
    if not rows or len(rows[0]) < 2:
        return None
    return crossed_mean(rows[:1] if all(row == rows[0] for row in rows) else rows)
