"""Recursive descent over lexemes: one side of an equation, with units and words between its terms.

Anything half understood (a variable, a clause, an unknown sign) makes the side unjudgeable: its value is None and
nothing is ever proven with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic.cursor import PREFIXES
from errata.arithmetic.forms import is_bare
from errata.arithmetic.function_parser import FunctionParser
from errata.arithmetic.functions import FENCES, FUNCTIONS
from errata.arithmetic.lexemes import Lexeme
from errata.arithmetic.nodes import Node, Operation, Quantity, Token, holds_operation
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
    computes: bool


@dataclass(slots=True)
class Parser(FunctionParser):
    """Reads one side from ``lexemes[pos:limit]``; use ``parse``."""

    def expression(self) -> Node:
        """term (("+" | "-") term)*"""
        node = self._term()
        while self.symbol() in ("+", "-") and self.starts_operand(1):
            node = self._operation(self.operator(), node, self._term())
        return node

    def _operation(self, symbol: str, *parts: Node) -> Operation:
        self.computes = True
        return Operation(symbol, parts)

    def _term(self) -> Node:
        node = self._factor()
        divided = False
        while True:
            if self.symbol() in ("*", "/") and self.starts_operand(1):
                times = self.lexemes[self.pos].text
                symbol = self.operator()
                divided = divided or symbol == "/"
                # Of two vectors a cross is another product than a dot; of numbers it is the same.
                crosses = times in ("\\times", "×") and holds_operation(node, ("matrix",))
                node = self._operation("cross" if crosses else symbol, node, self._factor())
            elif self._juxtaposed():
                self.unjudgeable = self.unjudgeable or divided  # a/b(c): two readings
                node = self._operation("*", node, self._factor())
            elif self._of_ahead(node):
                self.pos += self._of_ahead(node)
                node = self._operation("*", node, self._factor())
            else:
                return node

    def _juxtaposed(self) -> bool:
        """Whether a factor follows without a sign: "2(3)", in mathematics also "2\\sqrt{9}", "3!2!" and "(3) 4"."""
        lexeme = self.peek()
        if lexeme is None or not self.pos:
            return False
        together = lexeme.glued or (lexeme.math and not lexeme.opens)
        if lexeme.kind == "open":
            return together and lexeme.text[0] in "([{"
        before = self.lexemes[self.pos - 1]
        if self.symbol() in PREFIXES or lexeme.kind == "const":
            return together and lexeme.math and (before.kind != "word" or before.text == "degrees")
        closed = before.kind in ("close", "const")
        return lexeme.kind == "num" and together and (before.symbol == "!" or (lexeme.math and closed))

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
            inner = self._factor() if self.depth <= MAX_DEPTH else self.give_up()
            self.computes = self.computes or isinstance(inner, Operation)
            self.depth -= 1
            return Operation("neg", (inner,))
        node = self._powers(self._primary())
        while self.kind() == "cur":
            self.pos += 1
        self.cross_phrase()
        return node

    def factor(self) -> Node:
        """A signed number, bracket, fraction or root with its powers, without the unit behind it."""
        if self.symbol() == "-":
            self.operator("neg")
            return Operation("neg", (self._powers(self._primary()),))
        return self._powers(self._primary())

    def bracketed(self) -> Node:
        """The bracket here."""
        return self._bracketed()

    def _powers(self, node: Node) -> Node:
        while True:
            symbol, lexeme = self.symbol(), self.peek()
            if lexeme is None:
                return node
            if symbol == "super":
                self.operator("^")
                node = self._operation("^", node, Quantity(lexeme.value or Fraction(0)))
            elif symbol == "!":
                self.operator()
                node = self._operation("!", node)
                self.end = lexeme.end
            elif symbol == "^" and self.starts_operand(1):
                self.operator()
                negative = self.symbol() == "-"
                if negative:
                    self.operator("neg")
                power = self.peek()
                if power is not None and power.math and power.kind == "num" and len(power.text) > 1:
                    self.unjudgeable = True  # LaTeX raises one digit: "2^03^1" is a product of powers
                exponent = self._powers(self._primary())  # binds to the right
                node = self._operation("^", node, Operation("neg", (exponent,)) if negative else exponent)
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
        if lexeme.kind == "const":
            return self.constant()
        if lexeme.symbol in ("frac", "binom"):
            return self._stacked(lexeme.symbol)
        if lexeme.symbol in FUNCTIONS or lexeme.symbol in FENCES:
            return self.named(lexeme.symbol) if self.depth < MAX_DEPTH else self.give_up()
        return self._radical() if lexeme.symbol == "sqrt" else self.give_up()

    def _radical(self) -> Node:
        self.operator()
        degree, index = Fraction(2), self.peek()
        if index is not None and index.text == "[":
            number = self.peek(1)
            if number is None or number.kind != "num" or number.value is None or self.kind(2) != "close":
                return self.give_up()
            degree = number.value
            self.take("paren", "(")
            self.take("number")
            self.take("paren", ")")
            index = self.peek()
        # LaTeX roots one digit of "\\sqrt16"; people mean sixteen.
        if index is not None and index.math and index.kind == "num" and len(index.text) > 1:
            return self.give_up()
        return self._operation("root", Quantity(degree), self._primary())

    def _bracketed(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH or not self.starts_operand(1):
            return self.give_up()
        self.take("paren", "(")
        node = self.expression()
        if self.symbol() == "choose" and self.starts_operand(1):
            self.operator()
            node = self._operation("binom", node, self.expression())
        if self.kind() != "close":
            return self.give_up()
        self.take("paren", ")")
        self.depth -= 1
        if self.kind() == "pct":
            self.give_up()
        return node

    def _stacked(self, symbol: str) -> Node:
        """A fraction or a binomial coefficient: two groups, or two digits as in ``\\frac12``."""
        self.operator()
        short = self.peek()
        if short is not None and short.kind == "num" and len(short.text) > 1:
            if len(short.text) != 2 or not short.text.isdecimal() or short.text[1] == "0":
                return self.give_up()
            top, bottom = (Quantity(Fraction(int(digit))) for digit in short.text)
            self.take("number")
            return self._stack(symbol, top, bottom)
        above = self._group()
        return self._stack(symbol, above, self._group())

    def _group(self) -> Node:
        lexeme = self.peek()
        if lexeme is not None and lexeme.kind == "open":
            return self._bracketed()
        if lexeme is None or lexeme.kind != "num" or len(lexeme.text) != 1 or lexeme.value is None:
            return self.give_up()
        self.take("number")
        return Quantity(lexeme.value)

    def _stack(self, symbol: str, above: Node, below: Node) -> Node:
        if symbol == "binom":
            return self._operation(symbol, above, below)
        node = Operation("/", (above, below))
        # Three quarters is a number, ninety-nine thirds a calculation.
        self.computes = self.computes or not _in_lowest_terms(node)
        return node

    def _quantity(self) -> Node:
        lexeme = self.lexemes[self.pos]
        if lexeme.value is None:
            self.unjudgeable = True
        value, exact = lexeme.value or Fraction(0), lexeme.symbol == "vulgar"
        priced = self.pos > 0 and self.lexemes[self.pos - 1].kind == "cur"
        self.take("number")
        if value.denominator == 1 and not lexeme.decimals:
            following = self.peek()
            if following is not None and following.symbol == "frac" and (following.glued or following.math):
                return self._mixed(Quantity(value))
            added = self._mixed_part()
            if added is not None:
                value, exact = value + added, exact or added != 0
        percent = self.kind() == "pct"
        if percent:
            self.end = self.lexemes[self.pos].end
            self.pos += 1
        phrase = self.phrase()
        # A single letter behind a number is a variable, never a thousand.
        scale = SCALES.get(phrase[0].lower(), 1) if phrase and len(phrase[0]) > 1 else 1
        units = ("$", *phrase) if priced else phrase
        # The factor stays beside the value: whether units are converted is a reading, chosen when all sides are known.
        factor, seen = unit_factor(units)
        self.units |= seen
        counts = bool(phrase) and not priced and not seen and scale == 1 and not percent
        degrees = phrase[:1] == ("degrees",)
        return Quantity(value, lexeme.decimals, lexeme.truncated, exact, percent, scale, factor, counts, degrees)

    def _mixed(self, whole: Quantity) -> Node:
        """``2\\frac{1}{2}``: a mixed number, if the fraction may be the part of one; else a product."""
        part = self._stacked("frac")
        if _is_proper(part):
            return Operation("mixed", (whole, part))
        return self._operation("*", whole, part)

    def _mixed_part(self) -> Fraction | None:
        """The fraction of a mixed number (``2 1/2``, ``2½``) behind its whole, if there is one."""
        following = self.peek()
        if following is None or following.kind != "num":
            return None
        if following.symbol == "vulgar":
            value = following.value or Fraction(0)
            self.take("number")
            return value
        return self._written_fraction()

    def _written_fraction(self) -> Fraction | None:
        top, slash, bottom = self.peek(), self.peek(1), self.peek(2)
        if top is None or slash is None or bottom is None or top.kind != "num" or bottom.kind != "num":
            return None
        if slash.text != "/" or not slash.glued or not bottom.glued or top.glued or top.decimals or bottom.decimals:
            return None
        if not top.value or not bottom.value or top.value >= bottom.value:
            return None
        self.take("number")
        self.operator("frac")
        self.take("number")
        return top.value / bottom.value


def _is_share(node: Node) -> bool:
    if isinstance(node, Quantity):
        return node.percent or node.exact
    return node.symbol == "/"


def _is_proper(node: Node) -> bool:
    """Whether a fraction of two written numbers lies between 0 and 1."""
    if not isinstance(node, Operation) or node.symbol != "/":
        return False
    top, bottom = node.parts
    numbers = isinstance(top, Quantity) and isinstance(bottom, Quantity) and not top.decimals and not bottom.decimals
    return numbers and isinstance(top, Quantity) and isinstance(bottom, Quantity) and 0 < top.value < bottom.value


def _in_lowest_terms(node: Operation) -> bool:
    """Whether both parts of a fraction are whole numbers without a common divisor, the lower one above 1."""
    top, bottom = node.parts
    if not isinstance(top, Quantity) or not isinstance(bottom, Quantity) or bottom.value <= 1:
        return False
    return (top.value / bottom.value).denominator == bottom.value


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
    computes = parser.computes and not (node_or_none is not None and is_bare(node))
    return Parsed(parser.pos, node_or_none, tuple(parser.tokens), units, parser.has_words, start, end, computes)
