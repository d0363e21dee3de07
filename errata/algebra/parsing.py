"""One side of an equation read as a rational expression, or refused. Whatever could be read in two ways is refused.

Read are ``+ - * /``, fractions, brackets, products written side by side, and integer powers of single letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from errata.algebra.expressions import MAX_POWER, Expression
from errata.algebra.lexing import Token

MAX_DEPTH = 25
MAX_SIDE = 150
_CONSTANTS = frozenset("ie")  # the imaginary unit and Euler's number, or letters: nothing tells which
FUNCTIONS = frozenset("fghFGH")
_PERHAPS_FUNCTIONS = frozenset("pqrPQRSTVs")
_OPERANDS = frozenset({"number", "letter", "open", "fraction", "box"})


class Unread(ValueError):
    """The side is no rational expression that can be read in one way only."""


def parse_side(side: Sequence[Token]) -> Expression:
    """The expression. Raises Unread. ``f(x)`` of the letters that name functions is a variable of that name."""
    if not 0 < len(side) <= MAX_SIDE:
        raise Unread
    parser = _Parser(side)
    found = parser.sum(0)
    if parser.at < len(side):
        raise Unread
    return found


class _Parser:
    def __init__(self, side: Sequence[Token]) -> None:
        self._side, self.at = side, 0

    def _peek(self, ahead: int = 0) -> Token | None:
        at = self.at + ahead
        return self._side[at] if at < len(self._side) else None

    def _take(self, kind: str, symbol: str | None = None) -> Token:
        token = self._peek()
        if token is None or token.kind != kind or (symbol is not None and token.symbol != symbol):
            raise Unread
        self.at += 1
        return token

    def _next_is(self, symbols: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "operator" and token.symbol in symbols

    def sum(self, depth: int) -> Expression:
        """Terms joined by plus and minus; a sign may stand before the first."""
        if depth > MAX_DEPTH:
            raise Unread
        negative = False
        if self._next_is("+-"):
            negative = self._take("operator").symbol == "-"
        total = self._product(depth)
        total = Expression("negate", (total,)) if negative else total
        while self._next_is("+-"):
            kind = self._take("operator").symbol
            total = Expression("add" if kind == "+" else "subtract", (total, self._product(depth)))
        return total

    def _product(self, depth: int) -> Expression:
        first = self._peek()
        total = self._power(depth)
        divided = False
        while (token := self._peek()) is not None:
            if token.kind == "operator" and token.symbol in "*/":
                self.at += 1
                first = self._peek()
                kind = "divide" if token.symbol == "/" else "multiply"
                divided = divided or kind == "divide"
                total = Expression("divide" if token.symbol == "/" else "multiply", (total, self._power(depth)))
            elif token.kind in _OPERANDS:
                # "1/2x" may mean two things; "x2", "3 4" and the mixed number "2 1/3" are no products.
                factor = self._power(depth)
                mixed = first is not None and first.kind == "number" and token.kind == "fraction"
                if divided or token.kind == "number" or (mixed and not factor.variables()):
                    raise Unread
                first = token
                total = Expression("multiply", (total, factor))
            else:
                break
        return total

    def _power(self, depth: int) -> Expression:
        first = self._peek()
        base = self._atom(depth)
        token = self._peek()
        if token is None or token.kind != "power":
            return base
        self.at += 1
        exponent = self._exponent()
        after = self._peek()
        if after is not None and after.kind == "power":
            raise Unread
        # f^{-1} names an inverse function, A^{-1} perhaps a matrix.
        letter = first is not None and first.kind == "letter"
        if letter and exponent < 0 and first is not None and (first.symbol in FUNCTIONS or first.symbol.isupper()):
            raise Unread
        return Expression("power", (base,), Fraction(exponent))

    def _exponent(self) -> int:
        token = self._peek()
        if token is not None and token.kind == "open" and token.symbol == "{":
            self.at += 1
            negative = self._next_is("-")
            self.at += negative
            number = self._take("number")
            self._take("close", "}")
        else:
            negative, number = False, self._take("number")
            # LaTeX reads "x^12" as x^1 followed by 2; whoever wrote it meant something else.
            if len(number.symbol) > 1:
                raise Unread
        if not number.symbol.isdigit() or len(number.symbol) > 4 or int(number.symbol) > MAX_POWER:
            raise Unread
        return -int(number.symbol) if negative else int(number.symbol)

    def _atom(self, depth: int) -> Expression:
        token = self._peek()
        if token is None:
            raise Unread
        self.at += 1
        match token.kind:
            case "number" if len(token.symbol) <= 30:
                return Expression("number", value=Fraction(token.symbol))
            case "letter":
                return self._letter(token, depth)
            case "open":
                inner = self.sum(depth + 1)
                self._take("close", ")" if token.symbol == "(" else "}")
                return inner
            case "box":
                return self._braced(depth)
            case "fraction":
                return self._fraction(depth)
        raise Unread

    def _letter(self, token: Token, depth: int) -> Expression:
        following, after = self._peek(), self._peek(1)
        if token.symbol in _CONSTANTS:
            raise Unread
        if following is None or following.symbol != "(":
            adjoins = following is not None and following.kind == "letter" and following.symbol.isupper()
            if token.symbol.isupper() and adjoins:
                raise Unread
            return Expression("variable", name=token.symbol)
        if token.symbol in FUNCTIONS:
            start = self.at
            self.at += 1
            self.sum(depth + 1)
            self._take("close", ")")
            return Expression("variable", name="".join(t.symbol for t in self._side[start - 1 : self.at]))
        last = self._peek(2)
        alone = after is not None and after.kind in ("letter", "number") and last is not None and last.symbol == ")"
        if alone or token.symbol in _PERHAPS_FUNCTIONS:
            raise Unread
        return Expression("variable", name=token.symbol)

    def _braced(self, depth: int) -> Expression:
        self._take("open", "{")
        inner = self.sum(depth + 1)
        self._take("close", "}")
        return inner

    def _fraction(self, depth: int) -> Expression:
        token = self._peek()
        if token is not None and token.kind == "number" and len(token.symbol) == 2 and token.symbol.isdigit():
            self.at += 1  # \frac12: one digit each
            above, below = (Expression("number", value=Fraction(digit)) for digit in token.symbol)
        else:
            above, below = self._argument(depth), self._argument(depth)
        return Expression("divide", (above, below))

    def _argument(self, depth: int) -> Expression:
        token = self._peek()
        if token is None or (token.kind == "number" and len(token.symbol) > 1):
            raise Unread
        return self._braced(depth) if token.kind == "open" else self._atom(depth)
