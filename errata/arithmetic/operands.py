"""Which tokens of a side belong together: a number with its power, a bracket, a fraction with both its parts."""

from __future__ import annotations

from collections.abc import Sequence

from errata.arithmetic.functions import FENCES, FUNCTIONS
from errata.arithmetic.nodes import Token

_BINARY = ("+", "-", "*", "/")
_PREFIX = ("frac", "sqrt", "binom")


def signs(tokens: Sequence[Token]) -> list[int]:
    """Where the signs of the four operations stand."""
    return [at for at, token in enumerate(tokens) if token.kind == "operator" and token.symbol in _BINARY]


def begins_operand(tokens: Sequence[Token], at: int) -> bool:
    """Whether a number, a bracket, a fraction, a root or a binomial coefficient starts at ``at``."""
    if at >= len(tokens):
        return False
    token = tokens[at]
    if token.kind == "operator":
        return (token.symbol in _PREFIX and token.text != "/") or _is_named(token)
    return token.kind in ("number", "constant") or token.symbol == "("


def _is_named(token: Token) -> bool:
    return token.symbol.partition("_")[0] in FUNCTIONS or token.symbol in FENCES


def factor_end(tokens: Sequence[Token], at: int) -> int | None:
    """The last token of the factor that starts at ``at``, its sign, powers and factorials included; None for none."""
    while at < len(tokens) and tokens[at].symbol == "neg":
        at += 1
    end = _primary_end(tokens, at)
    while end is not None and end + 1 < len(tokens):
        following = tokens[end + 1]
        if following.symbol == "!" or (following.symbol == "^" and not following.text.startswith(("^", "**"))):
            end += 1  # a superscript holds its exponent
        elif following.symbol == "^":
            end = factor_end(tokens, end + 2)
        elif following.symbol == "frac" and following.text == "/":
            end += 2  # "1/2" in a mixed number
        else:
            break
    return end if end is None or end < len(tokens) else None


def product_end(tokens: Sequence[Token], at: int, *, signed: bool) -> int | None:
    """The last token of the factors that follow one another from ``at``, over ``*`` and ``/`` too where ``signed``."""
    end = factor_end(tokens, at)
    while end is not None and end + 1 < len(tokens):
        if begins_operand(tokens, end + 1):
            end = factor_end(tokens, end + 1)
        elif signed and tokens[end + 1].kind == "operator" and tokens[end + 1].symbol in ("*", "/"):
            end = factor_end(tokens, end + 2)
        else:
            break
    return end


def factors_before(tokens: Sequence[Token]) -> dict[int, int]:
    """For each token that ends a factor, where the longest factor starts that it ends."""
    found: dict[int, int] = {}
    for at in range(len(tokens)):
        end = factor_end(tokens, at) if begins_operand(tokens, at) else None
        if end is not None:
            found.setdefault(end, at)
    return found


def _primary_end(tokens: Sequence[Token], at: int) -> int | None:
    if not begins_operand(tokens, at):
        return None
    token = tokens[at]
    if token.kind in ("number", "constant"):
        return at
    if token.symbol == "(":
        return _closing(tokens, at)
    if token.symbol in FENCES:
        return _fence_end(tokens, at)
    if _is_named(token):
        return _function_end(tokens, at + 1)
    if token.symbol == "sqrt":
        at += 1
        if at < len(tokens) and tokens[at].text == "[":
            closed = _closing(tokens, at)
            at = len(tokens) if closed is None else closed + 1
        return _primary_end(tokens, at)
    if at + 1 < len(tokens) and tokens[at + 1].kind == "number" and len(tokens[at + 1].text) == 2:
        return at + 1  # "\\frac12"
    above = _primary_end(tokens, at + 1)
    return None if above is None else _primary_end(tokens, above + 1)


def _fence_end(tokens: Sequence[Token], at: int) -> int | None:
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place].symbol in FENCES) - (tokens[place].symbol == "end")
        if depth == 0:
            return place
    return None


def _function_end(tokens: Sequence[Token], at: int) -> int | None:
    """The last token of what a function takes: its exponent, and a bracket or the factors side by side."""
    if at < len(tokens) and tokens[at].symbol == "^":
        exponent = _primary_end(tokens, at + 1)
        at = len(tokens) if exponent is None else exponent + 1
    if at < len(tokens) and tokens[at].symbol == "(":
        return _closing(tokens, at)
    end = factor_end(tokens, at)
    while end is not None and end + 1 < len(tokens):
        following = tokens[end + 1]
        if following.kind not in ("number", "constant") and following.symbol not in ("frac", "sqrt"):
            break
        end = factor_end(tokens, end + 1)
    return end


def _closing(tokens: Sequence[Token], at: int) -> int | None:
    depth = 0
    for place in range(at, len(tokens)):
        if tokens[place].kind == "paren":
            depth += 1 if tokens[place].symbol == "(" else -1
            if depth == 0:
                return place
    return None
