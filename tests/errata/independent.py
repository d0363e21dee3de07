"""A second reader of mathematics for checks: LaTeX turned into Python by replacement, valued by sympy.

It shares nothing with the product's readers. What it cannot read it refuses, and the checks count that.
"""

from __future__ import annotations

import random
import re
import string
from fractions import Fraction
from itertools import pairwise

from sympy import (
    Abs,
    Expr,
    Matrix,
    Rational,
    Symbol,
    binomial,
    ceiling,
    cos,
    cot,
    csc,
    factorial,
    floor,
    gcd,
    lcm,
    log,
    pi,
    root,
    sec,
    sin,
    tan,
)
from sympy.parsing.sympy_parser import (
    convert_xor,
    factorial_notation,
    implicit_multiplication,
    parse_expr,
    rationalize,
    standard_transformations,
)

_TRANSFORMATIONS = (*standard_transformations, factorial_notation, convert_xor, implicit_multiplication, rationalize)
_NAMES = {
    "comb": binomial, "fact": factorial, "root": root, "pi": pi, "absolute": Abs, "floor": floor, "ceiling": ceiling,
    "gcd": gcd, "lcm": lcm, "log": log, "sin": sin, "cos": cos, "tan": tan, "cot": cot, "sec": sec, "csc": csc,
    "max": max, "min": min,
}  # fmt: skip
_PLAIN = {
    "−": "-", "–": "-", "×": "*", "÷": "/", "·": "*", "\\cdot": "*", "\\times": "*", "\\div": "/", "\\left": "",
    "\\right": "", "\\displaystyle": "", "\\quad": "", "\\qquad": "", "\\dfrac": "\\frac", "\\tfrac": "\\frac",
    "\\cfrac": "\\frac", "\\dbinom": "\\binom", "\\tbinom": "\\binom", "\\boxed": "", "\\fbox": "", "[": "(", "]": ")",
    "\\pi": " pi ", "\\bigg": "", "\\Big": "", "\\big": "", "\\Bigg": "",
}  # fmt: skip
_NAMED = "comb|root|pi|absolute|floor|ceiling|gcd|lcm|log|sin|cos|tan|cot|sec|csc|max|min"
_ARITHMETIC = re.compile(rf"(?:[\d\s()+*/^!.,@-]|m\d_|(?<![A-Za-z])(?:{_NAMED})(?![A-Za-z]))*")
_ALGEBRA = re.compile(r"[\d\s()+*/^.a-zA-Z-]*")
_TRIGONOMETRIC = r"(?:sin|cos|tan|cot|sec|csc)"
_INNER = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_MATRIX = re.compile(r"\\begin\{([pbv])matrix\}(.*?)\\end\{\1matrix\}", re.S)
_POINTS = 12


class Unreadable(Exception):
    """Not plain mathematics to this reader."""


