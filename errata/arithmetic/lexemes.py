"""A lexeme: one number, sign, word or break of a text."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

LexemeKind = Literal["num", "const", "op", "open", "close", "rel", "word", "cur", "pct", "brk", "bad", "cmd"]


@dataclass(slots=True)
class Lexeme:
    """``text[start:end]``; ``glued``: nothing stands between it and the lexeme before.

    ``math``: it stands in mathematics, where letters are variables; words in ``\\text`` do not. ``piece`` counts the
    pieces of mathematics from 1, 0 is prose. ``opens``: it is the first of its piece, so prose stands before it.
    ``value``: of a number, of a superscript, or the base of a logarithm.
    """

    kind: LexemeKind
    start: int
    end: int
    text: str
    symbol: str = ""
    value: Fraction | None = None
    decimals: int = 0
    truncated: bool = False
    glued: bool = False
    math: bool = False
    piece: int = 0
    opens: bool = False
