"""Rational expressions in single-letter variables: the tree, its value at a point, its quotient of polynomials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from errata.algebra.polynomials import (
    MAX_BITS,
    Polynomial,
    TooLarge,
    add,
    constant,
    multiply,
    power,
    variable,
)

MAX_POWER = 12


@dataclass(frozen=True, slots=True)
class Expression:
    """A node: a number, a variable, or an operation on one or two expressions.

    ``name`` is the variable's. ``value`` is the number, or the integer exponent of ``power``.
    """

    kind: Literal["number", "variable", "add", "subtract", "multiply", "divide", "negate", "power"]
    parts: tuple[Expression, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""

    def at(self, point: Mapping[str, Fraction]) -> Fraction:
        """The exact value. Raises ZeroDivisionError where a denominator is zero, TooLarge beyond the caps."""
        values = [part.at(point) for part in self.parts]
        found = self._value(values, point)
        if found.numerator.bit_length() > MAX_BITS or found.denominator.bit_length() > MAX_BITS:
            raise TooLarge
        return found

    def _value(self, values: list[Fraction], point: Mapping[str, Fraction]) -> Fraction:
        match self.kind:
            case "number":
                return self.value
            case "variable":
                return point[self.name]
            case "add":
                return values[0] + values[1]
            case "subtract":
                return values[0] - values[1]
            case "multiply":
                return values[0] * values[1]
            case "divide":
                return values[0] / values[1]
            case "negate":
                return -values[0]
            case "power":
                return Fraction(values[0] ** int(self.value))

    def quotient(self) -> tuple[Polynomial, Polynomial]:
        """Numerator and denominator. Raises ZeroDivisionError where the denominator is zero everywhere, TooLarge."""
        one = constant(Fraction(1))
        parts = [part.quotient() for part in self.parts]
        match self.kind:
            case "number":
                return constant(self.value), one
            case "variable":
                return variable(self.name), one
            case "negate":
                return multiply(parts[0][0], constant(Fraction(-1))), parts[0][1]
            case "power":
                return _power(parts[0], int(self.value))
            case "multiply":
                return multiply(parts[0][0], parts[1][0]), multiply(parts[0][1], parts[1][1])
            case "divide":
                if not parts[1][0]:
                    raise ZeroDivisionError
                return multiply(parts[0][0], parts[1][1]), multiply(parts[0][1], parts[1][0])
            case "add" | "subtract":
                (a, b), (c, d) = parts
                sign = 1 if self.kind == "add" else -1
                # Most sides are polynomials: a common denominator keeps them small.
                return (add(a, c, sign), b) if b == d else (add(multiply(a, d), multiply(c, b), sign), multiply(b, d))

    def variables(self) -> frozenset[str]:
        """The variables that occur."""
        if self.kind == "variable":
            return frozenset({self.name})
        return frozenset[str]().union(*(part.variables() for part in self.parts))


def _power(quotient: tuple[Polynomial, Polynomial], exponent: int) -> tuple[Polynomial, Polynomial]:
    above, below = quotient if exponent >= 0 else quotient[::-1]
    if not below:
        raise ZeroDivisionError
    return power(above, abs(exponent)), power(below, abs(exponent))


def difference(left: Expression, right: Expression) -> Polynomial:
    """The numerator of ``left - right``: zero exactly where both are equal for all values of their variables."""
    (a, b), (c, d) = left.quotient(), right.quotient()
    return add(multiply(a, d), multiply(c, b), -1)
