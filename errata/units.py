"""The unit of an edit: the one equation or sentence of a step that may change (docs/method.md step 6).

A unit is a pair of offsets into the solution. What a model writes is spliced in there, so nothing outside the unit can
change. This module finds units; it knows neither prompts nor kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from errata.arithmetic import find_equations
from errata.steps import offered_span
from errata.types import Domain, Step

UnitKind = Literal["equation", "sentence"]


@dataclass(frozen=True, slots=True)
class Unit:
    """``solution[start:end]``, without the white space around it. ``one_line``: it holds no line break.

    An ``equation`` runs from its first to its last number, currency and percent signs included. A ``sentence`` is a
    sentence of prose, a line of code, or the whole answer of a logic puzzle.
    """

    start: int
    end: int
    kind: UnitKind
    one_line: bool


def units_of(solution: str, step: Step, sentences: int | None, domain: Domain = Domain.MATH) -> tuple[Unit, ...]:
    """The units of a step in order, equations before sentences, from its last ``sentences`` sentences.

    Without ``sentences`` the whole step is offered, and its prose is one unit. Only equations that hold and compute
    something are units: one that is false or unread has no error to get. A line of code and an answer in logic are one
    unit. Empty for a step without visible characters.
    """
    if domain in (Domain.LOGIC, Domain.CODE):
        return _trimmed(solution, step.body_start, step.end)
    start = step.body_start if sentences is None else offered_span(solution, step, sentences)[0]
    equations = []
    for equation in find_equations(solution[step.start : step.end]):
        at, end = step.start + equation.start, step.start + equation.end
        if at >= start and equation.holds and any(side.is_expression for side in equation.sides):
            equations.append(Unit(at, end, "equation", "\n" not in solution[at:end]))
    return (*equations, *_sentences(solution, step, sentences))


def whole_unit(solution: str, step: Step, start: int | None = None) -> Unit:
    """All that is offered of a step, from ``start`` (its body by default), as one unit."""
    first = step.body_start if start is None else start
    found = _trimmed(solution, first, step.end)
    return found[0] if found else Unit(first, first, "sentence", True)


def unit_at(units: Sequence[Unit], start: int, end: int) -> Unit | None:
    """The first unit that holds ``solution[start:end]``."""
    return next((unit for unit in units if unit.start <= start and end <= unit.end), None)


def _sentences(solution: str, step: Step, sentences: int | None) -> list[Unit]:
    if sentences is None:
        return list(_trimmed(solution, step.body_start, step.end))
    # The span of the last n sentences starts where the n-th sentence from the end does.
    starts = {offered_span(solution, step, count)[0] for count in range(1, sentences + 1)}
    cuts = [*sorted(starts), step.end]
    return [unit for start, end in pairwise(cuts) for unit in _trimmed(solution, start, end)]


def _trimmed(solution: str, start: int, end: int) -> tuple[Unit, ...]:
    text = solution[start:end]
    first, last = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
    return (Unit(first, last, "sentence", "\n" not in solution[first:last]),) if first < last else ()
