"""Values of expression trees: exact fractions where there are any, else as many digits as their smallest term needs.

Two trees are equal when their values are, at several points where they have variables. Nothing is rounded
to a fixed number of decimals: 1 - 1/10^60 is not 1. Magnitudes, digits and nodes are bounded, so comparing ends soon.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any, Literal

from errata.answers.expressions import UNKNOWN_FUNCTIONS, Tree
from errata.answers.fractional import Undefined, exact, size, variables
from errata.answers.tokens import Unparsable

_MAX_MAGNITUDE = 10**12  # decimal digits of a value that is only compared relatively
_MAX_PRECISION = 3_000
_BASE_PRECISION = 60
_GUARD = 20
_POINTS = 7
_MAX_NODES = 600

_listeners: list[Callable[[Literal["loading", "loaded"]], None]] = []


def on_load(listener: Callable[[Literal["loading", "loaded"]], None]) -> None:
    """Call ``listener`` before and after mpmath is loaded, so that a clock can leave that time out."""
    _listeners.append(listener)


def _mp() -> Any:
    """The library of real numbers, loaded when the first answer needs it: most never do."""
    if "mpmath" not in sys.modules:
        for listener in _listeners:
            listener("loading")
        import mpmath  # noqa: F401  a tenth of a second, see above

        for listener in _listeners:
            listener("loaded")
    return sys.modules["mpmath"].mp


class TooLarge(Unparsable):
    """A value beyond the bounds."""


def equal(one: Tree, other: Tree) -> bool:
    """Whether two expressions have the same value, wherever both have one. Raises Unparsable beyond the bounds."""
    if one == other:
        return True
    if size(one) + size(other) > _MAX_NODES:
        raise TooLarge("too many terms")
    names = sorted(variables(one) | variables(other))
    if any(name.startswith("set ") for name in names):
        return False
    if not names:
        return _equal_at(one, other, {}) is True
    # A point where both are undefined says nothing; one where one of them is, that they differ.
    said = [_equal_at(one, other, point) for point in islice(points(names), _POINTS)]
    return all(answer is not False for answer in said) and said.count(True) >= _POINTS // 2


def points(names: list[str]) -> Iterator[dict[str, Fraction]]:
    """Rational points of both signs and several sizes, the same every time."""
    seeds = ((3, 7), (-5, 11), (13, 4), (2, 9), (-17, 6), (31, 8), (-1, 13), (19, 3), (-23, 5))
    for shift in range(len(seeds)):
        yield {
            name: Fraction(*seeds[(at * 2 + shift) % len(seeds)]) + Fraction(at * at, 17)
            for at, name in enumerate(names)
        }


def _equal_at(one: Tree, other: Tree, point: dict[str, Fraction]) -> bool | None:
    """Equality at a point; None where neither side has a value."""
    left, right = _placed(one, point), _placed(other, point)
    try:
        a, b = exact(left), exact(right)
    except Undefined:
        return _both_undefined(left, right)
    if a is not None and b is not None:
        return a == b
    return _equal_numbers(left, right)


def _both_undefined(left: Tree, right: Tree) -> bool | None:
    for side in (left, right):
        try:
            number(side, _BASE_PRECISION)
            return False
        except Undefined:
            continue
    return None


def _placed(tree: Tree, point: dict[str, Fraction]) -> Tree:
    """``tree`` with the point's values for its names."""
    if tree[0] == "var":
        return ("num", point[tree[1]])
    return (tree[0], *(_placed(part, point) if isinstance(part, tuple) else part for part in tree[1:]))


def _equal_numbers(left: Tree, right: Tree) -> bool | None:
    infinite = (_infinity(left), _infinity(right))
    if infinite[0] or infinite[1]:
        return infinite[0] == infinite[1]
    try:
        spread = max(_spread(left), _spread(right))
    except Undefined:
        return _both_undefined(left, right)
    precision = _BASE_PRECISION + spread
    if not _differs(left, right, precision):
        # Agreement must not end where the digits do: a true zero shrinks as they grow.
        return not _differs(left, right, precision + _BASE_PRECISION)
    return False


def _differs(left: Tree, right: Tree, precision: int) -> bool:
    mp = _mp()
    with mp.workdps(precision):
        a, b = number(left, precision), number(right, precision)
        difference = abs(a - b)
        if difference == 0:
            return False
        largest = max(abs(a), abs(b))
        scale = (
            max(largest, _largest(left, precision), _largest(right, precision)) if _is_zero(left, right) else largest
        )
        return bool(difference > scale * mp.mpf(10) ** (_GUARD - precision))


def _is_zero(left: Tree, right: Tree) -> bool:
    """Whether one side is zero exactly, so that the other can only be compared with its own terms."""
    return exact(left) == 0 or exact(right) == 0


def _infinity(tree: Tree) -> int:
    """1 or -1 for an infinite value written as such, else 0."""
    if tree == ("const", "inf"):
        return 1
    return -_infinity(tree[1]) if tree[0] == "neg" else 0


def number(tree: Tree, precision: int) -> Any:
    """The value of a tree without variables, to ``precision`` digits, perhaps complex. Raises Undefined, TooLarge."""
    mp = _mp()
    with mp.workdps(precision):
        return _number(tree, mp, [])


