"""The part of the grammar that has names: functions, absolute values, matrices, and the constant pi."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction

from errata.arithmetic.cursor import Cursor
from errata.arithmetic.functions import FENCES, LISTS, TRIGONOMETRIC
from errata.arithmetic.nodes import Node, Operation, Quantity

_UNREAD = Quantity(Fraction(0))


@dataclass(slots=True)
class FunctionParser(Cursor, ABC):
    """Reads one name with what it takes; the rest of the grammar is the parser's."""

    @abstractmethod
    def expression(self) -> Node:
        """A sum; the parser's."""

    @abstractmethod
    def factor(self) -> Node:
        """A number, bracket or root with its powers; the parser's."""

    @abstractmethod
    def bracketed(self) -> Node:
        """A bracket; the parser's."""

    def constant(self) -> Node:
        """The constant here."""
        self.take("constant", "pi")
        return Operation("pi", ())

    def named(self, symbol: str) -> Node:
        """What starts with the name ``symbol``."""
        self.depth += 1
        if symbol in ("matrix", "det"):
            node = self._matrix(symbol)
        elif symbol in FENCES:
            node = self._fenced(symbol)
        elif symbol in LISTS:
            node = self._list(symbol)
        else:
            node = self._function(symbol)
        self.depth -= 1
        self.computes = True
        return node

    def _unread(self) -> Node:
        """What the name takes has no value here, but the text is well-formed."""
        self.unjudgeable = True
        return _UNREAD

    def _fenced(self, symbol: str) -> Node:
        self.operator(symbol)
        inner = self.expression() if self.starts_operand() else self._unread()
        lexeme = self.peek()
        if lexeme is None or lexeme.kind != "close" or lexeme.symbol != "end":
            return self._behind("close")
        self.operator("end")
        return Operation(symbol, (inner,))

    def _behind(self, kind: str) -> Node:
        """Go behind the next closing lexeme: what stands before it is not read."""
        depth = 0
        while (lexeme := self.peek()) is not None:
            if lexeme.kind == kind and depth == 0:
                self.operator("end")
                return self._unread()
            depth += (lexeme.kind == "open" or lexeme.symbol in FENCES) - (lexeme.kind == "close")
            self.pos += 1
        return self.give_up()

    def _matrix(self, symbol: str) -> Node:
        self.operator(symbol)
        rows: list[list[Node]] = [[]]
        while self.starts_operand():
            computes = self.computes
            rows[-1].append(self.expression())
            self.computes = self.computes or computes
            if self.symbol() == "row":
                self.operator()
                rows.append([])
            elif self.symbol() == "&":
                self.operator()
            else:
                break
        lexeme = self.peek()
        if lexeme is None or lexeme.kind != "close" or lexeme.symbol != "end":
            return self._behind("close")
        self.operator("end")
        filled = [row for row in rows if row]
        if len({len(row) for row in filled}) != 1:
            return self._unread()
        return Operation(symbol, tuple(Operation("row", tuple(row)) for row in filled))

    def _list(self, symbol: str) -> Node:
        """``\\gcd(12, 18)``: commas are signs here (errata.arithmetic.grouping)."""
        self.operator(symbol)
        if self.kind() != "open":
            return self._unread()
        self.take("paren", "(")
        found: list[Node] = []
        while self.starts_operand():
            found.append(self.expression())
            if self.symbol() != ",":
                break
            self.operator()
        if self.kind() != "close":
            return self._behind("close")
        self.take("paren", ")")
        return Operation(symbol, tuple(found)) if len(found) > 1 else self._unread()

    def _function(self, symbol: str) -> Node:
        lexeme = self.lexemes[self.pos]
        base = lexeme.value
        self.operator(symbol if base is None else f"{symbol}_{base}")
        exponent = self._exponent()
        if self.kind() == "open":
            inner, open_ended = self.bracketed(), False
        else:
            inner, open_ended = self._argument()
        if self._is_degrees():
            inner, open_ended = self._degrees(inner), False
        # "\\cos \\pi / 3" may mean a third of the cosine or the cosine of a third.
        following = self.symbol()
        if following == "/" or (open_ended and following == "*" and self.kind(1) != "op"):
            self.unjudgeable = True
        if symbol in TRIGONOMETRIC:
            inner = _in_radians(inner)
        parts = (inner,) if base is None else (inner, Quantity(base))
        node = Operation(symbol, parts)
        return node if exponent is None else Operation("^", (node, exponent))

    def _exponent(self) -> Node | None:
        """The 2 of ``\\sin^2``; the -1 of an inverse is no exponent."""
        if self.symbol() != "^":
            return None
        self.operator()
        braced = self.kind() == "open"
        if braced:
            self.take("paren", "(")
        number = self.peek()
        if number is None or number.kind != "num" or number.value is None or number.value < 1:
            self.unjudgeable = True
            return self._behind("close") if braced else None
        self.take("number")
        if braced and self.kind() == "close":
            self.take("paren", ")")
        elif braced:
            return self._behind("close")
        return Quantity(number.value)

    def _argument(self) -> tuple[Node, bool]:
        """What a function without brackets takes: factors side by side; whether a sign behind leaves open how far."""
        node: Node | None = None
        while True:
            symbol, kind = self.symbol(), self.kind()
            fits = kind in ("num", "const") or symbol in ("frac", "sqrt") or (node is None and symbol == "-")
            if not fits or (node is not None and not self._beside()):
                break
            part = self.factor()
            node = part if node is None else Operation("*", (node, part))
            if self._is_degrees():
                return self._degrees(node), False
        return (self._unread(), False) if node is None else (node, True)

    def _beside(self) -> bool:
        lexeme = self.peek()
        return lexeme is not None and lexeme.math and not lexeme.opens

    def _is_degrees(self) -> bool:
        lexeme = self.peek()
        return lexeme is not None and lexeme.kind == "word" and lexeme.text == "degrees"

    def _degrees(self, node: Node) -> Node:
        self.end = self.lexemes[self.pos].end
        self.pos += 1
        return Operation("degrees", (node,))


def _in_radians(node: Node) -> Node:
    """The angle with every number of degrees turned into radians."""
    if isinstance(node, Quantity):
        return Operation("degrees", (replace(node, degrees=False),)) if node.degrees else node
    if node.symbol == "degrees":
        return node
    return Operation(node.symbol, tuple(_in_radians(part) for part in node.parts))
