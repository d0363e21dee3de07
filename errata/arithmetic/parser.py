"""Recursive descent over lexemes: one side of an equation, with units and words between its terms.

Anything half understood (a variable, a clause, an unknown sign) poisons the side: its value is None and nothing is
ever proven with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from errata.arithmetic.lexer import Lexeme
from errata.arithmetic.nodes import Node, Operation, Quantity
from errata.arithmetic.types import Token
from errata.arithmetic.vocabulary import (
    AFTER_FORBIDDEN,
    CLAUSE_WORDS,
    GLUED_UNITS,
    SCALES,
    VARIABLE_LETTERS_ALLOWED,
    unit_factor,
)

MAX_DEPTH = 32
MAX_PHRASE = 6
_ZERO = Quantity(Fraction(0))


@dataclass(slots=True)
class Parsed:
    """``lexemes[first:stop]`` read as one side; ``node`` is None when it cannot be judged."""

    first: int
    stop: int
    node: Node | None
    tokens: tuple[Token, ...]
    units: frozenset[str]
    has_words: bool
    start: int
    end: int


@dataclass(slots=True)
class Parser:
    """Reads one side from ``lexemes[pos:limit]``; use ``parse``."""

    lexemes: Sequence[Lexeme]
    pos: int
    limit: int
    depth: int = 0
    poisoned: bool = False
    failed: bool = False
    has_words: bool = False
    end: int = 0
    tokens: list[Token] = field(default_factory=list)
    units: set[str] = field(default_factory=set)

    def peek(self, ahead: int = 0) -> Lexeme | None:
        """The lexeme ``ahead`` places on, or None at the limit."""
        at = self.pos + ahead
        return self.lexemes[at] if at < self.limit else None

    def _symbol(self, ahead: int = 0) -> str:
        lexeme = self.peek(ahead)
        return lexeme.symbol if lexeme is not None and lexeme.kind == "op" else ""

    def _kind(self, ahead: int = 0) -> str:
        lexeme = self.peek(ahead)
        return lexeme.kind if lexeme is not None else ""

    def starts_operand(self, ahead: int = 0) -> bool:
        """Whether a number, bracket, fraction, root or sign with one of these behind it stands ``ahead`` places on."""
        at = ahead
        while self._kind(at) == "cur":
            at += 1
        if self._kind(at) in ("num", "open") or self._symbol(at) in ("frac", "sqrt"):
            return True
        return self._symbol(at) == "-" and at - ahead < 4 and self.starts_operand(at + 1)

    def expression(self) -> Node:
        """term (("+" | "-") term)*"""
        node = self._term()
        while self._symbol() in ("+", "-") and self.starts_operand(1):
            symbol = self._operator()
            node = Operation(symbol, (node, self._term()))
        return node

    def _term(self) -> Node:
        node = self._factor()
        divided = False
        while True:
            if self._symbol() in ("*", "/") and self.starts_operand(1):
                symbol = self._operator()
                divided = divided or symbol == "/"
                node = Operation(symbol, (node, self._factor()))
            elif self._kind() == "open" and self.lexemes[self.pos].glued and self.lexemes[self.pos].text in "([{":
                self.poisoned = self.poisoned or divided  # a/b(c): two readings
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
            if self._kind(skip) in ("num", "cur") or self._symbol(skip) == "frac":
                return skip
            following = self.peek(skip)
            if following is None or following.text not in ("the", "those", "these", "all"):
                break
        return 0

    def _factor(self) -> Node:
        while self._kind() == "cur":
            self.pos += 1
        if self._symbol() == "-":
            self._operator("neg")
            self.depth += 1
            node: Node = Operation("neg", (self._factor() if self.depth <= MAX_DEPTH else self._give_up(),))
            self.depth -= 1
            return node
        node = self._powers(self._primary())
        while self._kind() == "cur":
            self.pos += 1
        self._cross_phrase()
        return node

    def _powers(self, node: Node) -> Node:
        while True:
            symbol, lexeme = self._symbol(), self.peek()
            if lexeme is None:
                return node
            if symbol == "super":
                self._operator("^")
                node = Operation("^", (node, Quantity(lexeme.value or Fraction(0))))
            elif symbol == "!":
                self._operator()
                node = Operation("!", (node,))
                self.end = lexeme.end
            elif symbol == "^" and self.starts_operand(1):
                self._operator()
                negative = self._symbol() == "-"
                if negative:
                    self._operator("neg")
                exponent = self._powers(self._primary())  # binds to the right
                node = Operation("^", (node, Operation("neg", (exponent,)) if negative else exponent))
            else:
                return node

    def _operator(self, symbol: str | None = None) -> str:
        lexeme = self.lexemes[self.pos]
        name = symbol or lexeme.symbol
        self.tokens.append(Token("operator", lexeme.start, lexeme.end, lexeme.text, name))
        self.pos += 1
        self.end = lexeme.end
        return name

    def _give_up(self) -> Node:
        self.failed = self.poisoned = True
        self.pos = self.limit
        return _ZERO

    def _primary(self) -> Node:
        while self._kind() == "cur":
            self.pos += 1
        lexeme = self.peek()
        if lexeme is None:
            return self._give_up()
        if lexeme.kind == "num":
            return self._quantity()
        if lexeme.kind == "open":
            return self._bracketed()
        if lexeme.symbol == "frac":
            return self._fraction()
        if lexeme.symbol == "sqrt":
            self._operator()
            return Operation("sqrt", (self._primary(),))
        return self._give_up()

    def _bracketed(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH or not self.starts_operand(1):
            return self._give_up()
        self._paren("(")
        node = self.expression()
        if self._kind() != "close":
            return self._give_up()
        self._paren(")")
        self.depth -= 1
        if self._kind() == "pct":
            self._give_up()
        return node

    def _paren(self, symbol: str) -> None:
        lexeme = self.lexemes[self.pos]
        self.tokens.append(Token("paren", lexeme.start, lexeme.end, lexeme.text, symbol))
        self.pos += 1
        self.end = lexeme.end

    def _fraction(self) -> Node:
        self._operator()
        short = self.peek()
        if short is not None and short.kind == "num":
            if len(short.text) != 2 or not short.text.isdigit() or short.text[1] == "0":
                return self._give_up()
            top, bottom = (Quantity(Fraction(int(digit))) for digit in short.text)
            self._number_token(short)
            return Operation("/", (top, bottom))
        if self._kind() != "open":
            return self._give_up()
        above = self._bracketed()
        if self._kind() != "open":
            return self._give_up()
        return Operation("/", (above, self._bracketed()))

    def _number_token(self, lexeme: Lexeme) -> None:
        before = self.lexemes[self.pos - 1] if self.pos > 0 else None
        currency = before.text if before is not None and before.kind == "cur" else None
        self.tokens.append(Token("number", lexeme.start, lexeme.end, lexeme.text, "", lexeme.value, currency=currency))
        self.pos += 1
        self.end = lexeme.end

    def _quantity(self) -> Node:
        lexeme = self.lexemes[self.pos]
        if lexeme.value is None:
            self.poisoned = True
        value, exact = lexeme.value or Fraction(0), lexeme.symbol == "vulgar"
        at = len(self.tokens)
        self._number_token(lexeme)
        if value.denominator == 1 and not lexeme.decimals:
            added = self._mixed_part()
            value, exact = value + added, exact or added != 0
        percent = self._kind() == "pct"
        if percent:
            self.end = self.lexemes[self.pos].end
            self.pos += 1
        phrase = self._phrase()
        scale = SCALES.get(phrase[0].lower(), 1) if phrase else 1
        units = phrase if self.tokens[at].currency is None else ("$", *phrase)
        factor, seen = unit_factor(units)
        self.units |= seen
        token = self.tokens[at]
        self.tokens[at] = Token(
            "number", token.start, token.end, token.text, "", token.value,
            " ".join(phrase).replace(" / ", "/") or None, percent, token.currency,
        )  # fmt: skip
        return Quantity(value, lexeme.decimals, lexeme.truncated, exact, percent, scale, factor)

    def _mixed_part(self) -> Fraction:
        """The fraction of a mixed number (``2 1/2``, ``2½``, ``2\\frac{1}{2}``) behind its whole, or 0."""
        following = self.peek()
        if following is None:
            return Fraction(0)
        if following.symbol == "vulgar":
            value = following.value or Fraction(0)
            self._number_token(following)
            return value
        if following.symbol == "frac" and following.glued:
            part = self._fraction()
            if isinstance(part, Operation) and all(isinstance(p, Quantity) and not p.decimals for p in part.parts):
                top, bottom = (p.value for p in part.parts if isinstance(p, Quantity))
                if 0 < top < bottom:
                    return top / bottom
            self.poisoned = True
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
        self._number_token(top)
        self._operator("frac")
        self._number_token(bottom)
        return top.value / bottom.value

    def _phrase(self) -> tuple[str, ...]:
        """The words (and ``/``, ``per``) behind a number that may name its unit, not consumed."""
        words: list[str] = []
        at = 0
        while len(words) < MAX_PHRASE + 2:
            lexeme = self.peek(at)
            if lexeme is None or (lexeme.kind != "word" and not self._unit_slash(at)):
                break
            if lexeme.kind == "word" and lexeme.text.lower() in CLAUSE_WORDS:
                break
            words.append(lexeme.text)
            at += 1
        return tuple(words)

    def _unit_slash(self, at: int) -> bool:
        return self._symbol(at) == "/" and self._kind(at + 1) == "word"

    def _cross_phrase(self) -> None:
        """Consume a unit phrase if an operator, a closing bracket or the end of the side follows it."""
        at = 0
        while True:
            lexeme = self.peek(at)
            if lexeme is None or at > 2 * MAX_PHRASE:
                break
            if lexeme.kind == "word" or self._unit_slash(at):
                if self._forbids(lexeme, at):
                    break
                at += 1
            elif at and lexeme.symbol == "^" and self._kind(at + 1) == "num":
                at += 2
            else:
                break
        if at == 0:
            return
        following = self.peek(at)
        continues = following is not None and following.kind == "op" and self.starts_operand(at + 1)
        closes = following is not None and following.kind == "close" and self.depth > 0
        if following is None or continues or closes:
            self.pos += at
            self.has_words = True

    def _forbids(self, lexeme: Lexeme, at: int) -> bool:
        """Whether a word behind a number cannot be part of its unit; a variable poisons the side."""
        word = lexeme.text
        if lexeme.kind != "word":
            return False
        if at == 0 and word.lower() in SCALES:
            return False
        variable = len(word) == 1 and word not in VARIABLE_LETTERS_ALLOWED and word != "¢"
        if variable and at > 1 and (word.isupper() or self._symbol(at - 1) == "/"):
            return False  # "24 cards with the letter B", "9 km/h"
        if at == 0 and lexeme.glued and len(word) < 4 and word.lower().removesuffix("s") not in GLUED_UNITS:
            variable = True
        if variable or word in AFTER_FORBIDDEN:
            self.poisoned = True
        return variable or word.lower() in CLAUSE_WORDS or word in AFTER_FORBIDDEN


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
    if parser.failed or not parser.tokens:
        return None
    start = lexemes[first].start
    end = max(parser.end, parser.tokens[-1].end)
    return Parsed(
        first, parser.pos, None if parser.poisoned else node, tuple(parser.tokens), frozenset(parser.units),
        parser.has_words, start, end,
    )  # fmt: skip
