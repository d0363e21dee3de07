"""Exact arithmetic in prose: equations found, read and judged with fractions. No floats, no sympy, no eval."""

from errata.arithmetic.equations import find_equations
from errata.arithmetic.lexer import mark_spans
from errata.arithmetic.marks import (
    Mark,
    TokenChange,
    apply_changes,
    calculator_marks,
    marks_agree,
    strip_marks,
    tokens_of,
)
from errata.arithmetic.nodes import Equation, Side, Token

__all__ = [
    "Equation",
    "Mark",
    "Side",
    "Token",
    "TokenChange",
    "apply_changes",
    "calculator_marks",
    "find_equations",
    "mark_spans",
    "marks_agree",
    "strip_marks",
    "tokens_of",
]