class Grid:
    """A matrix of sympy's with the products that solutions write: ``@`` crosses, two columns give a number."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def __add__(self, other: Grid) -> Grid:
        return Grid(self.matrix + other.matrix)

    def __sub__(self, other: Grid) -> Grid:
        return Grid(self.matrix - other.matrix)

    def __neg__(self) -> Grid:
        return Grid(-self.matrix)

    def __mul__(self, other: Grid | Expr) -> Grid | Expr:
        if not isinstance(other, Grid):
            return Grid(self.matrix * other)
        if self.matrix.shape == other.matrix.shape and self.matrix.shape[1] == 1:
            return self.matrix.dot(other.matrix)
        return Grid(self.matrix * other.matrix)

    def __rmul__(self, other: Expr) -> Grid:
        return Grid(self.matrix * other)

    def __matmul__(self, other: Grid) -> Grid:
        return Grid(self.matrix.cross(other.matrix))

    def __pow__(self, other: Expr) -> Grid:
        return Grid(self.matrix**other)


def value(side: str) -> Expr | Grid:
    """The exact value of one side. Raises Unreadable."""
    grids: dict[str, Grid | Expr] = {}

    def taken(found: re.Match[str]) -> str:
        rows = [[value(cell) for cell in row.split("&")] for row in found[2].split("\\\\") if row.strip()]
        name = f"m{len(grids)}_"
        try:
            matrix = Matrix(rows)
            grids[name] = matrix.det() if found[1] == "v" else Grid(matrix)
        except (ValueError, TypeError) as error:
            raise Unreadable(side) from error
        return f" {name} "

    text = _MATRIX.sub(taken, side)
    if grids:
        text = re.sub(r"(?<=_ )\s*\\times\s*(?= m\d)", "@", text)
        text = re.sub(r"(m\d_) +(?= *m\d_)", r"\1*", text)
        text = re.sub(r"(?<=[\d)}])\s*(?= m\d_)", "*", text)
    text = _replaced(text)
    says_something = re.search(r"\d|pi", text) is not None and re.search(r"\d\s+\d", text) is None
    if not says_something or not _ARITHMETIC.fullmatch(text):
        raise Unreadable(side)
    read = _parsed(text, side, {**_NAMES, **grids})
    if isinstance(read, Grid):
        return read
    if not isinstance(read, Expr) or read.free_symbols or not read.is_number or not read.is_finite:
        raise Unreadable(side)
    return read


def _parsed(text: str, side: str, names: dict[str, object]) -> object:
    try:
        return parse_expr(text, local_dict=names, transformations=_TRANSFORMATIONS)
    except Exception as error:  # sympy raises what it likes; whatever it is, the side was not read
        raise Unreadable(side) from error


def _replaced(text: str) -> str:
    """LaTeX as Python, as far as replacements go."""
    text = re.sub(r"\\mathop\s*\{(\\text\s*\{[a-z]+\})\}", r"\1", text)
    text = re.sub(r"\\(?:text|operatorname|mathrm)\s*\{\s*(lcm|gcd)\s*\}", r" \1", text)
    text = re.sub(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?", " ", text)
    if re.search(_TRIGONOMETRIC, text):
        text = re.sub(r"(\d+(?:\.\d+)?)\s*(?:\^\{?\\circ\}?|°)", r"(\1*pi/180)", text)
    text = re.sub(r"\^\{?\\circ\}?|\\[,;:! ]|\\[%$]|[$&°~%]|\\\\", " ", text.replace("\\!", ""))
    text = re.sub(r"\\left\s*\|([^|]*)\\right\s*\|", r"absolute{\1}", text)
    text = re.sub(r"\|([^|]*)\|", r"absolute{\1}", text)
    text = re.sub(r"\\left\s*(?=\\l)|\\right\s*(?=\\r)", "", text)
    text = re.sub(r"\\lfloor(.*?)\\rfloor", r"floor{\1}", text)
    text = re.sub(r"\\lceil(.*?)\\rceil", r"ceiling{\1}", text)
    text = re.sub(r"(?<=\d)(?:,|\{,\})\s?(?=\d{3}(?!\d))", "", text)
    for found in sorted(_PLAIN, key=len, reverse=True):
        whole = r"(?![A-Za-z])" if found[-1].isalpha() else ""
        text = re.sub(re.escape(found) + whole, _PLAIN[found].replace("\\", "\\\\"), text)
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"((\1)/(\2))", text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![\d)])(\d+)\\frac\{(\d+)\}\{(\d+)\}", r"(\1+(\2)/(\3))", text)
    for _ in range(12):
        before = text
        text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*(\d)", r"((\1)/(\2))", text)
        text = re.sub(r"\\binom\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"comb(\1,\2)", text)
        text = re.sub(r"\\sqrt\s*\((\d+)\)\s*\{([^{}]*)\}", r"root(\2,\1)", text)
        text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"root(\1,2)", text)
        text = re.sub(r"\\log\s*_\s*(?:\{(\d+)\}|(\d))\s*(?:[({]([^(){}]*)[)}]|(\d+))", r"log(\3\4,\1\2)", text)
        text = re.sub(r"\{([^{}]*)\\choose([^{}]*)\}", r"comb(\1,\2)", text)
        # A group that a command still waits for stays a group.
        text = re.sub(r"(?<!frac)(?<!sqrt)(?<!binom)(?<![})])(?<![})] )\{((?:[^{}\\])*)\}", r"(\1)", text)
        text = re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", text)
        text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
        if text == before:
            break
    text = re.sub(r"\\(?=(?:sin|cos|tan|cot|sec|csc|gcd|max|min)\b)", " ", text)
    text = re.sub(rf"({_TRIGONOMETRIC})\s*\^\s*\(?(\d)\)?\s*({_INNER})", r"(\1\3)^\2", text)
    text = re.sub(rf"({_TRIGONOMETRIC})\s+(pi|0)(?!\s*[\d/(])", r"\1(\2)", text)
    text = re.sub(rf"({_TRIGONOMETRIC})\s+(\d+)\s*pi(?!\s*[\d/(])", r"\1(\2*pi)", text)
    text = re.sub(rf"\b(?!(?:{_NAMED}|m\d_)\b)[A-Za-z]{{2,}}(?:[ -](?!(?:{_NAMED})\b)[A-Za-z]{{2,}})*\b", " ", text)
    text = re.sub(r"(?<=\d)\s+x\s+(?=\d)|(?<=\d)x(?=\d)", "*", text).strip()
    text = re.sub(rf"(?<=\d)\s*(?=(?:{_NAMED})\b)", "*", text)
    return re.sub(rf"(?:(?<=[)!])|(?<=\bpi))\s*(?=[\d(]|(?:{_NAMED})\b)", "*", text)


def _sides(equation: str) -> list[str]:
    sides = [side for side in re.split(r"=+|\\approx|≈", equation) if side.strip(" &\\")]
    if len(sides) < 2:
        raise Unreadable(equation)
    return sides


def holds(equation: str) -> bool:
    """Whether every link of a chain is true, or rounds to the decimals shown. Raises Unreadable."""
    sides = _sides(equation)
    values = [value(side) for side in sides]
    return all(_near(*pair) for pair in zip(values, values[1:], sides, sides[1:], strict=False))


def is_identity(equation: str) -> bool:
    """Whether both sides are equal at random rational points for all their letters. Raises Unreadable."""
    sides = _sides(equation)
    read: list[Expr] = []
    for side in sides:
        text = _replaced(re.sub(r"(?<![\\A-Za-z])[A-Za-z]{2,}", lambda found: " ".join(found[0]), side))
        text = re.sub(r"(?<![A-Za-z])([a-zA-Z])\s*(?=\()", r"\1*", text)
        if not _ALGEBRA.fullmatch(text) or re.search(rf"\b(?:{_NAMED})\b", text):
            raise Unreadable(side)
        found = _parsed(text, side, {name: Symbol(name) for name in string.ascii_letters})
        if not isinstance(found, Expr):
            raise Unreadable(side)
        read.append(found)
    names = sorted({symbol for side in read for symbol in side.free_symbols}, key=str)
    if not names:
        raise Unreadable(equation)
    rng = random.Random(3)
    for _ in range(_POINTS):
        point = {name: Rational(rng.randint(2, 60), rng.randint(1, 9)) for name in names}
        values = [side.subs(point) for side in read]
        if not all(each.is_finite for each in values):
            continue
        if any(a != b for a, b in pairwise(values)):
            return False
    return True


def _near(left: Expr | Grid, right: Expr | Grid, left_text: str, right_text: str) -> bool:
    if isinstance(left, Grid) and isinstance(right, Grid):
        gaps = left.matrix - right.matrix
        return all(bool(gap.equals(0)) for gap in gaps)
    if isinstance(left, Grid) or isinstance(right, Grid):
        raise Unreadable(left_text)
    decimals = max(len(found[1]) if (found := re.search(r"\.(\d+)\D*$", t)) else 0 for t in (left_text, right_text))
    gap = abs(left - right)
    if decimals == 0:
        return bool(gap == 0) or bool(gap.equals(0))
    half = Fraction(1, 2 * 10**decimals)
    return bool(gap <= Rational(half.numerator, half.denominator))
