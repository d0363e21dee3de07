"""Matrices and vectors of numbers: sums, products, powers and determinants, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic.enclosures import Enclosure, Real

MAX_SIZE = 6  # rows and columns: a determinant of more is nothing a solution writes out
MAX_POWER = 16


class Mismatch(ArithmeticError):
    """The shapes do not fit, or the operation has no meaning here."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of numbers, all of one length. A vector is a matrix of one column."""

    rows: tuple[tuple[Real, ...], ...]

    def __post_init__(self) -> None:
        if len({len(row) for row in self.rows}) != 1 or max(len(self.rows), len(self.rows[0])) > MAX_SIZE:
            raise Mismatch("rows of different lengths, or too many")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.rows[0])

    @property
    def entries(self) -> list[Real]:
        """All entries, row after row."""
        return [entry for row in self.rows for entry in row]

    def map(self, change: Callable[[Real], Real]) -> Matrix:
        """Every entry changed."""
        return Matrix(tuple(tuple(change(entry) for entry in row) for row in self.rows))


def added(left: Matrix, right: Matrix, sign: int) -> Matrix:
    """The sum, or with ``sign`` -1 the difference. Raises Mismatch for different shapes."""
    if left.shape != right.shape:
        raise Mismatch("shapes differ")
    factor = Fraction(sign)
    rows = zip(left.rows, right.rows, strict=True)
    return Matrix(tuple(tuple(add(a, times(factor, b)) for a, b in zip(*pair, strict=True)) for pair in rows))


def multiplied(left: Matrix, right: Matrix) -> Matrix | Real:
    """The product of matrices; of two columns, which have none, the scalar product. Raises Mismatch."""
    (_, inner), (height, width) = left.shape, right.shape
    if left.shape == right.shape and width == 1:
        return _dot([row[0] for row in left.rows], [row[0] for row in right.rows])
    if inner != height:
        raise Mismatch("shapes do not fit")
    columns = [[row[at] for row in right.rows] for at in range(width)]
    return Matrix(tuple(tuple(_dot(list(row), column) for column in columns) for row in left.rows))


def crossed(left: Matrix, right: Matrix) -> Matrix:
    """The vector product of two columns of three. Raises Mismatch."""
    if left.shape != (3, 1) or right.shape != (3, 1):
        raise Mismatch("no vectors of three")
    a, b = left.entries, right.entries
    turned = ((1, 2), (2, 0), (0, 1))
    return Matrix(tuple((subtract(times(a[i], b[j]), times(a[j], b[i])),) for i, j in turned))


def raised(base: Matrix, exponent: Fraction) -> Matrix:
    """A square matrix to a whole power above zero. Raises Mismatch."""
    if base.shape[0] != base.shape[1] or exponent.denominator != 1 or not 1 <= exponent <= MAX_POWER:
        raise Mismatch("power")
    result = base
    for _ in range(exponent.numerator - 1):
        product = multiplied(result, base)
        if not isinstance(product, Matrix):
            raise Mismatch("power")
        result = product
    return result


def determinant(matrix: Matrix) -> Real:
    """By expansion along the first row. Raises Mismatch unless square."""
    height, width = matrix.shape
    if height != width:
        raise Mismatch("not square")
    if height == 1:
        return matrix.rows[0][0]
    total: Real = Fraction(0)
    for at, entry in enumerate(matrix.rows[0]):
        minor = Matrix(tuple(row[:at] + row[at + 1 :] for row in matrix.rows[1:]))
        term = times(entry, determinant(minor))
        total = subtract(total, term) if at % 2 else add(total, term)
    return total


def _dot(left: list[Real], right: list[Real]) -> Real:
    total: Real = Fraction(0)
    for a, b in zip(left, right, strict=True):
        total = add(total, times(a, b))
    return total


def add(left: Real, right: Real) -> Real:
    """The sum of two numbers; the enclosure comes first, since fractions know none."""
    return right + left if isinstance(right, Enclosure) else left + right


def times(left: Real, right: Real) -> Real:
    """The product of two numbers."""
    return right * left if isinstance(right, Enclosure) else left * right


def subtract(left: Real, right: Real) -> Real:
    """The difference of two numbers."""
    return -right + left if isinstance(right, Enclosure) else left - right
