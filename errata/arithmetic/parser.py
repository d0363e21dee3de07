"""Recursive descent over lexemes: one side of an equation, with units and words between its terms.

Anything half understood (a variable, a clause, an unknown sign) makes the side unjudgeable: its value is None and
nothing is ever proven with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic.cursor import Cursor
from errata.arithmetic.lexer import Lexeme
from errata.arithmetic.nodes import Node, Operation, Quantity, Token
from errata.arithmetic.vocabulary import SCALES, unit_factor

MAX_DEPTH = 32


@dataclass(slots=True)
class Parsed:
    """The lexemes up to ``stop`` read as one side of ``text[start:end]``; ``node`` is None when it cannot be judged."""

    stop: int
    node: Node | None
    tokens: tuple[Token, ...]
    units: frozenset[str]
    has_words: bool
    start: int
    end: int


@dataclass(slots=True)
class Parser(Cursor):
    """Reads one side from ``lexemes[pos:limit]``; use ``parse``."""

    def expression(self) -> Node:
        """term (("+" | "-") term)*"""
        node = self._term()
        while self.symbol() in ("+", "-") and self.starts_operand(1):
            symbol = self.operator()
            node = Operation(symbol, (node, self._term()))
        return node

    def _term(self) -> Node:
        node = self._factor()
        divided = False
        while True:
            if self.symbol() in ("*", "/") and self.starts_operand(1):
                symbol = self.operator()
                divided = divided or symbol == "/"
                node = Operation(symbol, (node, self._factor()))
            elif self.kind() == "open" and self.lexemes[self.pos].glued and self.lexemes[self.pos].text in "([{":
                self.unjudgeable = self.unjudgeable or divided  # a/b(c): two readings
                node = Operation("*", (node, self._factor()))
            elif self._of_ahead(node):
                self.pos += self._of_ahead(node)
                node = Operation("*", (node, self._factor()))
            else:
                return node

    def _of_ahead(self, node: Node) -> int:
        """How many lexemes "of", "of the" take in front of a number, where a share of it is meant; else 0."""
        lexeme = self.peek()
        if lexeme is None or lexeme.kind != "word" or lexeme.text != "of" or not _is_share(node):
            return 0
        for skip in (1, 2):
            if self.kind(skip) in ("num", "cur") or self.symbol(skip) == "frac":
                return skip
            following = self.peek(skip)
            if following is None or following.text not in ("the", "those", "these", "all"):
                break
        return 0

    def _factor(self) -> Node:
        while self.kind() == "cur":
            self.pos += 1
        if self.symbol() == "-":
            self.operator("neg")
            self.depth += 1
            node: Node = Operation("neg", (self._factor() if self.depth <= MAX_DEPTH else self.give_up(),))
            self.depth -= 1
            return node
        node = self._powers(self._primary())
        while self.kind() == "cur":
            self.pos += 1
        self.cross_phrase()
        return node

    def _powers(self, node: Node) -> Node:
        while True:
            symbol, lexeme = self.symbol(), self.peek()
            if lexeme is None:
                return node
            if symbol == "super":
                self.operator("^")
                node = Operation("^", (node, Quantity(lexeme.value or Fraction(0))))
            elif symbol == "!":
                self.operator()
                node = Operation("!", (node,))
                self.end = lexeme.end
            elif symbol == "^" and self.starts_operand(1):
                self.operator()
                negative = self.symbol() == "-"
                if negative:
                    self.operator("neg")
                exponent = self._powers(self._primary())  # binds to the right
                node = Operation("^", (node, Operation("neg", (exponent,)) if negative else exponent))
            else:
                return node

    def _primary(self) -> Node:
        while self.kind() == "cur":
            self.pos += 1
        lexeme = self.peek()
        if lexeme is None:
            return self.give_up()
        if lexeme.kind == "num":
            return self._quantity()
        if lexeme.kind == "open":
            return self._bracketed()
        if lexeme.symbol == "frac":
            return self._fraction()
        if lexeme.symbol == "sqrt":
            self.operator()
            return Operation("sqrt", (self._primary(),))
        return self.give_up()

    def _bracketed(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH or not self.starts_operand(1):
            return self.give_up()
        self.take("paren", "(")
        node = self.expression()
        if self.kind() != "close":
            return self.give_up()
        self.take("paren", ")")
        self.depth -= 1
        if self.kind() == "pct":
            self.give_up()
        return node

    def _fraction(self) -> Node:
        self.operator()
        short = self.peek()
        if short is not None and short.kind == "num":
            if len(short.text) != 2 or not short.text.isdigit() or short.text[1] == "0":
                return self.give_up()
            top, bottom = (Quantity(Fraction(int(digit))) for digit in short.text)
            self.take("number")
            return Operation("/", (top, bottom))
        if self.kind() != "open":
            return self.give_up()
        above = self._bracketed()
        if self.kind() != "open":
            return self.give_up()
        return Operation("/", (above, self._bracketed()))

    def _quantity(self) -> Node:
        lexeme = self.lexemes[self.pos]
        if lexeme.value is None:
            self.unjudgeable = True
        value, exact = lexeme.value or Fraction(0), lexeme.symbol == "vulgar"
        priced = self.pos > 0 and self.lexemes[self.pos - 1].kind == "cur"
        self.take("number")
        if value.denominator == 1 and not lexeme.decimals:
            added = self._mixed_part()
            value, exact = value + added, exact or added != 0
        percent = self.kind() == "pct"
        if percent:
            self.end = self.lexemes[self.pos].end
            self.pos += 1
        phrase = self.phrase()
        scale = SCALES.get(phrase[0].lower(), 1) if phrase else 1
        units = ("$", *phrase) if priced else phrase
        # The factor stays beside the value: whether units are converted is a reading, chosen when all sides are known.
        factor, seen = unit_factor(units)
        self.units |= seen
        return Quantity(value, lexeme.decimals, lexeme.truncated, exact, percent, scale, factor)

    def _mixed_part(self) -> Fraction:
        """The fraction of a mixed number (``2 1/2``, ``2½``, ``2\\frac{1}{2}``) behind its whole, or 0."""
        following = self.peek()
        if following is None:
            return Fraction(0)
        if following.symbol == "vulgar":
            value = following.value or Fraction(0)
            self.take("number")
            return value
        if following.symbol == "frac" and following.glued:
            part = self._fraction()
            if isinstance(part, Operation) and all(isinstance(p, Quantity) and not p.decimals for p in part.parts):
                top, bottom = (p.value for p in part.parts if isinstance(p, Quantity))
                if 0 < top < bottom:
                    return top / bottom
            self.unjudgeable = True
            return Fraction(0)
        return self._written_fraction()

    def _written_fraction(self) -> Fraction:
        top, slash, bottom = self.peek(), self.peek(1), self.peek(2)
        if top is None or slash is None or bottom is None or top.kind != "num" or bottom.kind != "num":
            return Fraction(0)
        if slash.text != "/" or not slash.glued or not bottom.glued or top.glued or top.decimals or bottom.decimals:
            return Fraction(0)
        if not top.value or not bottom.value or top.value >= bottom.value:
            return Fraction(0)
        self.take("number")
        self.operator("frac")
        self.take("number")
        return top.value / bottom.value


def _is_share(node: Node) -> bool:
    if isinstance(node, Quantity):
        return node.percent or node.exact
    return node.symbol == "/"


def parse(lexemes: Sequence[Lexeme], first: int, limit: int) -> Parsed | None:
    """The longest side that starts at ``lexemes[first]`` and ends before ``limit``; None where no complete one does."""
    parser = Parser(lexemes, first, limit)
    if not parser.starts_operand():
        return None
    node = parser.expression()
    # "failed" means there is no whole side here; "unjudgeable" means there is one whose value nobody may rely on.
    if parser.failed or not parser.tokens:
        return None
    node_or_none = None if parser.unjudgeable else node
    start, end = lexemes[first].start, max(parser.end, parser.tokens[-1].end)
    units = frozenset(parser.units)
    return Parsed(parser.pos, node_or_none, tuple(parser.tokens), units, parser.has_words, start, end)
