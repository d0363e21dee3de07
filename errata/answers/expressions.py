r"""Normalised answers as tokens, and mathematical expressions as trees. Refuses what it does not understand.

A tree is a tuple of its operator and its parts: ``("num", Fraction)``, ``("var", name)``, ``("const", "pi")``,
``("+", a, b)`` and so on; ``errata.answers.evaluation`` gives it a value. Depth and length are bounded, so that no text
can exhaust the stack.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from errata.answers.notation import FUNCTIONS
from errata.answers.tokens import Token, Unparsable

Tree = tuple[Any, ...]
MAX_DEPTH = 40
MAX_ATOMS = 120
UNKNOWN_FUNCTIONS = frozenset({"f", "g", "h"})  # letters that name a function where brackets follow


_POSTFIX = ("!", "%")
_FUNCTION_STOP = frozenset({"+", "-", ")", "]", "}", "|", "/", "*", "=", "!"})


class _Parser:
    """Recursive descent over tokens. ``ambiguous`` is set where people write one thing and mean another (``1/2x``)."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.atoms = 0
        self.ambiguous = False

    def peek(self, ahead: int = 0) -> Token | None:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def text(self, ahead: int = 0) -> str:
        token = self.peek(ahead)
        if token is None:
            return ""
        return f"\\{token.text}" if token.kind == "cmd" else token.text if token.kind not in ("word", "var") else ""

    def take(self, *texts: str) -> bool:
        if self.text() in texts and self.peek() is not None:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise Unparsable(f"{text!r} is missing")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unparsable("too deeply nested")

    def sum(self) -> Tree:
        self.deeper()
        node = self.product()
        while self.text() in ("+", "-"):
            symbol = self.text()
            self.at += 1
            node = (symbol, node, self.product())
        if self.take("\\choose"):
            node = ("binom", node, self.sum())
        self.depth -= 1
        return node

    def product(self) -> Tree:
        node = self.signed()
        divided = False
        while True:
            if self.take("*", "\\cdot"):
                node, divided = ("*", node, self.signed()), False
            elif self.take("/", "\\div"):
                node, divided = ("/", node, self.signed()), True
            elif self.begins_factor():
                spaced = self.tokens[self.at].spaced
                factor = self.power()
                # "1/2x": half of x by the order of operations, one over 2x as many people mean it.
                self.ambiguous |= divided and not spaced
                node = ("*", node, factor)
            else:
                return node

    def begins_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind == "num":
            # Two numbers side by side are no product, but a number behind a bracket or a name is.
            before = self.tokens[self.at - 1]
            return before.kind != "num" and not token.base
        if token.kind == "open":
            return token.text not in ("\\{",)
        if token.kind == "cmd":
            return token.text in FUNCTIONS or token.text in ("frac", "binom", "pi", "inf", "infty", "circ", "overline")
        return token.kind == "var" or (token.text == "|" and self.bars == 0) or self.single_letter(token)

    @staticmethod
    def single_letter(token: Token) -> bool:
        return token.kind == "word" and len(token.text) == 1 and token.text.isascii()

    def signed(self) -> Tree:
        self.deeper()
        if self.take("-"):
            node: Tree = ("neg", self.signed())
        elif self.take("+"):
            node = self.signed()
        else:
            node = self.power()
        self.depth -= 1
        return node

    def power(self) -> Tree:
        self.deeper()
        node = self.postfix(self.mixed())
        if self.take("^"):
            if self.text() == "{" and self.text(1) == "\\circ" and self.text(2) == "}":
                self.at += 3
                node = ("deg", node)
            else:
                node = self.postfix(("^", node, self.exponent()))
        self.depth -= 1
        return node

    def postfix(self, node: Tree) -> Tree:
        while self.text() in _POSTFIX:
            node = ("!", node) if self.text() == "!" else ("/", node, ("num", Fraction(100)))
            self.at += 1
        return node

    def exponent(self) -> Tree:
        if self.take("-"):
            return ("neg", self.exponent_power())
        self.take("+")
        return self.exponent_power()

    def exponent_power(self) -> Tree:
        return self.power() if self.text() != "{" else self.group()

    def mixed(self) -> Tree:
        """An atom, or a mixed number such as ``2\\frac{1}{2}`` and ``2 1/2``."""
        whole = self.peek()
        node = self.atom()
        if whole is None or whole.kind != "num" or whole.value is None or whole.value.denominator != 1 or whole.base:
            return node
        if self.text() == "\\frac":
            start = self.at
            fraction = self.atom()
            if _proper(fraction):
                return ("+", node, fraction)
            self.at = start
        above, below = self.peek(), self.peek(2)
        if above and above.kind == "num" and above.spaced and self.text(1) == "/" and below and below.kind == "num":
            parts = (above.value, below.value)
            if parts[0] and parts[1] and parts[0] < parts[1] and parts[0].denominator == parts[1].denominator == 1:
                self.at += 3
                return ("+", node, ("num", parts[0] / parts[1]))
        return node

    def group(self) -> Tree:
        self.expect("{")
        node = self.sum()
        self.expect("}")
        return node

    def argument(self) -> Tree:
        """What a command takes: a group, or one sign as in ``\\frac12``."""
        if self.text() == "{":
            return self.group()
        token = self.peek()
        if token is not None and token.kind == "num" and token.value is not None and token.text.isdigit():
            if len(token.text) == 1:
                self.at += 1
                return ("num", token.value)
            first, rest = token.text[0], token.text[1:]
            self.tokens = [*self.tokens[: self.at], Token("num", rest, Fraction(rest)), *self.tokens[self.at + 1 :]]
            return ("num", Fraction(first))
        if token is not None and (token.kind in ("var", "cmd") or token.text == "("):
            return self.atom()
        raise Unparsable("a command lacks its argument")

    def atom(self) -> Tree:
        self.deeper()
        node = self.plain_atom()
        self.depth -= 1
        return node

    def plain_atom(self) -> Tree:
        token = self.peek()
        self.atoms += 1
        if self.atoms > MAX_ATOMS:
            raise Unparsable("too many terms")
        if token is None:
            raise Unparsable("an operand is missing")
        if token.kind == "num":
            if token.base:
                raise Unparsable("a numeral of another base inside an expression")
            self.at += 1
            return ("num", token.value)
        if token.kind == "var" or self.single_letter(token):
            return self.name()
        if token.kind == "cmd":
            return self.command()
        if token.text in ("(", "[", "{"):
            self.at += 1
            bars, self.bars = self.bars, 0
            node = self.sum()
            self.expect({"(": ")", "[": "]", "{": "}"}[token.text])
            self.bars = bars
            return node
        if token.text in ("\\lfloor", "\\lceil"):
            self.at += 1
            node = self.sum()
            self.expect(token.text.replace("l", "r", 1))
            return ("floor" if "floor" in token.text else "ceil", node)
        if token.text == "|":
            self.at += 1
            self.bars += 1
            node = self.sum()
            self.expect("|")
            self.bars -= 1
            return ("abs", node)
        raise Unparsable(f"{token.text!r} is not understood here")

    def name(self) -> Tree:
        name = self.tokens[self.at].text
        self.at += 1
        if self.take("_"):
            name += "_" + self.subscript()
        while self.take("'"):
            name += "'"
        follows = self.peek()
        if name in UNKNOWN_FUNCTIONS and follows is not None and follows.text == "(" and not follows.spaced:
            return ("fn", name, self.atom())
        return ("const", name) if name in ("e", "i") else ("var", name)

    def subscript(self) -> str:
        token = self.peek()
        if token is None:
            raise Unparsable("an index is missing")
        if not self.take("{"):
            self.at += 1
            if token.kind in ("num", "var", "word"):
                return token.text
            raise Unparsable("an index is not understood")
        parts = []
        while (token := self.peek()) is not None and not self.take("}"):
            parts.append(token.text)
            self.at += 1
        return "".join(parts)

    def command(self) -> Tree:
        name = self.tokens[self.at].text
        self.at += 1
        match name:
            case "pi":
                return ("const", "pi")
            case "inf" | "infty":
                return ("const", "inf")
            case "frac":
                above = self.argument()
                return ("/", above, self.argument())
            case "binom":
                above = self.argument()
                return ("binom", above, self.argument())
            case "sqrt":
                return self.root()
            case "overline" | "vec" | "hat" | "angle" | "triangle" | "overrightarrow" | "widehat":
                return ("var", f"{name} {self.points()}")
        if name in FUNCTIONS:
            return self.function(name)
        raise Unparsable(f"\\{name} is not understood")

    def points(self) -> str:
        """The points of a segment, angle or vector: letters, in braces or not."""
        braced = self.take("{")
        letters = ""
        while (token := self.peek()) is not None and token.kind in ("var", "word"):
            letters += token.text
            self.at += 1
        if braced:
            self.expect("}")
        if not letters:
            raise Unparsable("points are missing")
        return letters

    def root(self) -> Tree:
        index: Tree = ("num", Fraction(2))
        if self.take("["):
            index = self.sum()
            self.expect("]")
        if self.text() in ("{", "("):
            return ("root", self.atom(), index)
        token = self.peek()
        if token is not None and token.kind in ("num", "var", "cmd"):
            return ("root", self.atom(), index)
        raise Unparsable("a root lacks its argument")

    def function(self, name: str) -> Tree:
        base: Tree | None = None
        exponent: Tree | None = None
        if name == "log" and self.take("_"):
            base = self.argument() if self.text() == "{" else self.atom()
        if self.take("^"):
            exponent = self.exponent()
        if self.text() in ("(", "[", "{"):
            argument = self.atom()
        else:
            argument = self.power()
            while (token := self.peek()) is not None and self.begins_factor() and not self.ends_argument(token):
                argument = ("*", argument, self.power())
        node: Tree = ("log", argument, base) if base is not None else ("fn", name, argument)
        if exponent is None:
            return node
        if exponent == ("neg", ("num", Fraction(1))):
            return ("fn", f"arc{name}", argument)
        return ("^", node, exponent)

    @staticmethod
    def ends_argument(token: Token) -> bool:
        return (token.kind == "cmd" and token.text in FUNCTIONS) or token.text == "("


def _proper(tree: Tree) -> bool:
    """Whether ``tree`` is a fraction of two whole numbers below one, as in a mixed number."""
    if tree[0] != "/" or tree[1][0] != "num" or tree[2][0] != "num":
        return False
    above, below = tree[1][1], tree[2][1]
    return bool(above.denominator == below.denominator == 1 and 0 < above < below)


def parse(tokens: list[Token]) -> tuple[Tree, bool]:
    """The tree of all of ``tokens``, and whether it could mean something else. Raises Unparsable."""
    parser = _Parser(list(tokens))
    tree = parser.sum()
    if parser.at != len(parser.tokens):
        raise Unparsable(f"{parser.tokens[parser.at].text!r} is not understood here")
    return tree, parser.ambiguous
