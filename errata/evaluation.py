"""The exact value of one side of an equation from its tokens, with some of its numbers replaced.

The reader of arithmetic gives a side's value once and for all; to follow another value through a calculation, the same
side is evaluated again here. Only + - * / ^, signs, brackets and fractions over brackets are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from errata.arithmetic import Token

_RANK = {"+": 1, "-": 1, "*": 2, "/": 2}
_MAX_DEPTH = 40
_MAX_BITS = 2048


class NotEvaluable(ArithmeticError):
    """The side holds something that is not known here, divides by zero, or becomes too large."""


def evaluate_tokens(text: str, tokens: Sequence[Token], values: Mapping[int, Fraction], first: int = 0) -> Fraction:
    """The value of ``tokens``, which stand in ``text``; ``values`` replaces numbers by place, counted from ``first``.

    A number with a percent sign behind it counts a hundredth. Raises NotEvaluable.
    """
    reader = _Reader(text, tokens, values, first)
    value = reader.sum(0)
    if reader.at != len(tokens):
        raise NotEvaluable("tokens are left over")
    return value


class _Reader:
    """Precedence climbing over the tokens of one side."""

    def __init__(self, text: str, tokens: Sequence[Token], values: Mapping[int, Fraction], first: int) -> None:
        self.text, self.tokens, self.values, self.first = text, tokens, values, first
        self.at = 0

    def symbol(self) -> str:
        """The sign or bracket ahead; "#" before a number, "" at the end."""
        if self.at >= len(self.tokens):
            return ""
        token = self.tokens[self.at]
        return "#" if token.kind == "number" else token.symbol

    def sum(self, depth: int, least: int = 1) -> Fraction:
        """Operations that bind at least as strongly as ``least``, from the left."""
        if depth > _MAX_DEPTH:
            raise NotEvaluable("nested too deeply")
        value = self._signed(depth)
        while (rank := _RANK.get(self.symbol(), 0)) >= least:
            sign = self.symbol()
            self.at += 1
            value = _apply(sign, value, self.sum(depth + 1, rank + 1))
        return value

    def _signed(self, depth: int) -> Fraction:
        if self.symbol() != "neg":
            return self._power(depth)
        self.at += 1
        if depth > _MAX_DEPTH:
            raise NotEvaluable("nested too deeply")
        return -self._signed(depth + 1)

    def _power(self, depth: int) -> Fraction:
        base = self._primary(depth)
        if self.symbol() != "^":
            return base
        self.at += 1
        exponent = self._primary(depth)
        if self.symbol() == "^":
            raise NotEvaluable("a tower of powers")
        if exponent.denominator != 1 or abs(exponent) > 64 or (base == 0 and exponent < 0):
            raise NotEvaluable("exponent")
        return _bounded(base**exponent.numerator)

    def _primary(self, depth: int) -> Fraction:
        symbol = self.symbol()
        if symbol == "#":
            return self._number()
        if symbol == "(":
            return self._bracketed(depth)
        if symbol == "frac":
            self.at += 1
            above = self._bracketed(depth)
            return _apply("/", above, self._bracketed(depth))
        raise NotEvaluable(f"unknown here: {symbol!r}")

    def _bracketed(self, depth: int) -> Fraction:
        if self.symbol() != "(":
            raise NotEvaluable("no bracket")
        self.at += 1
        value = self.sum(depth + 1)
        if self.symbol() != ")":
            raise NotEvaluable("an open bracket")
        self.at += 1
        return value

    def _number(self) -> Fraction:
        token, place = self.tokens[self.at], self.first + self.at
        self.at += 1
        if self.symbol() in ("#", "(", "frac"):
            raise NotEvaluable("two values side by side")  # a mixed number, a product without a sign, "20% of 50"
        if place in self.values:
            return self.values[place]
        if token.value is None:
            raise NotEvaluable("a number of unknown value")
        return token.value * number_factor(self.text, token)


def number_factor(text: str, token: Token) -> Fraction:
    """What a shown number is multiplied by: a hundredth before a percent sign, else one."""
    percent = text[token.end : token.end + 3].lstrip(" \\").startswith("%")
    return Fraction(1, 100) if percent else Fraction(1)


def _apply(sign: str, left: Fraction, right: Fraction) -> Fraction:
    if sign == "/":
        if right == 0:
            raise NotEvaluable("division by zero")
        return _bounded(left / right)
    return _bounded(left * right if sign == "*" else left + right if sign == "+" else left - right)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise NotEvaluable("too large")
    return value
