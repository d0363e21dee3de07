"""What equations are made of: tokens and sides as offsets into the text, and the tree of a side with its exact value.

A value is a ``Fraction``, an ``Enclosure`` of an irrational number, or a ``Matrix`` of these. Evaluation is bounded: a
large power or factorial raises ``NotComputable``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from errata.arithmetic.functions import NotComputable, Value, applied

__all__ = [
    "PLAIN", "Equation", "Logarithm", "Node", "NotComputable", "Operation", "PercentReading", "Quantity", "Reading",
    "Side", "Token", "TokenKind", "Value", "evaluate", "holds_operation", "multiplier",
]  # fmt: skip

TokenKind = Literal["number", "operator", "paren", "constant"]


@dataclass(frozen=True, slots=True)
class Token:
    """One editable piece of a side: ``text[start:end]`` of the original text.

    ``symbol`` is the operator in canonical form (``+ - * / ^ ! neg frac sqrt binom choose``, a function's name with
    the base of a logarithm, ``abs floor ceil matrix det`` up to their ``end``, ``,`` ``&`` and ``row`` inside of them),
    the bracket ``(``, ``)``, or the constant ``pi``; "" for numbers. ``value`` is a number's face value (without
    percent, scale word or unit), None for the others.
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

    ``shown``: the value for people, which irrational numbers and matrices have as well; "" where there is none.
    ``known``: the value as a fraction, of an irrational number to 40 digits.

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
    shown: str = ""
    known: Fraction | None = None


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

    ``counts``: a noun that is no unit of measure follows, so what is counted is whole ("133 girls"). ``degrees``: a
    sign of degrees follows.
    """

    value: Fraction
    decimals: int = 0
    truncated: bool = False
    exact: bool = False
    percent: bool = False
    scale: int = 1
    unit_factor: Fraction = Fraction(1)
    counts: bool = False
    degrees: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """``symbol`` is one of ``+ - * / ^ root binom mixed cross`` with two parts, ``neg ! abs floor ceil degrees ln sin
    cos tan cot sec csc`` with one, ``pi`` with none, or ``gcd lcm max min row matrix det`` with several.

    ``root`` has degree and radicand; ``mixed`` a whole number and the ``\\frac`` that stands behind it; ``log`` its
    argument and a base, if one is written. A ``matrix`` or its ``det`` has rows.
    """

    symbol: str
    parts: tuple[Node, ...]


Node = Quantity | Operation
PercentReading = Literal["fraction", "points", "relative"]
Logarithm = Literal["10", "e", "2"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand what people leave unsaid.

    ``percent``: 40 % is 0.4 (``fraction``), 40 (``points``), or in ``a + 40%`` forty percent of ``a`` (``relative``).
    ``scales``: "2 dozen" is 24, else 2. ``units``: quantities are converted to the smallest unit of their dimension.
    ``product``: ``2\\frac{1}{2}`` is 1, else two and a half. ``logarithm``: the base that
    "log" has without one.
    """

    percent: PercentReading = "fraction"
    scales: bool = False
    units: bool = False
    product: bool = False
    logarithm: Logarithm = "10"


PLAIN = Reading()
_ONE = Fraction(1)


def multiplier(quantity: Quantity, reading: Reading) -> Fraction:
    """What a shown number is multiplied by under ``reading``; its last digit's unit scales with it."""
    factor = Fraction(quantity.scale) if reading.scales else _ONE
    if quantity.percent and reading.percent != "points":
        factor /= 100
    return factor * quantity.unit_factor if reading.units else factor


def evaluate(node: Node, reading: Reading) -> Value:
    """The value: a fraction wherever it is one. Raises NotComputable. Depth is bounded by the parser."""
    if isinstance(node, Quantity):
        factor = multiplier(node, reading)
        # Identity, not equality: comparing fractions costs more than the multiplication it would save.
        return node.value if factor is _ONE else node.value * factor
    values = [evaluate(part, reading) for part in node.parts]
    symbol = node.symbol
    if symbol == "mixed":
        symbol = "*" if reading.product else "+"
    elif symbol == "log" and len(values) == 1:
        natural = reading.logarithm == "e"
        symbol, values = ("ln", values) if natural else ("log", [*values, Fraction(int(reading.logarithm))])
    elif reading.percent == "relative" and symbol in "+-" and _is_percent(node.parts[1], node.parts[0]):
        values[1] = applied("*", values)
    return applied(symbol, values)


def _is_percent(node: Node, other: Node) -> bool:
    return isinstance(node, Quantity) and node.percent and not (isinstance(other, Quantity) and other.percent)


def holds_operation(node: Node, symbols: tuple[str, ...]) -> bool:
    """Whether one of these operations stands in the tree."""
    return isinstance(node, Operation) and (
        node.symbol in symbols or any(holds_operation(part, symbols) for part in node.parts)
    )
