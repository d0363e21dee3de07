"""Calculator marks ``<<48/2=24>>``, as GSM8K writes them: stripped, checked, and changed together with their text.

Two questions are asked of a mark: is it right, and does it say what the text around it says? A rejected step's mark is
wrong together with its text ("48/2 = <<48/2=25>>25"): the two agree, and the mark is false.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic.equations import find_equations
from errata.arithmetic.lexer import lex, mark_spans
from errata.arithmetic.nodes import PLAIN, Equation, NotComputable, Side, Token, evaluate
from errata.arithmetic.parser import parse

_BETWEEN = " \t$€£=≈"


@dataclass(frozen=True, slots=True)
class Mark:
    """A closed calculator mark ``<<expression=result>>`` at ``text[start:end]``; ``result`` may be empty."""

    start: int
    end: int
    expression: str
    result: str


def strip_marks(text: str) -> str:
    """``text`` without calculator marks."""
    pieces, last = [], 0
    for start, end in mark_spans(text):
        pieces.append(text[last:start])
        last = end
    return "".join([*pieces, text[last:]])


def calculator_marks(text: str) -> tuple[Mark, ...]:
    """All closed marks of ``text`` in order. ``result`` is "" where a mark has no equality sign."""
    marks: list[Mark] = []
    for start, end in mark_spans(text):
        if not text.startswith(">>", end - 2):
            continue
        expression, _, result = text[start + 2 : end - 2].rpartition("=")
        if not expression:
            expression, result = result, ""
        marks.append(Mark(start, end, expression, result))
    return tuple(marks)


def marks_agree(text: str) -> bool:
    """Whether every mark says what the text says: its expression what stands before it, its result what follows.

    A mark without a readable expression in front of it, or without a number behind it, is only held to the other half.
    An unclosed mark never agrees.
    """
    if any(not text.startswith(">>", end - 2) for _, end in mark_spans(text)):
        return False
    marks = calculator_marks(text)
    equations = find_equations(text) if marks else ()
    return all(_expression_agrees(text, m, equations) and _result_agrees(text, m) for m in marks)


def _expression_agrees(text: str, mark: Mark, equations: tuple[Equation, ...]) -> bool:
    sides = [s for e in equations for s in e.sides if s.end <= mark.start]
    before = max(sides, key=lambda side: side.end, default=None)
    if before is None or "=" not in text[before.end : mark.start]:
        return True
    between = text[before.end : mark.start].partition("=")[2]
    if between.strip(_BETWEEN):
        return True
    inner = find_equations(f"{mark.expression} = 0")
    if not inner or not inner[0].sides:
        return True
    written = inner[0].sides[0]
    if written.value is None or before.value is None or written.value == before.value:
        return True
    return _tokens(written) == _tokens(before)  # units converted in the text, say


def _tokens(side: Side) -> list[str]:
    return sorted(str(token.value if token.kind == "number" else token.symbol) for token in side.tokens)


def _result_agrees(text: str, mark: Mark) -> bool:
    line_end = text.find("\n", mark.end)
    after = lex(text[mark.end : line_end if line_end >= 0 else len(text)][:200])
    first = next((x for x in after if x.kind != "cur"), None)
    if first is None or not (first.kind == "num" or first.symbol == "-"):
        return True
    shown = parse(after, after.index(first), len(after))
    value = _face_value(mark.result)
    if shown is None or value is None:
        return True
    number = next((token for token in shown.tokens if token.kind == "number"), None)
    if number is None or number.value is None:
        return True
    sign = -1 if first.symbol == "-" else 1
    # "=6.666666666666667>>6.67": the text may round what the mark computed, to half a unit of the last digit it shows.
    decimals = len(number.text.partition(".")[2])
    return abs(sign * number.value - value) <= (Fraction(1, 2 * 10**decimals) if number.value != value else 0)


def _face_value(result: str) -> Fraction | None:
    lexemes = lex(result)
    parsed = parse(lexemes, 0, len(lexemes)) if lexemes else None
    if parsed is None or parsed.node is None or parsed.stop != len(lexemes):
        return None
    try:
        return evaluate(parsed.node, PLAIN)
    except NotComputable:
        return None


@dataclass(frozen=True, slots=True)
class TokenChange:
    """Replace ``text[start:end]``, the span of the tokens ``first`` to ``last`` (inclusive) of an equation."""

    first: int
    last: int
    replacement: str


def tokens_of(equation: Equation) -> list[Token]:
    """All tokens of an equation, side after side."""
    return [token for side in equation.sides for token in side.tokens]


def apply_changes(text: str, equation: Equation, changes: Sequence[TokenChange]) -> str | None:
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
            # A change that only half covers the mark would leave text and mark saying different things.
            elif not (change.last < at or change.first >= at + len(inner)):
                return None
    return _replace(text, edits)


def _rewrite(equation: Equation, changes: Sequence[TokenChange]) -> str | None:
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
    # Blanks in front keep the offsets of the mark's tokens those of the whole text.
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
    # From the end of the text backward, so that one replacement does not move the offsets of those still to be made.
    for start, end, replacement in sorted(edits, reverse=True):
        if not replacement and text[start - 1 : start] == " " == text[end : end + 1]:
            start -= 1  # a dropped term leaves one space behind, not two
        text = text[:start] + replacement + text[end:]
    return text
