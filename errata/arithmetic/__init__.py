"""Arithmetic in prose: equations found, read and judged with fractions and rigorous intervals. No floats, no eval."""

from errata.arithmetic.equations import find_equations
from errata.arithmetic.marks import (
    TokenChange,
    apply_changes,
    calculator_marks,
    marks_agree,
    strip_marks,
    tokens_of,
)
from errata.arithmetic.nodes import Equation, Token

__all__ = [
    "Equation",
    "Token",
    "TokenChange",
    "apply_changes",
    "calculator_marks",
    "find_equations",
    "marks_agree",
    "strip_marks",
    "tokens_of",
]
