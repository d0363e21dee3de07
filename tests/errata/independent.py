"""A second reader of arithmetic for checks: LaTeX turned into Python by replacement, valued by sympy.

It shares nothing with the product's reader. What it cannot read it refuses, and the checks count that.
"""

from __future__ import annotations

import re
from fractions import Fraction

from sympy import Expr, Rational, binomial, factorial, root
from sympy.parsing.sympy_parser import (
    convert_xor,
    factorial_notation,
    implicit_multiplication,
    parse_expr,
    rationalize,
    standard_transformations,
)

_TRANSFORMATIONS = (*standard_transformations, factorial_notation, convert_xor, implicit_multiplication, rationalize)
_NAMES = {"comb": binomial, "fact": factorial, "root": root}
_PLAIN = {
    "−": "-", "–": "-", "×": "*", "÷": "/", "·": "*", "\\cdot": "*", "\\times": "*", "\\div": "/", "\\left": "",
    "\\right": "", "\\displaystyle": "", "\\quad": "", "\\qquad": "", "\\dfrac": "\\frac", "\\tfrac": "\\frac",
    "\\cfrac": "\\frac", "\\dbinom": "\\binom", "\\tbinom": "\\binom", "\\boxed": "", "\\fbox": "", "[": "(", "]": ")",
}  # fmt: skip
_ARITHMETIC = re.compile(r"(?:[\d\s()+*/^!.,-]|comb|root)*")


class Unreadable(Exception):
    """Not plain arithmetic to this reader."""


def value(side: str) -> Expr:
    """The exact value of one side. Raises Unreadable."""
    text = re.sub(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?", " ", side)
    text = re.sub(r"\^\{?\\circ\}?|\\[,;:! ]|\\[%$]|[$&°~%]|\\\\", " ", text.replace("\\!", ""))
    text = re.sub(r"(?<=\d)(?:,|\{,\})\s?(?=\d{3}(?!\d))", "", text)
    for found in sorted(_PLAIN, key=len, reverse=True):
        text = text.replace(found, _PLAIN[found])
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"((\1)/(\2))", text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"(?<![\d)])(\d+)\\frac\{(\d+)\}\{(\d+)\}", r"(\1+(\2)/(\3))", text)
    for _ in range(12):
        before = text
        text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*(\d)", r"((\1)/(\2))", text)
        text = re.sub(r"\\binom\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"comb(\1,\2)", text)
        text = re.sub(r"\\sqrt\s*\((\d+)\)\s*\{([^{}]*)\}", r"root(\2,\1)", text)
        text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"root(\1,2)", text)
        text = re.sub(r"\{([^{}]*)\\choose([^{}]*)\}", r"comb(\1,\2)", text)
        text = re.sub(r"\{((?:[^{}\\])*)\}", r"(\1)", text)
        if text == before:
            break
    text = re.sub(r"\b(?!comb\b|root\b)[A-Za-z]{2,}(?:[ -][A-Za-z]{2,})*\b", " ", text)  # units
    text = re.sub(r"(?<=\d)\s+x\s+(?=\d)|(?<=\d)x(?=\d)", "*", text).strip()
    text = re.sub(r"(?<=[)!])\s*(?=[\d(cr])", "*", text)
    if not _ARITHMETIC.fullmatch(text) or not re.search(r"\d", text) or re.search(r"\d\s+\d", text):
        raise Unreadable(side)
    try:
        read = parse_expr(text, local_dict=_NAMES, transformations=_TRANSFORMATIONS)
    except (SyntaxError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(side) from error
    if not isinstance(read, Expr) or read.free_symbols or not read.is_number or not read.is_finite:
        raise Unreadable(side)
    return read


def holds(equation: str) -> bool:
    """Whether every link of a chain is true, or rounds to the decimals shown. Raises Unreadable."""
    sides = [side for side in re.split(r"=+|\\approx|≈", equation) if side.strip(" &\\")]
    if len(sides) < 2:
        raise Unreadable(equation)
    values = [value(side) for side in sides]
    return all(_near(*pair) for pair in zip(values, values[1:], sides, sides[1:], strict=False))


def _near(left: Expr, right: Expr, left_text: str, right_text: str) -> bool:
    decimals = max(len(found[1]) if (found := re.search(r"\.(\d+)\D*$", t)) else 0 for t in (left_text, right_text))
    gap = abs(left - right)
    if decimals == 0:
        return bool(gap == 0) or bool(gap.equals(0))
    half = Fraction(1, 2 * 10**decimals)
    return bool(gap <= Rational(half.numerator, half.denominator))
