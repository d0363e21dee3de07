"""Does a chain hold? Exactly, with stated rounding, under any reading a careful reader could take.

A chain is false only when it is false under every reading: percent as fraction, points or relative, scale words
("dozen") and units of one dimension converted or not. Rounding: a bare number stands for everything within half a
unit of its last digit shown (ties included, since half up, half even and half down are all in use); but a whole number
stands for a fraction only where the text says so, shows the decimals first, counts things ("133 girls"), or computes
with rounded decimals. Two computed sides must be equal. A *running* chain, ``3 * 4 = 12 + 5 = 17``, is how people
write successive results: a middle side may equal the one before by its leading number and the one after by its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from errata.arithmetic.enclosures import AGREE, middle
from errata.arithmetic.functions import Value, distance, size
from errata.arithmetic.matrices import Matrix
from errata.arithmetic.nodes import (
    Logarithm,
    Node,
    NotComputable,
    Operation,
    PercentReading,
    Quantity,
    Reading,
    evaluate,
    holds_operation,
)
from errata.arithmetic.nodes import multiplier as shown_factor

_CLOSE = Fraction(1, 100)  # share by which two computed sides may differ because an operand was rounded before
_NOTHING = Fraction(0)
_SLOPPY = Fraction(1, 20)  # share within which "about" leaves an equation unjudged, neither true nor false


@dataclass(frozen=True, slots=True)
class Term:
    """One side to judge: its tree (None: unknown), and whether ``≈`` or "about" stands before it."""

    node: Node | None
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """``values`` are those of the reading that decided; ``broken`` is the first side that differs from its neighbor.

    ``rounds``: it holds only if a whole number rounds, which the text does not say.
    """

    holds: bool | None
    values: tuple[Value | None, ...]
    broken: int | None = None
    rounds: bool = False


def judge(terms: Sequence[Term], units: frozenset[str], rounded: bool = False) -> Judged:
    """Judge a chain; ``units`` are the units seen in it, as ``family:size``.

    ``rounded``: the text says that it rounds, so that a whole number may stand for a fraction.
    """
    outcomes: list[Judged] = []
    for reading in _readings(terms, units):
        outcome = _judge_reading(terms, reading, rounded)
        if outcome.holds:
            return outcome
        outcomes.append(outcome)
    # "Cannot be judged" under one reading outweighs "false" under the others: a proof must stand for every reader.
    return next((outcome for outcome in outcomes if outcome.holds is None), outcomes[0])


def _readings(terms: Sequence[Term], units: frozenset[str]) -> list[Reading]:
    quantities = [q for term in terms if term.node is not None for q in _quantities(term.node)]
    has_percent = any(q.percent for q in quantities)
    percents: tuple[PercentReading, ...] = ("fraction", "points", "relative") if has_percent else ("fraction",)
    scales = (False, True) if any(q.scale != 1 for q in quantities) else (False,)
    families = [unit.partition(":")[0] for unit in units]
    # Only two different units of one dimension ("2 hours = 120 minutes") leave it open whether they are converted.
    conversions = (False, True) if len(set(families)) < len(families) else (False,)
    mixed = any(holds_operation(term.node, ("mixed",)) for term in terms if term.node is not None)
    products = (False, True) if mixed else (False,)
    logs = any(_has_plain_log(term.node) for term in terms if term.node is not None)
    bases: tuple[Logarithm, ...] = ("10", "e", "2") if logs else ("10",)
    return [Reading(*choices) for choices in product(percents, scales, conversions, products, bases)]


def _has_plain_log(node: Node) -> bool:
    """Whether a logarithm stands without its base: 10, e or 2, as the reader likes."""
    if not isinstance(node, Operation):
        return False
    return (node.symbol == "log" and len(node.parts) == 1) or any(_has_plain_log(part) for part in node.parts)


def _quantities(node: Node) -> list[Quantity]:
    if isinstance(node, Quantity):
        return [node]
    return [q for part in node.parts for q in _quantities(part)]


def _value(node: Node | None, reading: Reading) -> Value | None:
    if node is None:
        return None
    try:
        return evaluate(node, reading)
    except NotComputable:
        return None


def _judge_reading(terms: Sequence[Term], reading: Reading, rounded: bool) -> Judged:
    values = tuple(_value(term.node, reading) for term in terms)
    verdicts: list[bool | None] = []
    for at in range(1, len(terms)):
        left, left_value, right, right_value = terms[at - 1].node, values[at - 1], terms[at], values[at]
        if left is None or left_value is None or right.node is None or right_value is None:
            verdicts.append(None)
            continue
        loose = right.approximate or rounded
        verdict = _equal(left, left_value, right.node, right_value, right.approximate, loose, reading)
        leading = _leading(right.node)
        # In "3 * 4 = 12 + 5 = 17" the middle side answers the first by its 12 and is computed for the last. The last
        # side of a chain is followed by nothing, so it must be equal as a whole.
        if not verdict and at < len(terms) - 1 and leading is not right.node:
            value = evaluate(leading, reading)
            verdict = _equal(left, left_value, leading, value, right.approximate, loose, reading) or verdict
        if verdict is False:
            return Judged(False, values, at)
        verdicts.append(verdict)
    return Judged(None if None in verdicts or not verdicts else True, values)


def _leading(node: Node) -> Quantity | Operation:
    while isinstance(node, Operation) and node.symbol in ("+", "-", "*", "/"):
        node = node.parts[0]
    return node


def _equal(
    left: Node,
    left_value: Value,
    right: Node,
    right_value: Value,
    approximate: bool,
    loose: bool,
    reading: Reading,
) -> bool | None:
    if isinstance(left_value, Fraction) and isinstance(right_value, Fraction) and left_value == right_value:
        return True
    try:
        low, high = distance(left_value, right_value)
    except NotComputable:
        return None
    if high == 0:
        return True
    values = (left_value, right_value)
    largest = max(size(left_value), size(right_value), Fraction(0))
    irrational = not all(isinstance(value, Fraction) for value in values)
    if irrational and high <= AGREE * max(largest, Fraction(1)):
        return True
    if any(isinstance(value, Matrix) for value in values):
        return False if low > AGREE * max(largest, Fraction(1)) else None
    tolerance = _tolerance(left, right, reading, approximate, loose)
    if high <= tolerance:
        return True
    if low <= tolerance or (approximate and low <= _SLOPPY * largest) or _by_convention(left, right, low, largest):
        return None
    both_computed = _shown(left) is None and _shown(right) is None
    if both_computed and low <= _CLOSE * largest and any(q.decimals > 1 for n in (left, right) for q in _quantities(n)):
        return None  # an operand may itself be a rounded result
    return False


def _by_convention(left: Node, right: Node, gap: Fraction, largest: Fraction) -> bool:
    """Whether one side may put a number such as 3 or 22/7 for the other's pi, as some questions ask for."""
    return gap <= _SLOPPY * largest and holds_operation(left, ("pi",)) is not holds_operation(right, ("pi",))


