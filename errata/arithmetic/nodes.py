"""What equations are made of: tokens and sides as offsets into the text, and the tree of a side with its exact value.

Every value is a ``Fraction``. Evaluation is bounded: a large power or factorial raises ``NotComputable``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_BITS = 4096  # of numerator and denominator: a model may write 9^9^9, and no proof needs its value
MAX_EXPONENT = 256
MAX_FACTORIAL = 100
MAX_DEGREE = 12
TokenKind = Literal["number", "operator", "paren"]


@dataclass(frozen=True, slots=True)
class Token:
    """One editable piece of a side: ``text[start:end]`` of the original text.

    ``symbol`` is the operator in canonical form (``+ - * / ^ ! neg frac sqrt binom choose``) or the bracket ``(``,
    ``)``; "" for numbers. ``value`` is a number's face value (without percent, scale word or unit), None for the
    others.
    """

    kind: TokenKind
    start: int
    end: int
    text: str
    symbol: str = ""
    value: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an equation. ``value`` is exact under the reading that was used, None where it cannot be computed.

    ``start``/``end`` run from the first to the last token, currency and percent signs included, a trailing unit
    phrase not. ``is_expression``: it computes something, as against a bare quantity such as ``-$5``, ``20 %`` or 3/4
    written as ``\\frac`` in lowest terms.
    """

    start: int
    end: int
    text: str
    value: Fraction | None
    tokens: tuple[Token, ...]
    is_expression: bool


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation or chain found in prose. ``holds`` is None where it cannot be judged (variables, prose, too large).

    ``broken`` is the index of the first side that differs from the one before, set exactly when ``holds`` is False.
    ``rounds``: it holds only if a whole number rounds and the text does not say so ("7/2 = 3"); ``holds`` is then None.
    """

    start: int
    end: int
    sides: tuple[Side, ...]
    holds: bool | None
    broken: int | None = None
    rounds: bool = False


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written. ``exact``: a mixed number or vulgar fraction, whose digits say nothing about rounding.

    ``counts``: a noun that is no unit of measure follows, so what is counted is whole ("133 girls").
    """

    value: Fraction
    decimals: int = 0
    truncated: bool = False
    exact: bool = False
    percent: bool = False
    scale: int = 1
    unit_factor: Fraction = Fraction(1)
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """``symbol`` is one of ``+ - * / ^ root binom mixed`` with two parts, or ``neg !`` with one.

    ``root`` has degree and radicand; ``mixed`` a whole number and the ``\\frac`` that stands behind it.
    """

    symbol: str
    parts: tuple[Node, ...]


Node = Quantity | Operation
PercentReading = Literal["fraction", "points", "relative"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand what people leave unsaid.

    ``percent``: 40 % is 0.4 (``fraction``), 40 (``points``), or in ``a + 40%`` forty percent of ``a`` (``relative``).
    ``scales``: "2 dozen" is 24, else 2. ``units``: quantities are converted to the smallest unit of their dimension.
    ``product``: ``2\\frac{1}{2}`` is 1, else two and a half.
    """

    percent: PercentReading = "fraction"
    scales: bool = False
    units: bool = False
    product: bool = False


PLAIN = Reading()
_ONE = Fraction(1)
_BINARY: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


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
        # Identity, not equality: comparing fractions costs more than the multiplication it would save.
        return node.value if factor is _ONE else node.value * factor
    values = [evaluate(part, reading) for part in node.parts]
    symbol = node.symbol
    if symbol == "mixed":
        symbol = "*" if reading.product else "+"
    elif reading.percent == "relative" and symbol in "+-" and _is_percent(node.parts[1], node.parts[0]):
        values[1] = values[0] * values[1]
    result = _apply(symbol, values)
    if max(result.numerator.bit_length(), result.denominator.bit_length()) > MAX_BITS:
        raise NotComputable("too large")
    return result


def _is_percent(node: Node, other: Node) -> bool:
    return isinstance(node, Quantity) and node.percent and not (isinstance(other, Quantity) and other.percent)


def _apply(symbol: str, values: list[Fraction]) -> Fraction:
    if symbol == "neg":
        return -values[0]
    if symbol == "!":
        return Fraction(math.factorial(_small(values[0])))
    left, right = values
    if symbol == "^":
        return _power(left, right)
    if symbol == "root":
        return _root(left, right)
    if symbol == "binom":
        return Fraction(math.comb(_small(left), _small(right)))
    if symbol == "/" and right == 0:
        raise NotComputable("division by zero")
    return _BINARY[symbol](left, right)


def _small(value: Fraction) -> int:
    """A count that a factorial or a binomial coefficient may have."""
    if value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise NotComputable("factorial")
    return value.numerator


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or (base == 0 and exponent < 0):
        raise NotComputable("exponent")
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size * abs(exponent) > MAX_BITS:
        raise NotComputable("too large")
    return base**exponent.numerator


def _root(degree: Fraction, value: Fraction) -> Fraction:
    if degree.denominator != 1 or not 2 <= degree <= MAX_DEGREE or (value < 0 and degree % 2 == 0):
        raise NotComputable("root")
    size = abs(value)
    top, bottom = (_whole_root(part, degree.numerator) for part in (size.numerator, size.denominator))
    return Fraction(top, bottom) if value >= 0 else Fraction(-top, bottom)


def _whole_root(value: int, degree: int) -> int:
    # A fraction in lowest terms has a rational root exactly where both its parts have a whole one.
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**degree < value else (low, middle)
    if low**degree != value:
        raise NotComputable("irrational root")
    return low
