"""Changing tokens of an equation in a step, together with the calculator mark that annotates it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from errata.arithmetic import Equation, Token, find_equations, mark_spans


@dataclass(frozen=True, slots=True)
class Change:
    """Replace ``text[start:end]``, the span of the tokens ``first`` to ``last`` (inclusive) of an equation."""

    first: int
    last: int
    replacement: str


def tokens_of(equation: Equation) -> list[Token]:
    """All tokens of an equation, side after side."""
    return [token for side in equation.sides for token in side.tokens]


def apply_changes(text: str, equation: Equation, changes: Sequence[Change]) -> str | None:
    """``text`` with the changes made in the equation and in its calculator mark alike.

    None when a mark belongs to the equation but does not say the same as its text: editing one side alone would make
    the mark tell the truth.
    """
    tokens = tokens_of(equation)
    edits = [(tokens[c.first].start, tokens[c.last].end, c.replacement) for c in changes]
    spans = [span for span in mark_spans(text) if equation.start <= span[0] < equation.end]
    for start, end in spans:
        inner = _mark_tokens(text, start, end)
        at = _align(inner, tokens)
        if at is None and len(spans) == 1 and (rewritten := _rewrite(equation, changes)):
            edits.append((start + 2, end - 2, rewritten))
            continue
        if at is None:
            return None
        for change in changes:
            if at <= change.first and change.last < at + len(inner):
                edits.append(
                    (inner[change.first - at].start, inner[change.last - at].end, change.replacement.replace(" ", ""))
                )
            elif not (change.last < at or change.first >= at + len(inner)):
                return None
    return _replace(text, edits)


def _rewrite(equation: Equation, changes: Sequence[Change]) -> str | None:
    """A mark that says what the changed equation says, for marks written in another order than their text."""
    pieces = [token.symbol or token.text.replace(",", "") for token in tokens_of(equation)]
    if any(token.symbol not in ("", "+", "-", "*", "/", "(", ")") for token in tokens_of(equation)):
        return None
    for change in changes:
        pieces[change.first] = change.replacement.replace(" ", "")
        pieces[change.first + 1 : change.last + 1] = [""] * (change.last - change.first)
    sides, at = [], 0
    for side in equation.sides:
        sides.append("".join(pieces[at : at + len(side.tokens)]))
        at += len(side.tokens)
    return "=".join(sides) if len(sides) == 2 else None


def _mark_tokens(text: str, start: int, end: int) -> list[Token]:
    """Tokens of the mark at ``text[start:end]``, with offsets into ``text``."""
    inner = " " * (start + 2) + text[start + 2 : end - 2]
    return [token for equation in find_equations(inner) for token in tokens_of(equation)]


def _same(a: Token, b: Token) -> bool:
    return a.kind == b.kind and a.symbol == b.symbol and a.value == b.value


def _align(inner: Sequence[Token], outer: Sequence[Token]) -> int | None:
    """Where the mark's tokens stand among the equation's; the last place, since a mark stands behind its expression."""
    if not inner:
        return None
    for at in range(len(outer) - len(inner), -1, -1):
        if all(_same(a, b) for a, b in zip(inner, outer[at : at + len(inner)], strict=True)):
            return at
    return None


def _replace(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    for start, end, replacement in sorted(edits, reverse=True):
        if not replacement and text[start - 1 : start] == " " == text[end : end + 1]:
            start -= 1  # a dropped term leaves one space behind, not two
        text = text[:start] + replacement + text[end:]
    return text
