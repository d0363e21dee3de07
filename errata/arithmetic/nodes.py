"""The tree of one side and its exact evaluation under a reading. Bounded: large powers and factorials give None."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_BITS = 4096
MAX_EXPONENT = 256
MAX_FACTORIAL = 100


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written. ``exact``: a mixed number or vulgar fraction, whose digits say nothing about rounding."""

    value: Fraction
    decimals: int = 0
    truncated: bool = False
    exact: bool = False
    percent: bool = False
    scale: int = 1
    unit_factor: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Operation:
    """``symbol`` is one of ``+ - * / ^`` with two parts, or ``neg ! sqrt`` with one."""

    symbol: str
    parts: tuple[Node, ...]


Node = Quantity | Operation
PercentReading = Literal["fraction", "points", "relative"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand what people leave unsaid.

    ``percent``: 40 % is 0.4 (``fraction``), 40 (``points``), or in ``a + 40%`` forty percent of ``a`` (``relative``).
    ``scales``: "2 dozen" is 24, else 2. ``units``: quantities are converted to the smallest unit of their dimension.
    """

    percent: PercentReading = "fraction"
    scales: bool = False
    units: bool = False


PLAIN = Reading()
_ONE = Fraction(1)


class NotComputable(ArithmeticError):
    """The value does not exist as a fraction, or is too large to be worth having."""


def multiplier(quantity: Quantity, reading: Reading) -> Fraction:
    """What a shown number is multiplied by under ``reading``; its last digit's unit scales with it."""
    factor = Fraction(quantity.scale) if reading.scales else _ONE
    if quantity.percent and reading.percent != "points":
        factor /= 100
    return factor * quantity.unit_factor if reading.units else factor


def evaluate(node: Node, reading: Reading) -> Fraction:
    """The exact value. Raises NotComputable. Depth is bounded by the parser."""
    if isinstance(node, Quantity):
        factor = multiplier(node, reading)
        return node.value if factor is _ONE else node.value * factor
    values = [evaluate(part, reading) for part in node.parts]
    if reading.percent == "relative" and node.symbol in "+-" and _is_percent(node.parts[1], node.parts[0]):
        values[1] = values[0] * values[1]
    result = _apply(node.symbol, values)
    if max(result.numerator.bit_length(), result.denominator.bit_length()) > MAX_BITS:
        raise NotComputable("too large")
    return result


def _is_percent(node: Node, other: Node) -> bool:
    return isinstance(node, Quantity) and node.percent and not (isinstance(other, Quantity) and other.percent)


def _apply(symbol: str, values: list[Fraction]) -> Fraction:
    if symbol in ("neg", "sqrt", "!"):
        return _apply_one(symbol, values[0])
    left, right = values
    match symbol:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            if right == 0:
                raise NotComputable("division by zero")
            return left / right
        case _:
            return _power(left, right)


def _apply_one(symbol: str, value: Fraction) -> Fraction:
    if symbol == "neg":
        return -value
    if symbol == "sqrt":
        return _root(value)
    if value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise NotComputable("factorial")
    product = 1
    for k in range(2, int(value) + 1):
        product *= k
    return Fraction(product)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or (base == 0 and exponent < 0):
        raise NotComputable("exponent")
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size * abs(exponent) > MAX_BITS:
        raise NotComputable("too large")
    return base**exponent.numerator


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise NotComputable("root of a negative number")
    top, bottom = _integer_root(value.numerator), _integer_root(value.denominator)
    if top is None or bottom is None:
        raise NotComputable("irrational root")
    return Fraction(top, bottom)


def _integer_root(value: int) -> int | None:
    if value < 2:
        return value
    guess = 1 << ((value.bit_length() + 1) // 2)
    while True:
        better = (guess + value // guess) // 2
        if better >= guess:
            return guess if guess * guess == value else None
        guess = better