def _spread(tree: Tree) -> int:
    """Digits between the largest and the smallest value in the tree: what a sum may cancel."""
    mp = _mp()
    seen: list[Any] = []
    with mp.workdps(30):
        _number(tree, mp, seen)
        sizes = [int(mp.floor(mp.log10(abs(value)))) for value in seen if value != 0 and mp.isfinite(value)]
    spread = max(sizes, default=0) - min(sizes, default=0)
    if spread <= _MAX_PRECISION:
        return spread
    if _adds(tree):
        raise TooLarge("a sum of values too far apart")
    return _GUARD


def _adds(tree: Tree) -> bool:
    return tree[0] in ("+", "-", "fn", "log", "floor", "ceil") or any(
        _adds(part) for part in tree[1:] if isinstance(part, tuple)
    )


def _largest(tree: Tree, precision: int) -> Any:
    mp = _mp()
    seen: list[Any] = []
    with mp.workdps(precision):
        _number(tree, mp, seen)
        return max((abs(value) for value in seen), default=mp.mpf(0))


def _number(tree: Tree, mp: Any, seen: list[Any]) -> Any:
    known = exact(tree)
    if known is not None:
        value = mp.mpf(known.numerator) / known.denominator
    elif tree[0] == "const":
        value = _constant(tree[1], mp)
    else:
        if tree[0] == "var":
            raise Unparsable("a name without a value")
        values = [_number(part, mp, seen) for part in tree[1:] if isinstance(part, tuple)]
        try:
            value = _apply(tree, values, mp)
        except (ZeroDivisionError, ValueError) as error:
            raise Undefined(str(error)) from error
        except (OverflowError, MemoryError) as error:
            raise TooLarge(str(error)) from error
    if not mp.isfinite(value):
        raise Undefined("not finite")
    seen.append(value)
    return value


def _constant(name: str, mp: Any) -> Any:
    if name == "inf":
        raise Unparsable("infinity inside an expression")
    return {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}[name]


def _apply(tree: Tree, values: list[Any], mp: Any) -> Any:
    first = values[0]
    match tree[0]:
        case "+":
            return first + values[1]
        case "-":
            return first - values[1]
        case "*":
            return first * values[1]
        case "/":
            return first / values[1]
        case "neg":
            return -first
        case "deg":
            return first * mp.pi / 180
        case "abs":
            return abs(first)
        case "floor" | "ceil":
            return getattr(mp, tree[0])(first)
        case "!":
            return mp.gamma(_bounded(first) + 1)
        case "binom":
            return mp.binomial(_bounded(first), _bounded(values[1]))
        case "^":
            return _power(first, values[1], exact(tree[2]), mp)
        case "root":
            index = exact(tree[2])
            if index is None or index == 0:
                raise Unparsable("a root without a number for its index")
            return _power(first, 1 / values[1], 1 / index, mp)
        case "log":
            return mp.log(first) / mp.log(values[1])
        case "fn":
            return _function(tree[1], first, mp)
    raise Unparsable(f"{tree[0]} is not understood")


def _bounded(value: Any) -> Any:
    if abs(value) > 10**9:
        raise TooLarge("a factorial")
    return value


def _power(base: Any, exponent: Any, known: Fraction | None, mp: Any) -> Any:
    if base == 0:
        if mp.re(exponent) <= 0:
            raise Undefined("zero to a power that is not positive")
        return mp.mpf(0)
    if abs(exponent) * abs(mp.log10(abs(base))) > _MAX_MAGNITUDE or abs(exponent) > _MAX_MAGNITUDE:
        raise TooLarge("a power")
    if known is not None and known.denominator % 2 and known.denominator > 1 and mp.im(base) == 0 and base < 0:
        # School mathematics means the real root: (-8)^{1/3} is -2.
        return (-1) ** known.numerator * (-base) ** exponent
    return base**exponent


_NAMES = {"ln": "ln", "log": "log10", "lg": "log10", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
          "arccot": "acot", "arcsec": "asec", "arccsc": "acsc"}  # fmt: skip


def _function(name: str, value: Any, mp: Any) -> Any:
    if name == "sqrt":
        return mp.sqrt(value)
    if name in UNKNOWN_FUNCTIONS:
        # Any function would do that no law of algebra holds for: f(2x) must not equal 2 f(x).
        return mp.cos(mp.sqrt(3) * value + ord(name)) + value * value / 7
    if name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp") and abs(value) > 10**6:
        raise TooLarge("a function of a large value")
    function = getattr(mp, _NAMES.get(name, name), None)
    if function is None:
        raise Unparsable(f"{name} is not understood")
    return function(value)


def common_factor(one: Tree, other: Tree) -> int | None:
    """The sign of the constant by which ``other`` is a multiple of ``one``; None where it is none."""
    names = sorted(variables(one) | variables(other))
    if not names or variables(one) != variables(other):
        return None
    found: tuple[Tree, Tree] | None = None
    for point in points(names):
        a, b = _placed(one, point), _placed(other, point)
        zero: Tree = ("num", Fraction(0))
        if equal(a, zero) or equal(b, zero):
            if not (equal(a, zero) and equal(b, zero)):
                return None
            continue
        if found is not None and not equal(("*", a, found[1]), ("*", b, found[0])):
            return None
        found = found or (a, b)
    if found is None:
        return None
    ratio = number(("/", found[0], found[1]), _GUARD)
    if abs(ratio.imag) > abs(ratio.real) / 10**9:
        return None
    return 1 if ratio.real > 0 else -1
