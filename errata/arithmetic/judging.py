"""Does a chain hold? Exactly, with stated rounding, under any reading a careful reader could take.

A chain is false only when it is false under every reading: percent as fraction, points or relative, scale words
("dozen") and units of one dimension converted or not. Rounding: a bare number stands for everything within half a
unit of its last digit shown (ties included, since half up, half even and half down are all in use); two computed sides
must be equal. A *running* chain, ``3 * 4 = 12 + 5 = 17``, is how people write successive results: a middle side may
equal the one before by its leading number and the one after by its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from errata.arithmetic.nodes import Node, NotComputable, Operation, PercentReading, Quantity, Reading, evaluate
from errata.arithmetic.nodes import multiplier as shown_factor

_CLOSE = Fraction(1, 100)  # share by which two computed sides may differ because an operand was rounded before
_SLOPPY = Fraction(1, 20)  # share within which "about" leaves an equation unjudged, neither true nor false


@dataclass(frozen=True, slots=True)
class Term:
    """One side to judge: its tree (None: unknown), and whether ``≈`` or "about" stands before it."""

    node: Node | None
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """``values`` are those of the reading that decided; ``broken`` is the first side that differs from its neighbor."""

    holds: bool | None
    values: tuple[Fraction | None, ...]
    broken: int | None = None


def judge(terms: Sequence[Term], units: frozenset[str]) -> Judged:
    """Judge a chain; ``units`` are the units seen in it, as ``family:size``."""
    outcomes: list[Judged] = []
    for reading in _readings(terms, units):
        outcome = _judge_reading(terms, reading)
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
    return [Reading(p, s, u) for p, s, u in product(percents, scales, conversions)]


def _quantities(node: Node) -> list[Quantity]:
    if isinstance(node, Quantity):
        return [node]
    return [q for part in node.parts for q in _quantities(part)]


def _value(node: Node | None, reading: Reading) -> Fraction | None:
    if node is None:
        return None
    try:
        return evaluate(node, reading)
    except NotComputable:
        return None


def _judge_reading(terms: Sequence[Term], reading: Reading) -> Judged:
    values = tuple(_value(term.node, reading) for term in terms)
    verdicts: list[bool | None] = []
    for at in range(1, len(terms)):
        left, left_value, right, right_value = terms[at - 1].node, values[at - 1], terms[at], values[at]
        if left is None or left_value is None or right.node is None or right_value is None:
            verdicts.append(None)
            continue
        verdict = _equal(left, left_value, right.node, right_value, right.approximate, reading)
        leading = _leading(right.node)
        # In "3 * 4 = 12 + 5 = 17" the middle side answers the first by its 12 and is computed for the last. The last
        # side of a chain is followed by nothing, so it must be equal as a whole.
        if not verdict and at < len(terms) - 1 and leading is not right.node:
            verdict = (
                _equal(left, left_value, leading, evaluate(leading, reading), right.approximate, reading) or verdict
            )
        if verdict is False:
            return Judged(False, values, at)
        verdicts.append(verdict)
    return Judged(None if None in verdicts or not verdicts else True, values)


def _leading(node: Node) -> Quantity | Operation:
    while isinstance(node, Operation) and node.symbol in ("+", "-", "*", "/"):
        node = node.parts[0]
    return node


def _equal(
    left: Node, left_value: Fraction, right: Node, right_value: Fraction, approximate: bool, reading: Reading
) -> bool | None:
    gap = abs(left_value - right_value)
    if gap == 0 or gap <= _tolerance(left, right, reading, approximate):
        return True
    size = max(abs(left_value), abs(right_value))
    if approximate and gap <= _SLOPPY * size:
        return None
    both_computed = _shown(left) is None and _shown(right) is None
    if both_computed and gap <= _CLOSE * size and any(q.decimals > 1 for n in (left, right) for q in _quantities(n)):
        return None  # an operand may itself be a rounded result
    return False


def _shown(node: Node) -> Quantity | None:
    """The number a bare side shows, or None for a computed or exact one."""
    if isinstance(node, Operation) and node.symbol == "neg":
        return _shown(node.parts[0])
    return node if isinstance(node, Quantity) and not node.exact else None


def _tolerance(left: Node, right: Node, reading: Reading, approximate: bool) -> Fraction:
    first, second = _shown(left), _shown(right)
    if first is not None and second is not None and not approximate and first.decimals == second.decimals:
        return Fraction(0)  # two bare numbers of the same precision are not each other's rounding
    return max(_half_unit(shown, reading, approximate) for shown in (first, second))


def _half_unit(shown: Quantity | None, reading: Reading, approximate: bool) -> Fraction:
    if shown is None:
        return Fraction(0)
    unit = Fraction(1, 10**shown.decimals)
    # "about 1,200" is rounded to hundreds: its trailing zeros are no digits shown.
    if approximate and not shown.decimals and shown.value:
        while shown.value % (unit * 10) == 0:
            unit *= 10
    # A number cut off ("0.333...") may miss a whole unit of its last digit, a rounded one half of it. Both ends count:
    # half up, half even and half down are all in use.
    return unit * abs(shown_factor(shown, reading)) / (1 if shown.truncated else 2)
