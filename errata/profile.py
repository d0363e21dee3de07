"""The error profile of a model's real wrong samples: which kind of error comes first (``mix: "profile"``, ours).

A wrong sample is read calculation by calculation beside the correct ones of its problem. The first that none of them
has, and whose result none of them mentions, is its first error; the nearest calculation of a correct sample says of
which kind. This reads arithmetic only: what a sample does in words, or in algebra, stays unclassified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from errata.arithmetic import Equation, find_equations, strip_marks
from errata.selection import Sample
from errata.steps import split_steps
from errata.types import Verdict

PROFILE_KINDS = ("calculation", "substitution", "omission", "operator", "order", "misreading")


@dataclass(frozen=True, slots=True)
class Calculation:
    """One expression of a step: its numbers and operation signs in order, and the result the text gives it.

    ``shape`` holds the signs and brackets with a place for each number; ``true`` is None where it cannot be judged.
    """

    step: int
    numbers: tuple[Fraction, ...]
    shape: tuple[str, ...]
    result: Fraction
    true: bool | None

    @property
    def signs(self) -> tuple[str, ...]:
        """The operation signs alone."""
        return tuple(symbol for symbol in self.shape if symbol not in ("#", "(", ")"))


@dataclass(frozen=True, slots=True)
class FirstError:
    """Where a wrong sample first leaves the correct ones, and how: ``kind`` is one of ``PROFILE_KINDS``."""

    step: int
    kind: str


@dataclass(frozen=True, slots=True)
class ErrorProfile:
    """First errors by kind. ``compared``: wrong samples that had a correct one beside them; the rest say nothing."""

    counts: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0

    @property
    def unclassified(self) -> int:
        """Compared samples whose first error is not in their arithmetic."""
        return self.compared - sum(self.counts.values())

    def weights(self) -> dict[str, float]:
        """A weight per kind, together 1. One is added to each count, so that no kind dies out for want of samples."""
        total = sum(self.counts.values()) + len(PROFILE_KINDS)
        return {kind: (self.counts.get(kind, 0) + 1) / total for kind in PROFILE_KINDS}


def error_profile(problems: Iterable[tuple[Sequence[Sample], str | None]]) -> ErrorProfile:
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
        references = [calculations(text) for text in sorted(correct)]
        for text in sorted({s.text for s in samples if s.verdict is Verdict.INCORRECT}):
            compared += 1
            found = first_error(calculations(text), references)
            if found is not None:
                counts[found.kind] += 1
    return ErrorProfile(dict(sorted(counts.items())), compared)


def calculations(solution: str) -> list[Calculation]:
    """Every calculation of a solution's steps, in order; steps that only state the answer have none."""
    text = strip_marks(solution).text
    found: list[Calculation] = []
    for step in split_steps(text):
        if not step.is_answer:
            for equation in find_equations(text[step.start : step.end]):
                found += _expressions(equation, step.index)
    return found


def first_error(wrong: Sequence[Calculation], correct: Sequence[Sequence[Calculation]]) -> FirstError | None:
    """The first calculation of ``wrong`` that leaves every correct solution, classified; None where none does.

    A false calculation is an error wherever it stands. A true one is an error only if no correct solution has its
    result: another way to a number that they have too is no mistake.
    """
    everything = [calculation for solution in correct for calculation in solution]
    known = {_said(calculation) for calculation in everything}
    values = {value for c in everything for value in (*c.numbers, c.result)}
    said = {_said(calculation) for calculation in wrong}
    alike = sorted(correct, key=lambda solution: -sum(_said(c) in said for c in solution))
    for calculation in wrong:
        if _said(calculation) in known:
            continue
        if calculation.true is not False and calculation.result in values:
            continue
        return FirstError(calculation.step, _kind(calculation, alike))
    return None


def _said(calculation: Calculation) -> tuple[object, ...]:
    return calculation.numbers, calculation.shape, calculation.result


def _expressions(equation: Equation, step: int) -> Iterator[Calculation]:
    """The sides that compute something, each with the value of the side that follows it, or else precedes it."""
    sides = equation.sides
    for at, side in enumerate(sides):
        other = sides[at + 1] if at + 1 < len(sides) else sides[at - 1]
        if not side.is_expression or other.value is None:
            continue
        numbers = tuple(token.value for token in side.tokens if token.kind == "number" and token.value is not None)
        shape = tuple("#" if token.kind == "number" else token.symbol for token in side.tokens)
        broken = equation.broken is not None and equation.broken in (at, at + 1)
        yield Calculation(step, numbers, shape, other.value, False if broken else equation.holds)


def _kind(calculation: Calculation, correct: Sequence[Sequence[Calculation]]) -> str:
    """The kind that leads from a correct calculation to this one; solutions most like this one first.

    A false calculation with the right result had its expression changed; with another result it was computed wrongly. A
    true one that resembles nothing that was to be computed comes of a question misread.
    """
    false = calculation.true is False
    for solution in correct:
        near = sorted(solution, key=lambda other: abs(other.step - calculation.step))
        near = [other for other in near if not false or other.result == calculation.result]
        for kind, made in _RELATIONS:
            if any(made(other, calculation) for other in near):
                return kind
    return "calculation" if false else "misreading"


def _resigned(right: Calculation, wrong: Calculation) -> bool:
    return right.numbers == wrong.numbers and len(right.shape) == len(wrong.shape) and right.signs != wrong.signs


def _reordered(right: Calculation, wrong: Calculation) -> bool:
    same = sorted(right.numbers) == sorted(wrong.numbers) and right.signs == wrong.signs
    return same and (right.numbers, right.shape) != (wrong.numbers, wrong.shape)


def _substituted(right: Calculation, wrong: Calculation) -> bool:
    if right.shape != wrong.shape or len(right.numbers) != len(wrong.numbers):
        return False
    return sum(a != b for a, b in zip(right.numbers, wrong.numbers, strict=True)) == 1


def _omitted(right: Calculation, wrong: Calculation) -> bool:
    fewer = len(wrong.numbers) < len(right.numbers)
    return (
        fewer
        and not Counter(wrong.numbers) - Counter(right.numbers)
        and not Counter(wrong.signs) - Counter(right.signs)
    )


# From the smallest change to the largest, so that what can be said with less is not said with more.
_RELATIONS = (
    ("order", _reordered),
    ("operator", _resigned),
    ("substitution", _substituted),
    ("omission", _omitted),
)
