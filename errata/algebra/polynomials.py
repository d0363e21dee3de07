"""Polynomials with rational coefficients in named variables: exact, sparse, and capped in size.

A polynomial maps monomials to coefficients other than zero; a monomial lists its variables with their exponents in
order of name. The empty polynomial is zero. Whatever would exceed a cap raises TooLarge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]

MAX_TERMS = 300
MAX_DEGREE = 24
MAX_BITS = 2_000


class TooLarge(ArithmeticError):
    """A polynomial or a number beyond the caps."""


def constant(value: Fraction) -> Polynomial:
    """The polynomial that is ``value`` everywhere."""
    return {(): value} if value else {}


def variable(name: str) -> Polynomial:
    """The polynomial that is the variable itself."""
    return {((name, 1),): Fraction(1)}


def add(left: Polynomial, right: Polynomial, sign: int = 1) -> Polynomial:
    """``left + sign * right``."""
    total = dict(left)
    for monomial, coefficient in right.items():
        total[monomial] = total.get(monomial, Fraction(0)) + sign * coefficient
    return _checked(total)


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """The product."""
    # The bound on the work comes before the work: a product has at most this many terms to add up.
    if len(left) * len(right) > 10 * MAX_TERMS:
        raise TooLarge
    product: Polynomial = {}
    for one, first in left.items():
        for other, second in right.items():
            monomial = _times(one, other)
            product[monomial] = product.get(monomial, Fraction(0)) + first * second
    return _checked(product)


def power(base: Polynomial, exponent: int) -> Polynomial:
    """``base`` to a non-negative power."""
    result = constant(Fraction(1))
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def variables(*polynomials: Polynomial) -> frozenset[str]:
    """The variables that occur."""
    return frozenset(name for p in polynomials for monomial in p for name, _ in monomial)


def degree(polynomial: Polynomial) -> int:
    """The total degree; 0 for constants and for zero."""
    return max((sum(e for _, e in monomial) for monomial in polynomial), default=0)


def substitute(polynomial: Polynomial, values: Mapping[str, Polynomial]) -> Polynomial:
    """The polynomial with variables replaced by polynomials; others stay."""
    total: Polynomial = {}
    for monomial, coefficient in polynomial.items():
        term = constant(coefficient)
        for name, exponent in monomial:
            term = multiply(term, power(values.get(name, variable(name)), exponent))
        total = add(total, term)
    return total


def solve_linear(relations: Iterable[Polynomial]) -> dict[str, Polynomial] | None:
    """What linear relations ``p = 0`` say about their variables: some of them in terms of the others.

    None where no values satisfy them all. Raises ValueError for a relation that is not linear.
    """
    solved: dict[str, Polynomial] = {}
    for relation in relations:
        if degree(relation) > 1:
            raise ValueError("not linear")
        rest = substitute(relation, solved)
        names = sorted(variables(rest))
        if not names:
            if rest:
                return None
            continue
        lead = rest[((names[0], 1),)]
        found = {m: -c / lead for m, c in rest.items() if m != ((names[0], 1),)}
        # Earlier results are kept free of the new one's variable, so that one substitution is enough later.
        solved = {name: substitute(value, {names[0]: found}) for name, value in solved.items()}
        solved[names[0]] = found
    return solved


def have_common_root(one: Polynomial, other: Polynomial, name: str) -> bool:
    """Whether two polynomials in the single variable ``name`` share a root, real or complex (Euclid's algorithm)."""
    left, right = _dense(one, name), _dense(other, name)
    while right:
        left, right = right, _remainder(left, right)
    return len(left) > 1


def _dense(polynomial: Polynomial, name: str) -> list[Fraction]:
    """Coefficients from the highest power down."""
    top = degree(polynomial)
    return [polynomial.get(((name, e),) if e else (), Fraction(0)) for e in range(top, -1, -1)] if polynomial else []


def _remainder(left: list[Fraction], right: list[Fraction]) -> list[Fraction]:
    rest = list(left)
    while len(rest) >= len(right):
        factor = rest[0] / right[0]
        rest = [c - factor * (right[i] if i < len(right) else 0) for i, c in enumerate(rest)][1:]
    while rest and not rest[0]:
        rest = rest[1:]
    return rest


def _times(one: Monomial, other: Monomial) -> Monomial:
    exponents = dict(one)
    for name, exponent in other:
        exponents[name] = exponents.get(name, 0) + exponent
    return tuple(sorted(exponents.items()))


def _checked(polynomial: Polynomial) -> Polynomial:
    kept = {monomial: c for monomial, c in polynomial.items() if c}
    if len(kept) > MAX_TERMS or degree(kept) > MAX_DEGREE:
        raise TooLarge
    if any(c.numerator.bit_length() > MAX_BITS or c.denominator.bit_length() > MAX_BITS for c in kept.values()):
        raise TooLarge
    return kept
