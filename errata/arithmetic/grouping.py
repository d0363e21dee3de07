"""What bars and commas mean in mathematics: bars around an absolute value, commas between the numbers of a list.

The lexer sees one sign at a time, and these need what stands around them. What stays in doubt parts clauses as before.
"""

from __future__ import annotations

from collections.abc import Sequence

from errata.arithmetic.functions import LISTS
from errata.arithmetic.lexemes import Lexeme

MAX_LIST = 200  # lexemes of a list: farther off, a bracket is taken for unclosed


def grouped(lexemes: list[Lexeme]) -> list[Lexeme]:
    """The same lexemes, changed in place: paired bars are brackets, the commas of lists are signs. Linear."""
    _pair_bars(lexemes)
    for at, lexeme in enumerate(lexemes[:-1]):
        if lexeme.kind == "op" and lexeme.symbol in LISTS and lexemes[at + 1].kind == "open":
            _join_list(lexemes, at + 1)
    return lexemes


def _pair_bars(lexemes: Sequence[Lexeme]) -> None:
    opened: list[Lexeme] = []
    before: Lexeme | None = None
    for lexeme in lexemes:
        if lexeme.kind == "rel" or (before is not None and before.piece != lexeme.piece):
            opened.clear()
        if lexeme.text == "|" and lexeme.math and lexeme.kind == "brk":
            if before is None or lexeme.opens or before.kind in ("open", "rel", "brk") or _awaits(before):
                opened.append(lexeme)
            elif opened:
                first = opened.pop()
                first.kind, first.symbol = "op", "abs"
                lexeme.kind, lexeme.symbol = "close", "end"
        before = lexeme


def _awaits(lexeme: Lexeme) -> bool:
    return lexeme.kind == "op" and lexeme.symbol not in ("!", "super")


def _join_list(lexemes: Sequence[Lexeme], opening: int) -> None:
    depth = 0
    commas: list[Lexeme] = []
    for lexeme in lexemes[opening : opening + MAX_LIST]:
        depth += (lexeme.kind == "open") - (lexeme.kind == "close")
        if depth == 0:
            for comma in commas:
                comma.kind, comma.symbol = "op", ","
            return
        if lexeme.kind == "rel" or (lexeme.kind == "brk" and lexeme.text != ","):
            return
        if lexeme.kind == "brk" and depth == 1:
            commas.append(lexeme)