def _shown(node: Node) -> Quantity | None:
    """The number a bare side shows, or None for a computed or exact one."""
    if isinstance(node, Operation) and node.symbol == "neg":
        return _shown(node.parts[0])
    return node if isinstance(node, Quantity) and not node.exact else None


def _tolerance(left: Node, right: Node, reading: Reading, approximate: bool, loose: bool) -> Fraction:
    first, second = _shown(left), _shown(right)
    if first is not None and second is not None and not approximate and first.decimals == second.decimals:
        return _NOTHING  # two bare numbers of the same precision are not each other's rounding
    half = _half_unit(left, right, reading, approximate, loose)
    other = _half_unit(right, left, reading, approximate, loose)
    return other if half is _NOTHING else half if other is _NOTHING else max(half, other)


def _half_unit(node: Node, other: Node, reading: Reading, approximate: bool, loose: bool) -> Fraction:
    shown = _shown(node)
    if shown is None:
        return _NOTHING
    stated = loose or shown.decimals or shown.percent
    if not stated and not shown.counts and not _is_rounded(other):
        return _NOTHING  # what the rest would come to; most whole numbers end here
    unit = Fraction(1, 10**shown.decimals)
    # "about 1,200" is rounded to hundreds: its trailing zeros are no digits shown.
    if approximate and not shown.decimals and shown.value:
        while shown.value % (unit * 10) == 0:
            unit *= 10
    # A number cut off ("0.333...") may miss a whole unit of its last digit, a rounded one half of it. Both ends count:
    # half up, half even and half down are all in use.
    half = unit * abs(shown_factor(shown, reading)) / (1 if shown.truncated else 2)
    if stated:
        return half
    # A whole number rounds nothing unless the text says so: 7/2 = 3 does not hold. The decimals of a chain say so
    # themselves ("66.67 = 67"), and what was computed with rounded decimals may miss as much as they do ("66.67 * 3").
    before = _shown(other)
    if before is not None:
        return half if before.decimals > 1 or before.truncated else Fraction(0)
    try:
        value, off = _spread(other, reading)
    except NotComputable:
        return Fraction(0)
    # Half a girl is no girl; which way a half goes is open, so a tie is no rounding.
    counted = shown.counts and 2 * abs(value - shown.value) < 1
    return half if counted else min(half, off)


def _is_rounded(node: Node) -> bool:
    """Whether any number of a side may itself be a rounded one."""
    if isinstance(node, Quantity):
        return node.decimals > 1 or node.truncated
    return any(_is_rounded(part) for part in node.parts)


def _spread(node: Node, reading: Reading) -> tuple[Fraction, Fraction]:
    """A value, and how far it may be off when each operand of two or more decimals is a rounded number."""
    if isinstance(node, Quantity):
        factor = shown_factor(node, reading)
        rounded = node.decimals > 1 or node.truncated
        off = abs(factor) / (10**node.decimals * (1 if node.truncated else 2)) if rounded else Fraction(0)
        return node.value * factor, off
    found = evaluate(node, reading)
    if isinstance(found, Matrix):
        raise NotComputable("a matrix rounds nothing")
    value = middle(found)
    if node.symbol not in ("+", "-", "*", "/", "neg"):
        return value, Fraction(0)
    spreads = [_spread(part, reading) for part in node.parts]
    if node.symbol == "*":
        (a, off_a), (b, off_b) = spreads
        return value, abs(a) * off_b + abs(b) * off_a + off_a * off_b
    if node.symbol == "/":
        (a, off_a), (b, off_b) = spreads
        room = abs(b) * (abs(b) - off_b)
        return value, (abs(a) * off_b + abs(b) * off_a) / room if room > 0 else Fraction(0)
    return value, sum((off for _, off in spreads), Fraction(0))
