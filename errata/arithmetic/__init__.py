"""Exact arithmetic in prose: equations found, read and judged with fractions. No floats, no sympy, no eval."""

from errata.arithmetic.equations import find_equations
from errata.arithmetic.mark_checks import calculator_marks, marks_agree
from errata.arithmetic.marks import Stripped, mark_spans, strip_marks
from errata.arithmetic.types import Equation, Mark, Side, Token

__all__ = [
    "Equation",
    "Mark",
    "Side",
    "Stripped",
    "Token",
    "calculator_marks",
    "find_equations",
    "mark_spans",
    "marks_agree",
    "strip_marks",
]
