"""Adaptive sampling: how many samples of a problem are drawn next, given those judged so far (docs/method.md, step 2).

Pure. Drawing goes on until the selection, made on what there is, keeps the problem and has what the job's pairs need.
So it depends on verdicts alone, never on which of two correct texts came, and the solution drawn is not biased by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from errata.config import InjectionConfig
from errata.selection import Sample, select
from errata.types import Domain


def adaptive(config: InjectionConfig, domain: Domain) -> bool:
    """Whether the job draws in waves. Never for code: a wave's verdicts would run it where language models are."""
    return config.sampling.adaptive and domain is not Domain.CODE


def limit(config: InjectionConfig) -> int:
    """The most samples of a problem: K, or one where a greedy job would only repeat itself."""
    return 1 if config.sampling.temperature == 0 else config.sampling.samples


def first_wave(config: InjectionConfig, domain: Domain) -> int:
    """Samples of the first wave: the fewest that can suffice, or ``wave``, or all of them for a job without waves."""
    most = limit(config)
    if not adaptive(config, domain):
        return most
    return min(most, max(config.sampling.wave, 2 if _needs_both(config) else 1))


def next_wave(samples: Sequence[Sample], config: InjectionConfig, domain: Domain, question: str) -> int:
    """How many samples to draw behind ``samples``, all judged, in order; 0: the job has what it needs, or its limit."""
    left = limit(config) - len(samples)
    if left <= 0 or not adaptive(config, domain):
        return max(left, 0)
    found = select(samples, config.selection, question)
    if found.correct is not None and (found.incorrect is not None or not _needs_both(config)):
        return 0
    return min(config.sampling.wave, left)


def _needs_both(config: InjectionConfig) -> bool:
    """Whether an incorrect solution is needed too: step pairs alone are made from a correct one."""
    return config.pairs.full or config.selection.require_both
