"""The calculations of a solution, in order, and how a wrong one differs from a right one.

This reads arithmetic only: what a solution says in words or in algebra has no calculation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic import Equation, find_equations, strip_marks
from errata.steps import split_steps
from errata.thoughts import THOUGHTS, Markers


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

    @property
    def content(self) -> tuple[object, ...]:
        """What is calculated, wherever it stands: equal for the same calculation in another step."""
        return self.numbers, self.shape, self.result


def calculations(solution: str, thoughts: Markers = THOUGHTS) -> list[Calculation]:
    """Every calculation of a solution's steps, in order; thoughts and steps that only state the answer have none."""
    text = strip_marks(solution)
    found: list[Calculation] = []
    for step in split_steps(text, thoughts=thoughts):
        if not step.is_answer and not step.is_thought:
            for equation in find_equations(text[step.start : step.end]):
                found += side_calculations(equation, step.index)
    return found


def side_calculations(equation: Equation, step: int) -> list[Calculation]:
    """The sides that compute something, each with the value of the side that follows it, or else precedes it."""
    sides = equation.sides
    found: list[Calculation] = []
    for at, side in enumerate(sides):
        other = sides[at + 1] if at + 1 < len(sides) else sides[at - 1]
        if not side.is_expression or other.known is None:
            continue
        numbers = tuple(token.value for token in side.tokens if token.kind == "number" and token.value is not None)
        shape = tuple("#" if token.kind == "number" else token.symbol for token in side.tokens)
        # ``broken`` names the first side that differs, so the sides before it are not judged false with it.
        broken = equation.broken is not None and equation.broken in (at, at + 1)
        found.append(Calculation(step, numbers, shape, other.known, False if broken else equation.holds))
    return found


def changes_sign(right: Calculation, wrong: Calculation) -> bool:
    """Whether the same numbers stand in the same order with other operation signs."""
    return right.numbers == wrong.numbers and len(right.shape) == len(wrong.shape) and right.signs != wrong.signs


def reorders(right: Calculation, wrong: Calculation) -> bool:
    """Whether the same numbers stand in another order between the same signs."""
    same = sorted(right.numbers) == sorted(wrong.numbers) and right.signs == wrong.signs
    return same and (right.numbers, right.shape) != (wrong.numbers, wrong.shape)


def substitutes(right: Calculation, wrong: Calculation) -> bool:
    """Whether exactly one number differs."""
    if right.shape != wrong.shape or len(right.numbers) != len(wrong.numbers):
        return False
    return sum(a != b for a, b in zip(right.numbers, wrong.numbers, strict=True)) == 1


def omits(right: Calculation, wrong: Calculation) -> bool:
    """Whether numbers and signs are missing, and none is new."""
    fewer = len(wrong.numbers) < len(right.numbers)
    new_numbers = Counter(wrong.numbers) - Counter(right.numbers)
    return fewer and not new_numbers and not Counter(wrong.signs) - Counter(right.signs)
