"""A place in a list of lexemes, the tokens taken so far, and the unit phrases between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from errata.arithmetic.functions import FENCES, FUNCTIONS
from errata.arithmetic.lexemes import Lexeme
from errata.arithmetic.nodes import Node, Quantity, Token, TokenKind
from errata.arithmetic.vocabulary import (
    AFTER_FORBIDDEN,
    CLAUSE_WORDS,
    GLUED_UNITS,
    SCALES,
    VARIABLE_LETTERS_ALLOWED,
    forbids_in_chinese,
)

MAX_PHRASE = 6
PREFIXES = frozenset({"frac", "sqrt", "binom", *FUNCTIONS, *FENCES})  # operators that stand before what they take
_ZERO = Quantity(Fraction(0))


@dataclass(slots=True)
class Cursor:
    """Reads ``lexemes[pos:limit]``. ``unjudgeable``: what was read has no value; ``failed``: it is not even whole.

    ``computes``: an operation was read, so the side is more than a bare quantity.
    """

    lexemes: Sequence[Lexeme]
    pos: int
    limit: int
    depth: int = 0
    unjudgeable: bool = False
    failed: bool = False
    has_words: bool = False
    computes: bool = False
    end: int = 0
    tokens: list[Token] = field(default_factory=list)
    units: set[str] = field(default_factory=set)

    def peek(self, ahead: int = 0) -> Lexeme | None:
        """The lexeme ``ahead`` places on, or None at the limit."""
        at = self.pos + ahead
        return self.lexemes[at] if at < self.limit else None

    def symbol(self, ahead: int = 0) -> str:
        """The operator ``ahead`` places on, or ""."""
        at = self.pos + ahead
        return self.lexemes[at].symbol if at < self.limit and self.lexemes[at].kind == "op" else ""

    def kind(self, ahead: int = 0) -> str:
        """The kind of lexeme ``ahead`` places on, or "" at the limit."""
        at = self.pos + ahead
        return self.lexemes[at].kind if at < self.limit else ""

    def starts_operand(self, ahead: int = 0) -> bool:
        """Whether a number, bracket, function or sign with one of these behind it stands ``ahead`` places on."""
        at = ahead
        while self.kind(at) == "cur":
            at += 1
        if self.kind(at) in ("num", "open", "const") or self.symbol(at) in PREFIXES:
            return True
        return self.symbol(at) == "-" and at - ahead < 4 and self.starts_operand(at + 1)

    def take(self, kind: TokenKind, symbol: str = "") -> str:
        """Take the lexeme here as a token; an operator or bracket under the canonical name ``symbol``."""
        lexeme = self.lexemes[self.pos]
        value = lexeme.value if kind == "number" else None
        self.tokens.append(Token(kind, lexeme.start, lexeme.end, lexeme.text, symbol, value))
        self.pos += 1
        self.end = lexeme.end
        return symbol

    def operator(self, symbol: str | None = None) -> str:
        """Take the operator here as a token, under another name if given."""
        return self.take("operator", symbol or self.lexemes[self.pos].symbol)

    def give_up(self) -> Node:
        """Fail: what starts here is no side. The value returned is never used."""
        self.failed = self.unjudgeable = True
        self.pos = self.limit
        return _ZERO

    def phrase(self) -> tuple[str, ...]:
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
        return self.symbol(at) == "/" and self.kind(at + 1) == "word"

    def cross_phrase(self) -> None:
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
            elif at and lexeme.symbol == "^" and self.kind(at + 1) == "num":
                at += 2
            else:
                break
        if at == 0:
            return
        following = self.peek(at)
        continues = following is not None and following.kind == "op" and self.starts_operand(at + 1)
        closes = following is not None and following.kind == "close" and self.depth > 0
        # Words are crossed only if the side goes on behind them, or ends. In "3 apples cost" nothing is consumed.
        if following is None or continues or closes:
            self.pos += at
            self.has_words = True

    def _forbids(self, lexeme: Lexeme, at: int) -> bool:
        """Whether a word behind a number cannot be part of its unit; a variable makes the side unjudgeable."""
        word = lexeme.text
        if lexeme.kind != "word":
            return False
        if lexeme.symbol == "wide":
            self.unjudgeable = self.unjudgeable or forbids_in_chinese(word)
            return False
        if lexeme.math:  # a letter in mathematics is a variable, whatever word it may be elsewhere
            self.unjudgeable = self.unjudgeable or at == 0 or not lexeme.opens
            return True
        if at == 0 and len(word) > 1 and word.lower() in SCALES:
            return False
        # "5x" or "3 y": a letter behind a number is mostly a variable, and then the side has no value.
        variable = len(word) == 1 and word not in VARIABLE_LETTERS_ALLOWED and word != "¢"
        if variable and at > 1 and (word.isupper() or self.symbol(at - 1) == "/"):
            return False  # "24 cards with the letter B", "9 km/h"
        if at == 0 and lexeme.glued and len(word) < 4 and word.lower().removesuffix("s") not in GLUED_UNITS:
            variable = True
        forbidden = word in AFTER_FORBIDDEN and (word != "choose" or self.kind(at + 1) == "num")
        if variable or forbidden:
            self.unjudgeable = True
        return variable or word.lower() in CLAUSE_WORDS or forbidden
