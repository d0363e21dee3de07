"""What an evaluation measures at one temperature, from the answers or probabilities of each problem.

The problem is the unit of every interval: answers to one problem are not independent. Intervals are at 95 %, Wilson's
for one judged answer per problem and t over problems for everything else (errata.statistics). pass@k is unbiased (Chen
et al. 2021); maj@k is the mean over disjoint groups of k answers in the order in which they were drawn.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from errata.statistics import Interval, majority_at_k, mean_interval, pass_at_k, proportion_interval

SCORED_KS = (1, 2, 4, 8, 16)
"""The k of pass@k where answers are scored: any k is known, as the probability is."""
GROUPS = ("subject", "level", "steps")


@dataclass(frozen=True, slots=True)
class About:
    """What an evaluation is broken down by; ``steps`` counts the gold solution's, None without one."""

    subject: str | None = None
    level: str | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """The judged answers to one problem at one temperature, in the order in which they were drawn.

    ``nats``: negative log-probabilities of those that were scored.
    """

    about: About
    right: tuple[bool, ...]
    answers: tuple[str | None, ...]
    nats: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """The share of right answers."""
        return sum(self.right) / len(self.right)


@dataclass(frozen=True, slots=True)
class Scored:
    """The probability of a problem's right solution at one temperature; at temperature 0 it is 0 or 1."""

    about: About
    probability: float


def sampled_measures(found: Sequence[Sampled]) -> dict[str, Any]:
    """``accuracy`` with ``interval``, ``samples_per_problem``, ``entropy`` and, of several answers, pass@k and maj@k.

    ``entropy`` has ``answers``, the entropy of a problem's final answers (plug-in, nats), and ``nats`` per answer where
    they were scored; both are means over problems with intervals. ``groups``: accuracy by subject, level and step
    count. Raises ValueError for no problem.
    """
    least = min(len(each.right) for each in found)
    measured: dict[str, Any] = _told(_accuracy(found)) | {"samples_per_problem": least}
    if least > 1:
        ks = powers_of_two(least)
        passed = {k: mean_interval([pass_at_k(len(e.right), sum(e.right), k) for e in found]) for k in ks}
        agreed = {k: mean_interval([_majority(e, k) for e in found]) for k in ks if k > 1}
        measured |= _by_k("pass_at_k", passed) | _by_k("majority_at_k", agreed)
    entropy: dict[str, Any] = {}
    if least > 1:
        entropy["answers"] = _mean([answer_entropy(each) for each in found])
    if nats := [fmean(each.nats) for each in found if each.nats]:
        entropy["nats"] = _mean(nats)
    return measured | {"entropy": entropy, "groups": _groups(found, _accuracy)}


def scored_measures(found: Sequence[Scored]) -> dict[str, Any]:
    """``accuracy`` with ``interval``, pass@k of each k in SCORED_KS, ``groups``. Raises ValueError for no problem."""
    passed = {k: mean_interval([scored_pass(each.probability, k) for each in found]) for k in SCORED_KS}
    return _told(_probability(found)) | _by_k("pass_at_k", passed) | {"groups": _groups(found, _probability)}


def scored_pass(probability: float, k: int) -> float:
    """The chance that one of ``k`` independent answers is right. Exact also where the probability is tiny."""
    return 1.0 if probability >= 1.0 else -math.expm1(k * math.log1p(-probability))


def answer_entropy(found: Sampled) -> float:
    """The entropy of a problem's final answers in nats; right ones are one answer, answers that are missing another."""
    answers = zip(found.answers, found.right, strict=True)
    votes = Counter("right" if right else f"wrong {text}" for text, right in answers)
    total = votes.total()
    return -sum(count / total * math.log(count / total) for count in votes.values())


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... and ``most`` itself."""
    return sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most})


def _majority(found: Sampled, k: int) -> float:
    starts = range(0, len(found.right) - k + 1, k)
    return fmean(majority_at_k(found.answers[at : at + k], found.right[at : at + k]) for at in starts)


def _accuracy(found: Sequence[Sampled]) -> Interval:
    if all(len(each.right) == 1 for each in found):
        return proportion_interval(sum(each.right[0] for each in found), len(found))
    return mean_interval([each.rate for each in found])


def _probability(found: Sequence[Scored]) -> Interval:
    return mean_interval([each.probability for each in found])


def _groups(found: Sequence[Any], measure: Callable[[Sequence[Any]], Interval]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for name in GROUPS:
        members: dict[str, list[Any]] = defaultdict(list)
        for each in found:
            value = getattr(each.about, name)
            if value is not None:
                members[str(value)].append(each)
        if members:
            groups[name] = {
                value: {"problems": len(members[value])} | _told(measure(members[value]))
                for value in sorted(members, key=lambda value: (not value.isdigit(), len(value), value))
            }
    return groups


def _by_k(name: str, found: Mapping[int, Interval]) -> dict[str, Any]:
    rates = {str(k): interval.estimate for k, interval in found.items()}
    return {name: rates, f"{name}_intervals": {str(k): [each.low, each.high] for k, each in found.items()}}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean with a t interval that is not cut at 1: entropies have no such bound."""
    most = max(*values, 1.0) if len(values) > 1 else max(values[0], 1.0)
    found = mean_interval([value / most for value in values])
    return {"mean": found.estimate * most, "interval": [found.low * most, found.high * most]}


def _told(found: Interval) -> dict[str, Any]:
    return {"accuracy": found.estimate, "interval": [found.low, found.high]}
