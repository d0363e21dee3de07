"""The error profile of a model's real wrong samples: which kind of error comes first (``mix: "profile"``, ours).

A wrong sample is read calculation by calculation beside the correct ones of its problem. The first that none of them
has, and whose result none of them mentions, is its first error; the nearest calculation of a correct sample says of
which kind. This reads arithmetic only: what a sample does in words, or in algebra, stays unclassified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from errata.calculations import Calculation, calculations
from errata.kinds import kinds_of
from errata.selection import Sample
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain, Verdict


@dataclass(frozen=True, slots=True)
class FirstError:
    """Where a wrong sample first leaves the correct ones, and how: ``kind`` is one of mathematics."""

    step: int
    kind: str


@dataclass(frozen=True, slots=True)
class ErrorProfile:
    """First errors by kind. ``compared``: wrong samples that had a correct one beside them; the rest say nothing."""

    counts: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0

    def __add__(self, other: ErrorProfile) -> ErrorProfile:
        """The profile of both sets of problems."""
        counts = Counter(self.counts) + Counter(other.counts)
        return ErrorProfile(dict(sorted(counts.items())), self.compared + other.compared)

    @property
    def unclassified(self) -> int:
        """Compared samples whose first error is not in their arithmetic."""
        return self.compared - sum(self.counts.values())

    def weights(self, domain: Domain) -> dict[str, float]:
        """A weight for each kind of the domain, together 1.

        One is added to each count (Laplace's rule), so that no kind dies out for want of samples: a kind that the
        profile cannot recognize is drawn too.
        """
        kinds = kinds_of(domain)
        total = sum(self.counts.get(kind, 0) for kind in kinds) + len(kinds)
        return {kind: (self.counts.get(kind, 0) + 1) / total for kind in kinds}


def error_profile(
    problems: Iterable[tuple[Sequence[Sample], str | None]], thoughts: Markers = THOUGHTS
) -> ErrorProfile:
    """The profile of judged samples, given per problem with its gold solution where there is one.

    Wrong samples of equal text count once. A problem without any correct solution says nothing.
    """
    counts: Counter[str] = Counter()
    compared = 0
    for samples, gold_solution in problems:
        correct = {s.text for s in samples if s.verdict is Verdict.CORRECT}
        if gold_solution:
            correct.add(gold_solution)
        if not correct:
            continue
        references = [calculations(text, thoughts) for text in sorted(correct)]
        for text in sorted({s.text for s in samples if s.verdict is Verdict.INCORRECT}):
            compared += 1
            found = first_error(calculations(text, thoughts), references)
            if found is not None:
                counts[found.kind] += 1
    return ErrorProfile(dict(sorted(counts.items())), compared)


def first_error(wrong: Sequence[Calculation], correct: Sequence[Sequence[Calculation]]) -> FirstError | None:
    """The first calculation of ``wrong`` that leaves every correct solution, classified; None where none does.

    A false calculation is an error wherever it stands. A true one is an error only if no correct solution has its
    result: another way to a number that they have too is no mistake.
    """
    everything = [calculation for solution in correct for calculation in solution]
    known = {calculation.content for calculation in everything}
    values = {value for c in everything for value in (*c.numbers, c.result)}
    said = {calculation.content for calculation in wrong}
    # The correct solution that shares most calculations took the same way, so the error is read against it first.
    alike = sorted(correct, key=lambda solution: -sum(c.content in said for c in solution))
    for calculation in wrong:
        if calculation.content in known:
            continue
        if calculation.true is not False and calculation.result in values:
            continue
        return FirstError(calculation.step, _classify(calculation, alike))
    return None


def _classify(calculation: Calculation, correct: Sequence[Sequence[Calculation]]) -> str:
    """The kind that leads from a correct calculation to this one; solutions most like this one first.

    A false calculation with the right result had its expression changed; with another result it was computed wrongly. A
    true one that resembles nothing that was to be computed comes of a question misread.
    """
    false = calculation.true is False
    kinds = sorted(kinds_of(Domain.MATH).values(), key=lambda kind: kind.profile.rank)
    for solution in correct:
        near = sorted(solution, key=lambda other: abs(other.step - calculation.step))
        # A false calculation with the right result had its expression changed: only such results can be its source.
        near = [other for other in near if not false or other.result == calculation.result]
        for kind in kinds:
            relation = kind.profile.relation
            if relation is not None and any(relation(other, calculation) for other in near):
                return kind.name
    return next(kind.name for kind in kinds if kind.profile.rest == ("false" if false else "other"))
