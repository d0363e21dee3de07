"""Symbolic equality through Math-Verify and sympy, behind checks of our own that fail closed.

Both are imported inside the functions that need them: they take a second to load, and most answers never do. Call this
only in a process that may be killed: some inputs hang sympy beyond any alarm, and Math-Verify's own timeout (a SIGALRM
that answers "different") is therefore switched off.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

_POINTS = ((3, 7), (-5, 11), (13, 4), (2, 9))
_DIGITS = 40


_listeners: list[Callable[[Literal["loading", "loaded"]], None]] = []


def on_load(listener: Callable[[Literal["loading", "loaded"]], None]) -> None:
    """Call ``listener`` before and after the libraries are loaded, so that a clock can leave that time out."""
    _listeners.append(listener)


def _load() -> None:
    if "math_verify" in sys.modules:
        return
    for listener in _listeners:
        listener("loading")
    import math_verify  # noqa: F401  heavy, see the module's docstring

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    for listener in _listeners:
        listener("loaded")


class Unparsable(ValueError):
    """An answer that is not readable mathematics."""


def equal_symbolic(gold: str, answer: str) -> bool:
    """Whether two expressions are equal. True only if Math-Verify says so *and* exact comparison agrees.

    Raises Unparsable when ``answer`` (or gold) cannot be read as one whole expression. May hang or exhaust memory on
    hostile input: the caller's process must be killable.
    """
    _load()
    gold_expr, answer_expr = _parse(gold), _parse(answer)
    if _type(gold_expr) != _type(answer_expr) or _names(gold_expr) != _names(answer_expr):
        return False
    from math_verify import verify  # heavy, see the module's docstring

    if not verify([gold_expr], [answer_expr], strict=True, timeout_seconds=None):
        return False
    return _agrees(gold_expr, answer_expr)


def _parse(latex: str) -> Any:
    """One expression that covers the whole of ``latex``."""
    from math_verify import LatexExtractionConfig, parse  # heavy, see the module's docstring

    found = parse(
        f"${latex}$",
        extraction_config=[LatexExtractionConfig(boxed_match_priority=-1)],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    expressions = [item for item in found if not isinstance(item, str)]
    if len(expressions) != 1:
        raise Unparsable(latex)
    if latex.count("!") != _count(expressions[0], "factorial"):
        raise Unparsable(latex)  # a factorial that the parser dropped
    return expressions[0]


def _count(expression: Any, function: str) -> int:
    from sympy import preorder_traversal  # heavy, see the module's docstring

    return sum(1 for node in preorder_traversal(expression) if type(node).__name__ == function)


def _type(expression: Any) -> str:
    """The kind of thing an expression is: things of different kinds are never equal."""
    from sympy import MatrixBase, Set, Tuple  # heavy, see the module's docstring
    from sympy.core.relational import Equality, Relational

    for name, kind in (("matrix", MatrixBase), ("set", Set), ("tuple", Tuple), ("equation", Equality)):
        if isinstance(expression, kind):
            return name
    return "relation" if isinstance(expression, Relational) else "expression"


def _names(expression: Any) -> frozenset[str]:
    return frozenset(str(symbol) for symbol in getattr(expression, "free_symbols", ()))


def _agrees(gold: Any, answer: Any) -> bool:
    """Our own comparison behind Math-Verify's, which rounds to six decimals and forgives much."""
    kind = _type(gold)
    if kind == "matrix":
        return gold.shape == answer.shape and all(_same_value(a, b) for a, b in zip(gold, answer, strict=True))
    if kind == "expression":
        return _same_value(gold, answer)
    if kind == "equation":
        return _same_equation(gold, answer)
    return _has_no_float(gold, answer)  # relations and sets: exact structure, judged by Math-Verify


def _same_value(gold: Any, answer: Any) -> bool:
    """Zero difference at several rational points, in forty digits; floats are read as the decimals they show."""
    from sympy import nsimplify  # heavy, see the module's docstring

    difference = nsimplify(gold, rational=True) - nsimplify(answer, rational=True)
    symbols = sorted(difference.free_symbols, key=str)
    values = [difference.subs(_point(symbols, k)) for k in range(len(_POINTS))] if symbols else [difference]
    defined = [value for value in (_number(v) for v in values) if value is not None]
    return bool(defined) and all(abs(value) < 10 ** (-_DIGITS // 2) for value in defined)


def _point(symbols: list[Any], shift: int) -> dict[Any, Any]:
    from sympy import Rational  # heavy, see the module's docstring

    return {s: Rational(*_POINTS[(i + shift) % len(_POINTS)]) + i for i, s in enumerate(symbols)}


def _number(value: Any) -> complex | None:
    numeric = value.evalf(_DIGITS)
    try:
        number = complex(numeric)
    except (TypeError, ValueError):
        return None
    return number if number == number else None


def _same_equation(gold: Any, answer: Any) -> bool:
    """Two equations are the same when their differences of sides are proportional."""
    left, right = gold.lhs - gold.rhs, answer.lhs - answer.rhs
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    ratios = set()
    for k in range(len(_POINTS)):
        a, b = _number(left.subs(_point(symbols, k))), _number(right.subs(_point(symbols, k)))
        if a is None or b is None or abs(b) < 1e-12:
            continue
        ratios.add(round((a / b).real, 10) + 1j * round((a / b).imag, 10))
    return len(ratios) == 1 and 0 not in ratios


def _has_no_float(*expressions: Any) -> bool:
    return all(_count(expression, "Float") == 0 for expression in expressions)
