"""What an operation makes of values: exactly where a fraction comes out, else as an enclosure, or entry by entry.

Bounded: a large power or factorial raises ``NotComputable``, as does what has no value or no agreed meaning.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction

from errata.arithmetic import matrices
from errata.arithmetic.enclosures import (
    AGREE,
    Enclosure,
    Real,
    Undefined,
    bounds,
    enclosed,
    logarithm,
    middle,
    pi,
    power,
    root,
    trigonometric,
)
from errata.arithmetic.matrices import Matrix, Mismatch

MAX_BITS = 4096  # of numerator and denominator: a model may write 9^9^9, and no proof needs its value
MAX_EXPONENT = 256
MAX_FACTORIAL = 100
MAX_DEGREE = 12
TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
LISTS = ("gcd", "lcm", "max", "min")
FENCES = ("abs", "floor", "ceil", "matrix", "det")  # operators that are closed by "end"
FUNCTIONS = (*TRIGONOMETRIC, *LISTS, "log", "ln")

Value = Real | Matrix


class NotComputable(ArithmeticError):
    """The value does not exist as a number, or is too large to be worth having."""


_EXACT: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def applied(symbol: str, values: Sequence[Value]) -> Value:
    """The value of one operation (see ``nodes.Operation``). Raises NotComputable."""
    exact = _EXACT.get(symbol)
    if exact is not None and isinstance(values[0], Fraction) and isinstance(values[1], Fraction):
        if symbol == "/" and values[1] == 0:
            raise NotComputable("division by zero")
        return _bounded(exact(values[0], values[1]))
    try:
        if symbol in ("row", "matrix", "det"):
            return _celled(symbol, values)
        if any(isinstance(value, Matrix) for value in values):
            return _on_matrices(symbol, values)
        found = _on_numbers(symbol, [value for value in values if not isinstance(value, Matrix)])
    except (Undefined, Mismatch, OverflowError) as error:
        raise NotComputable(str(error)) from error
    return _bounded(found) if isinstance(found, Fraction) else found


def distance(left: Value, right: Value) -> tuple[Fraction, Fraction]:
    """Bounds on how far two values lie apart, by the entry that differs most. Raises NotComputable for shapes."""
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        if left.shape != right.shape:
            raise NotComputable("shapes differ")
        apart = [distance(*pair) for pair in zip(left.entries, right.entries, strict=True)]
        return max(low for low, _ in apart), max(high for _, high in apart)
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        raise NotComputable("a number and a matrix")
    return bounds(_absolute(matrices.subtract(left, right)))


def size(value: Value) -> Fraction:
    """About how large a value is: the largest entry of a matrix."""
    numbers = value.entries if isinstance(value, Matrix) else [value]
    return max(abs(middle(number)) for number in numbers)


def _on_numbers(symbol: str, values: Sequence[Real]) -> Real:
    match symbol:
        case "pi":
            return pi()
        case "neg":
            return -values[0]
        case "abs":
            return _absolute(values[0])
        case "floor" | "ceil":
            return _whole(symbol, values[0])
        case "!":
            return Fraction(math.factorial(_small(values[0])))
        case "degrees":
            return pi() * values[0] / Fraction(180)
        case "ln":
            return Fraction(0) if values[0] == 1 else logarithm(values[0], None)
        case "log":
            return _logarithm(values[0], values[1])
        case "cross":
            return matrices.times(values[0], values[1])
        case "^" | "root" | "binom" | "+" | "-" | "*" | "/":
            return _on_two(symbol, values[0], values[1])
    if symbol in LISTS:
        return _listed(symbol, values)
    if isinstance(values[0], Fraction) and values[0] != 0:
        raise NotComputable("an angle of rational radians: degrees may be meant")
    return trigonometric(symbol, values[0])


def _absolute(value: Real) -> Real:
    return -value if bounds(value)[1] < 0 else value if bounds(value)[0] >= 0 else enclosed(value).size()


def _on_two(symbol: str, left: Real, right: Real) -> Real:
    if symbol == "^":
        return _power(left, right)
    if symbol == "root":
        return _root(left, right)
    if symbol == "binom":
        return Fraction(math.comb(_small(left), _small(right)))
    if symbol == "/":
        return enclosed(left) / right
    if symbol == "*":
        return matrices.times(left, right)
    return matrices.add(left, right) if symbol == "+" else matrices.subtract(left, right)


def _on_matrices(symbol: str, values: Sequence[Value]) -> Value:
    first, second = values[0], values[-1]
    if symbol == "neg" and isinstance(first, Matrix):
        return first.map(lambda entry: -entry)
    if isinstance(first, Matrix) and isinstance(second, Matrix):
        if symbol in "+-":
            return matrices.added(first, second, 1 if symbol == "+" else -1)
        if symbol in ("*", "cross"):
            return matrices.multiplied(first, second) if symbol == "*" else matrices.crossed(first, second)
    if symbol == "^" and isinstance(first, Matrix) and isinstance(second, Fraction):
        return matrices.raised(first, second)
    matrix, factor = (first, second) if isinstance(first, Matrix) else (second, first)
    if symbol == "*" and isinstance(matrix, Matrix) and not isinstance(factor, Matrix):
        return matrix.map(lambda entry: matrices.times(entry, factor))
    raise Mismatch(f"no {symbol} of matrices")


def _celled(symbol: str, values: Sequence[Value]) -> Value:
    if symbol == "row":
        if any(isinstance(value, Matrix) for value in values):
            raise Mismatch("a matrix in a cell")
        return Matrix((tuple(value for value in values if not isinstance(value, Matrix)),))
    rows = tuple(row for value in values if isinstance(value, Matrix) for row in value.rows)
    matrix = Matrix(rows)
    return matrices.determinant(matrix) if symbol == "det" else matrix


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise NotComputable("too large")
    return value


def _small(value: Real) -> int:
    """A count that a factorial or a binomial coefficient may have."""
    if isinstance(value, Enclosure) or value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise NotComputable("factorial")
    return value.numerator


def _whole(symbol: str, value: Real) -> Fraction:
    """The floor or the ceiling of a value whose bounds agree on it."""
    low, high = (math.floor(end) if symbol == "floor" else math.ceil(end) for end in bounds(value))
    if low != high:
        raise NotComputable("a whole number, or just beside one")
    return Fraction(low)


def _listed(symbol: str, values: Sequence[Real]) -> Fraction:
    exact = [value for value in values if isinstance(value, Fraction)]
    if len(exact) != len(values) or len(exact) < 2:  # "gcd(120,144)" may be two numbers or one with a comma in it
        raise NotComputable("one number, or irrational ones")
    if symbol in ("max", "min"):
        return max(exact) if symbol == "max" else min(exact)
    if any(value.denominator != 1 or value <= 0 for value in exact):
        raise NotComputable("no whole numbers")
    whole = [value.numerator for value in exact]
    return Fraction(math.gcd(*whole) if symbol == "gcd" else math.lcm(*whole))


def _logarithm(value: Real, base: Real) -> Real:
    found = logarithm(value, base)
    if isinstance(value, Fraction) and isinstance(base, Fraction):
        # log_8 4 = 2/3: exact where a small power of the value is one of the base.
        for below in range(1, 7):
            exponent = round(middle(found) * below)
            near = abs(middle(found) * below - exponent) < AGREE and abs(exponent) <= MAX_EXPONENT
            if near and value**below == base**exponent:
                return Fraction(exponent, below)
    return found


def _power(base: Real, exponent: Real) -> Real:
    if isinstance(exponent, Enclosure) or abs(exponent) > MAX_EXPONENT or (base == 0 and exponent < 0):
        raise NotComputable("exponent")
    if isinstance(base, Enclosure) or exponent.denominator != 1:
        if isinstance(base, Fraction) and exponent.denominator <= MAX_DEGREE:
            return _root(Fraction(exponent.denominator), _power(base, Fraction(exponent.numerator)))
        return power(base, exponent)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > MAX_BITS:
        raise NotComputable("too large")
    return base**exponent.numerator


def _root(degree: Real, value: Real) -> Real:
    if isinstance(degree, Enclosure) or degree.denominator != 1 or not 2 <= degree <= MAX_DEGREE:
        raise NotComputable("root")
    if isinstance(value, Enclosure):
        return root(degree.numerator, value)
    if value < 0 and degree % 2 == 0:
        raise NotComputable("root")
    parts = [whole_root(abs(part), degree.numerator) for part in (value.numerator, value.denominator)]
    top, bottom = parts
    if top is None or bottom is None:
        return root(degree.numerator, value)
    return Fraction(top, bottom) if value >= 0 else Fraction(-top, bottom)


def whole_root(value: int, degree: int) -> int | None:
    """The whole root of a whole number from 0 on, or None."""
    # A fraction in lowest terms has a rational root exactly where both its parts have a whole one.
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        halfway = (low + high) // 2
        low, high = (halfway + 1, high) if halfway**degree < value else (low, halfway)
    return low if low**degree == value else None
