"""Which irrational sides are results and which compute: ``25\\pi`` and ``3\\sqrt{2}`` are bare numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from errata.arithmetic.nodes import Node, Operation, Quantity

_LARGEST = 1_000_000  # radicand whose divisors are tried


@dataclass(frozen=True, slots=True)
class _Term:
    """A rational ``factor`` times what is irrational in ``kinds``, each kind at most once."""

    factor: Fraction
    kinds: frozenset[object]


def is_bare(node: Node) -> bool:
    """Whether a tree writes one irrational number in its usual form: nothing in it is left to be worked out.

    A sum of terms of different kinds with one factor each, over one whole number in lowest terms.
    """
    if isinstance(node, Operation) and node.symbol == "neg":
        return is_bare(node.parts[0])
    bottom = 1
    if isinstance(node, Operation) and node.symbol == "/" and _terms(node) is None:
        below = node.parts[1]
        if not isinstance(below, Quantity) or below.value.denominator != 1 or below.value <= 1:
            return False
        node, bottom = node.parts[0], below.value.numerator
    terms = _terms(node)
    if terms is None or not any(term.kinds for term in terms) or len({term.kinds for term in terms}) < len(terms):
        return False
    shared = gcd(bottom, *(term.factor.numerator for term in terms))
    return bottom == 1 or (shared == 1 and all(term.factor.denominator == 1 for term in terms))


def _terms(node: Node) -> list[_Term] | None:
    if isinstance(node, Operation) and node.symbol in ("+", "-"):
        left, right = _terms(node.parts[0]), _term(node.parts[1])
        return None if left is None or right is None else [*left, right]
    term = _term(node)
    return None if term is None else [term]


def _term(node: Node) -> _Term | None:
    if isinstance(node, Quantity):
        return _Term(node.value, frozenset())
    match node.symbol:
        case "neg":
            return _term(node.parts[0])
        case "pi":
            return _Term(Fraction(1), frozenset({"pi"}))
        case "root":
            return _root(node)
        case "/":
            return _fraction(node)
        case "*":
            left, right = _term(node.parts[0]), _term(node.parts[1])
            # Two factors of one kind, or two numbers, are a product to be worked out.
            if left is None or right is None or right.factor != 1 or not right.kinds or _same_kind(left, right):
                return None
            return _Term(left.factor, left.kinds | right.kinds)
        case _:
            return None


def _same_kind(left: _Term, right: _Term) -> bool:
    return bool({type(kind) for kind in left.kinds} & {type(kind) for kind in right.kinds})


def _fraction(node: Operation) -> _Term | None:
    above, below = _term(node.parts[0]), node.parts[1]
    if above is None or not isinstance(below, Quantity) or below.value.denominator != 1 or below.value <= 1:
        return None
    if above.factor.denominator != 1 or gcd(above.factor.numerator, below.value.numerator) != 1:
        return None
    return _Term(above.factor / below.value, above.kinds)


def _root(node: Operation) -> _Term | None:
    degree, radicand = node.parts
    if not isinstance(degree, Quantity) or not isinstance(radicand, Quantity) or radicand.value.denominator != 1:
        return None
    value, power = radicand.value.numerator, degree.value.numerator
    if not 1 < value <= _LARGEST:
        return None
    divisor = 2
    while divisor**power <= value:
        if value % divisor**power == 0:
            return None
        divisor += 1
    return _Term(Fraction(1), frozenset({(power, value)}))
