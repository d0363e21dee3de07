"""Whether what stands beside a side changes its meaning: an operator, "half of", "remainder", a variable."""

from __future__ import annotations

from errata.arithmetic.lexemes import Lexeme
from errata.arithmetic.vocabulary import (
    AFTER_FORBIDDEN,
    BEFORE_FORBIDDEN,
    BEFORE_MATH_FORBIDDEN,
    OF_FORBIDDEN,
    OF_MATH_FORBIDDEN,
    VARIABLE_LETTERS_ALLOWED,
    forbids_in_chinese,
)


def altered_before(clause: list[Lexeme], at: int) -> bool:
    """Whether what stands before a side changes its meaning: an operator, a function, "half of", a variable."""
    here, before = clause[at], clause[at - 1]
    if here.opens and before.kind not in ("op", "bad", "cmd"):
        return _altered_before_math(clause, at)
    while before.kind == "open":  # a loop: thousands of brackets may stand in front
        at -= 1
        if at < 1 or clause[at - 1].kind == "word":
            return False
        before = clause[at - 1]
    here = clause[at]
    if before.symbol == "wide":
        return forbids_in_chinese(before.text)
    if before.kind in ("op", "bad", "num", "const", "close", "pct", "cmd"):
        return True
    if before.kind != "word":
        return False
    if before.math or (here.glued and here.kind in ("open", "num", "op")):
        return True
    word = before.text.lower()
    if word == "and" and at > 1:
        return clause[at - 2].kind == "num" and at + 1 < len(clause) and clause[at + 1].text == "/"  # "1 and 1/4"
    if word == "of" and at > 1:
        return _names_a_share(clause[at - 2])
    return word in BEFORE_FORBIDDEN or (len(word) == 1 and before.text not in VARIABLE_LETTERS_ALLOWED)


def _altered_before_math(clause: list[Lexeme], at: int) -> bool:
    """The same for a side that opens its piece of mathematics: "half of $3 + 5 = 4$", but not "more than $3 + 5$"."""
    word = clause[at - 1].text.lower()
    if clause[at - 1].kind != "word":
        return False
    if word == "of" and at > 1:
        return clause[at - 2].kind in ("pct", "num") or clause[at - 2].text.lower() in OF_MATH_FORBIDDEN
    return word in BEFORE_MATH_FORBIDDEN


def _names_a_share(lexeme: Lexeme) -> bool:
    return lexeme.kind in ("pct", "num") or lexeme.text.lower() in OF_FORBIDDEN


def altered_after(clause: list[Lexeme], stop: int, limit: int) -> bool:
    """Whether what follows a side changes its meaning: a dangling operator, "remainder", a bracket, an unknown sign."""
    if stop >= limit:
        return False
    after = clause[stop]
    if after.kind == "num" and after.opens:
        return False  # another piece of mathematics
    if after.kind in ("op", "bad", "cmd", "num", "const") or after.symbol == "end":
        return True
    if after.kind == "open":
        return after.glued or (after.math and not after.opens)
    if after.kind != "word":
        return False
    if after.symbol == "wide":
        return forbids_in_chinese(after.text)
    if after.math:
        return True
    if after.text == "of":
        return any(lexeme.kind in ("num", "cur") for lexeme in clause[stop + 1 : min(stop + 4, limit)])
    return after.text in AFTER_FORBIDDEN
