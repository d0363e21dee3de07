"""Exact values of expression trees, where they are fractions of bounded size. No approximation happens here."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from errata.answers.expressions import Tree

_MAX_BITS = 40_000  # of an exact value; 1/1500! has 13,700

_MAX_FACTORIAL = 3_000


class Undefined(ArithmeticError):
    """A value that does not exist at this point, such as 1/0."""


@lru_cache(maxsize=1024)
def exact(tree: Tree) -> Fraction | None:
    """The value as a fraction; None where it has none, has variables, or is too large. Raises Undefined for 1/0."""
    kind = tree[0]
    if kind == "num":
        return Fraction(tree[1])
    if kind in ("var", "const"):
        return None
    parts = [exact(part) for part in tree[1:] if isinstance(part, tuple)]
    if any(part is None for part in parts):
        return None
    value = _exact_apply(tree, [part for part in parts if part is not None])
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        return None
    return value


def _exact_apply(tree: Tree, values: list[Fraction]) -> Fraction | None:
    match tree[0]:
        case "+":
            return values[0] + values[1]
        case "-":
            return values[0] - values[1]
        case "*":
            return values[0] * values[1]
        case "/":
            if values[1] == 0:
                raise Undefined("division by zero")
            return values[0] / values[1]
        case "neg":
            return -values[0]
        case "abs":
            return abs(values[0])
        case "floor":
            return Fraction(values[0].__floor__())
        case "ceil":
            return Fraction(values[0].__ceil__())
        case "!" if values[0].denominator == 1 and 0 <= values[0] <= _MAX_FACTORIAL:
            return Fraction(_product(1, int(values[0])))
        case "^":
            return _exact_power(values[0], values[1])
        case "root":
            return _exact_root(values[0], values[1])
        case "binom" if values[0].denominator == values[1].denominator == 1 and 0 <= values[1] <= values[0] <= 1000:
            top, below = int(values[0]), int(values[1])
            return Fraction(_product(top - below + 1, top), _product(1, below))
    return None


def _product(first: int, last: int) -> int:
    product = 1
    for factor in range(first, last + 1):
        product *= factor
    return product


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 0 and exponent <= 0:
        raise Undefined("zero to a power that is not positive")
    if exponent.denominator != 1:
        if exponent.denominator > 20 or abs(exponent.numerator) > 20:
            return None
        root = _exact_root(base, Fraction(exponent.denominator))
        return None if root is None else _exact_power(root, Fraction(exponent.numerator))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(base) != 1 and bits * abs(exponent) > _MAX_BITS:
        return None
    return base ** int(exponent) if abs(base) != 1 else (base if exponent % 2 else Fraction(1))


def _exact_root(value: Fraction, index: Fraction) -> Fraction | None:
    """The real root where it is a fraction; of a negative number only where the index is odd."""
    if index.denominator != 1 or not 1 <= index <= 64 or (value < 0 and index % 2 == 0):
        return None
    top, below = _integer_root(abs(value.numerator), int(index)), _integer_root(value.denominator, int(index))
    if top is None or below is None:
        return None
    return Fraction(top if value >= 0 else -top, below)


def _integer_root(value: int, index: int) -> int | None:
    if value < 2:
        return value
    guess = 1 << -(-value.bit_length() // index)
    while True:
        better = ((index - 1) * guess + value // guess ** (index - 1)) // index
        if better >= guess:
            return guess if guess**index == value else None
        guess = better


def variables(tree: Tree) -> frozenset[str]:
    """The names in ``tree``."""
    if tree[0] == "var":
        return frozenset({tree[1]})
    return frozenset[str]().union(*(variables(part) for part in tree[1:] if isinstance(part, tuple)))


def size(tree: Tree) -> int:
    """The number of nodes."""
    return 1 + sum(size(part) for part in tree[1:] if isinstance(part, tuple))
