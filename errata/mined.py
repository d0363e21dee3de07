"""Mined errors: a step that the model wrote anew from its correct prefix, and wrote wrong (docs/method.md step 6).

This module reads the samples of a step: which of them say what the step says, which may be wrong, and which right one
is nearest in wording to a wrong one. It asks no model and proves nothing beyond the samples' own equations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from errata.calculations import calculations
from errata.config import ScreeningConfig
from errata.mined_proof import own_contradiction, values_of
from errata.profile import first_error
from errata.proof import is_consistent
from errata.screening import screen
from errata.steps import split_steps
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain, Step, Verdict

MINED_KIND = "misreading"
"""The kind of a mined error that no calculation shows."""
_STRUCTURAL = ScreeningConfig()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that several samples may share and that is wrong, or may be: ``false`` where an equation of it is.

    ``chosen``: the right sample of the step, or the step itself, that is nearest to it in wording.
    """

    text: str
    chosen: str
    count: int
    false: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Resampled:
    """What the samples of a step are. ``samples``: those that are one whole step; ``right`` of them say what it says.

    ``candidates``: all that do not, most frequent first, and of equally frequent ones those with a false equation.
    """

    samples: int
    right: int
    candidates: tuple[Candidate, ...]

    def counts(self, at: int) -> dict[str, int]:
        """How many samples there are, are right, are false by themselves, and say what candidate ``at`` says."""
        own = self.candidates[at].count if at < len(self.candidates) else 0
        false = sum(each.count for place, each in enumerate(self.candidates) if each.false and place != at)
        return {"samples": self.samples, "right": self.right, "false": false, "same": own}


def error_rate(counts: Mapping[str, int], *, proven: bool) -> float | None:
    """The share of a step's samples that are known to be wrong, from ``Resampled.counts``; None without samples.

    ``proven``: whether the candidate that became the edit was. Samples of which nothing is known count as right, so
    the rate is at most the true one.
    """
    if not counts["samples"]:
        return None
    return (counts["false"] + (counts["same"] if proven else 0)) / counts["samples"]


def lost_at_step(before: Sequence[Verdict], behind: Sequence[Verdict]) -> float | None:
    """How often a model errs at a step, from verdicts on its continuations from before the step and from behind it.

    The share that misses gold from before, less the share from behind: what is lost later is no error of this step.
    Never below 0, where chance would say so. A timeout counts neither way; None where one side has no verdict left.
    """
    misses = []
    for side in (before, behind):
        judged = [verdict for verdict in side if verdict is not Verdict.TIMEOUT]
        if not judged:
            return None
        misses.append(sum(verdict is not Verdict.CORRECT for verdict in judged) / len(judged))
    return max(misses[0] - misses[1], 0.0)


def stop_of(step: str) -> tuple[str, ...]:
    """Strings behind which nothing of a sample of this step can stand, so that an engine need not write on."""
    body = step.rstrip()
    if "\n" not in body:
        return ("\n",)
    return () if "\n\n" in body else ("\n\n",)


def as_step(solution: str, steps: Sequence[Step], index: int, written: str, thoughts: Markers = THOUGHTS) -> str | None:
    """What a model wrote behind a step's label, as a step in the place of this one; None where it is no whole step.

    The step's own white space stands at its end. Of several steps the first is taken.
    """
    step = steps[index]
    tail = solution[step.start : step.end]
    tail = tail[len(tail.rstrip()) :]
    text = solution[: step.body_start] + written.rstrip() + tail + solution[step.end :]
    found = split_steps(text, Domain.MATH, thoughts)
    if len(found) < len(steps) or found[index].start != step.start or not written.strip():
        return None
    body = text[step.start : found[index].end].rstrip()
    return body + tail


def read_samples(
    step: str, question: str, samples: Sequence[str | None], weights: Mapping[str, float] | None = None
) -> Resampled:
    """Sort the samples of a step (``as_step``; None: no whole step). ``weights``: kinds without any are left out.

    A sample is right where it has the numbers and signs of the step in their order, or where all its equations hold
    and it comes to the same results. Only the former may be the chosen side.
    """
    whole = [text for text in samples if text is not None]
    values, results = values_of(step), _results(step)
    alike = {step: True}
    wrong: Counter[str] = Counter()
    right = 0
    for text in whole:
        true = is_consistent(text)
        if true and values_of(text) == values:
            alike[text] = True
            right += 1
        elif true and results and _results(text) == results:
            right += 1
        else:
            wrong[text] += 1
    choices = [text for text in alike if text == step or _fits(step, text, question)]
    found = [_candidate(text, count, choices) for text, count in wrong.items()]
    kept = [each for each in found if weights is None or weights.get(each.kind, 0.0) > 0]
    # Stable: of equals the one that was written first.
    return Resampled(len(whole), right, tuple(sorted(kept, key=lambda each: (-each.count, not each.false))))


def _results(step: str) -> Counter[Any]:
    return Counter(each.result for each in calculations(step))


def _fits(step: str, text: str, question: str) -> bool:
    """Whether a right sample may stand in the step's place: one that only differs in white space need not."""
    reason = screen(step, text, question, _STRUCTURAL).reason
    return reason is None


def _candidate(text: str, count: int, choices: Sequence[str]) -> Candidate:
    chosen = min(choices, key=lambda choice: Levenshtein.distance(choice, text))
    error = first_error(calculations(text), [calculations(chosen)])
    kind = MINED_KIND if error is None else error.kind
    return Candidate(text, chosen, count, own_contradiction(text, chosen) is not None, kind)
