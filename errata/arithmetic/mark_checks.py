"""Are calculator marks right, and do they say what the text around them says? Two different questions.

A rejected step's mark is wrong together with its text ("48/2 = <<48/2=25>>25"): the two agree, and the mark is false.
"""

from __future__ import annotations

from fractions import Fraction

from errata.arithmetic.equations import find_equations
from errata.arithmetic.lexer import lex
from errata.arithmetic.marks import mark_spans
from errata.arithmetic.nodes import PLAIN, NotComputable, evaluate
from errata.arithmetic.parser import parse
from errata.arithmetic.types import Equation, Mark, Side, Token

_BETWEEN = " \t$€£=≈"


def calculator_marks(text: str) -> tuple[Mark, ...]:
    """All closed marks of ``text`` in order. ``result`` is "" where a mark has no equality sign."""
    marks: list[Mark] = []
    for start, end in mark_spans(text):
        if not text.startswith(">>", end - 2):
            continue
        expression, _, result = text[start + 2 : end - 2].rpartition("=")
        if not expression:
            expression, result = result, ""
        found = find_equations(f"{expression} = {result}") if result else ()
        marks.append(Mark(start, end, expression, result, found[0].holds if len(found) == 1 else None))
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
    number = _first_number(shown.tokens)
    if number is None or number.value is None:
        return True
    sign = -1 if first.symbol == "-" else 1
    decimals = len(number.text.partition(".")[2])
    return abs(sign * number.value - value) <= (Fraction(1, 2 * 10**decimals) if number.value != value else 0)


def _first_number(tokens: tuple[Token, ...]) -> Token | None:
    return next((token for token in tokens if token.kind == "number"), None)


def _face_value(result: str) -> Fraction | None:
    lexemes = lex(result)
    parsed = parse(lexemes, 0, len(lexemes)) if lexemes else None
    if parsed is None or parsed.node is None or parsed.stop != len(lexemes):
        return None
    try:
        return evaluate(parsed.node, PLAIN)
    except NotComputable:
        return None
