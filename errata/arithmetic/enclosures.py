"""Irrational values as rigorous intervals: what lies outside of one is not equal, whatever the digits behind.

Roots, pi, trigonometric functions and logarithms have no fraction. Each is enclosed in an interval whose ends are
known to be below and above it (mpmath's interval arithmetic, rounded outward at ``DIGITS`` digits). Two values whose
intervals lie apart differ for certain, which is all that a contradiction needs. Two that agree within ``AGREE`` count
as equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

DIGITS = 60
MAX_BITS = 16_384  # of a bound's size: no text needs more, and a tower of powers would take for ever
MAX_ANGLE = 10**6  # radians: far around the circle little is left of the digits
AGREE = Fraction(1, 10**40)  # of the larger value: far above what 60 digits miss, far below what any text writes


class Undefined(ArithmeticError):
    """The value does not exist, or its interval is too wide to say."""


@dataclass(frozen=True, slots=True, eq=False)
class Enclosure:
    """An irrational number between two known bounds. Arithmetic with fractions and enclosures encloses the result."""

    interval: Any

    @property
    def low(self) -> Fraction:
        """A fraction that is not above the number."""
        return _ends(self.interval)[0]

    @property
    def high(self) -> Fraction:
        """A fraction that is not below the number."""
        return _ends(self.interval)[1]

    def __add__(self, other: Real) -> Enclosure:
        return Enclosure(self.interval + _interval(other))

    def __sub__(self, other: Real) -> Enclosure:
        return Enclosure(self.interval - _interval(other))

    def __mul__(self, other: Real) -> Enclosure:
        return Enclosure(self.interval * _interval(other))

    def __truediv__(self, other: Real) -> Enclosure:
        divisor = _interval(other)
        low, high = _ends(divisor)
        if low <= 0 <= high:
            raise Undefined("division by what may be zero")
        return Enclosure(self.interval / divisor)

    def __neg__(self) -> Enclosure:
        return Enclosure(-self.interval)

    def size(self) -> Enclosure:
        """The absolute value."""
        return Enclosure(abs(self.interval))

    def __str__(self) -> str:
        middle = round((self.low + self.high) / 2 * 10**12)
        digits = str(abs(middle)).rjust(13, "0")
        return f"{'-' if middle < 0 else ''}{digits[:-12]}.{digits[-12:]}..."


Real = Fraction | Enclosure


@lru_cache(maxsize=1)
def _context() -> Any:
    from mpmath.ctx_iv import MPIntervalContext  # a tenth of a second, and few texts need it

    context = MPIntervalContext()
    context.dps = DIGITS
    return context


def _interval(value: Real) -> Any:
    if isinstance(value, Enclosure):
        return value.interval
    context = _context()
    return context.mpf(value.numerator) / context.mpf(value.denominator)


def _ends(interval: Any) -> tuple[Fraction, Fraction]:
    from mpmath.libmp import to_rational

    if any(abs(end[2]) > MAX_BITS for end in interval._mpi_):
        raise Undefined("too large, or too close to zero")
    try:
        low, high = (Fraction(*map(int, to_rational(end))) for end in interval._mpi_)
    except (ValueError, OverflowError) as error:  # an end at infinity
        raise Undefined("unbounded") from error
    return low, high


def enclosed(value: Real) -> Enclosure:
    """A value as an enclosure, however narrow."""
    return value if isinstance(value, Enclosure) else Enclosure(_interval(value))


def bounds(value: Real) -> tuple[Fraction, Fraction]:
    """Fractions below and above a value, both itself where it is one."""
    return (value.low, value.high) if isinstance(value, Enclosure) else (value, value)


def middle(value: Real) -> Fraction:
    """A fraction within ``AGREE`` of a value: for tolerances, never for equality."""
    low, high = bounds(value)
    return (low + high) / 2 if low != high else low


def pi() -> Enclosure:
    """The number pi."""
    return Enclosure(+_context().pi)


def root(degree: int, value: Real) -> Enclosure:
    """The real root of a value. Raises Undefined for an even root of what may be negative."""
    low, high = bounds(value)
    if high < 0 and degree % 2:
        return -root(degree, -value)
    if low <= 0:
        raise Undefined("root")
    context, interval = _context(), _interval(value)
    return Enclosure(context.sqrt(interval) if degree == 2 else context.exp(context.log(interval) / degree))


def power(base: Real, exponent: Fraction) -> Enclosure:
    """A value raised to a fraction. Raises Undefined unless the base is above zero or the exponent a whole number."""
    context = _context()
    if exponent.denominator == 1:
        low, high = bounds(base)
        if exponent < 0 and low <= 0 <= high:
            raise Undefined("division by what may be zero")
        return Enclosure(_interval(base) ** exponent.numerator)
    if bounds(base)[0] <= 0:
        raise Undefined("exponent")
    return Enclosure(context.exp(context.log(_interval(base)) * _interval(exponent)))


def logarithm(value: Real, base: Real | None) -> Enclosure:
    """The logarithm to a base, the natural one without. Raises Undefined where there is none."""
    if bounds(value)[0] <= 0 or (base is not None and bounds(base)[0] <= 0):
        raise Undefined("logarithm")
    log = Enclosure(_context().log(_interval(value)))
    return log if base is None else log / Enclosure(_context().log(_interval(base)))


def trigonometric(name: str, angle: Real) -> Enclosure:
    """``sin cos tan cot sec csc`` of an angle in radians. Raises Undefined at what may be a pole."""
    low, high = bounds(angle)
    if max(abs(low), abs(high)) > MAX_ANGLE:
        raise Undefined("too large an angle")
    context, interval = _context(), _interval(angle)
    sine, cosine = Enclosure(context.sin(interval)), Enclosure(context.cos(interval))
    one = enclosed(Fraction(1))
    match name:
        case "sin":
            return sine
        case "cos":
            return cosine
        case "tan":
            return sine / cosine
        case "cot":
            return cosine / sine
        case "sec":
            return one / cosine
        case _:
            return one / sine
