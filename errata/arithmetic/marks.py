"""Calculator marks ``<<48/2=24>>``, as GSM8K writes them: stripped, checked, and changed together with their text.

Two questions are asked of a mark: is it right, and does it say what the text around it says? A rejected step's mark is
wrong together with its text ("48/2 = <<48/2=25>>25"): the two agree, and the mark is false.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from errata.arithmetic.equations import find_equations
from errata.arithmetic.lexer import MAX_DIGITS, lex, mark_spans
from errata.arithmetic.nodes import PLAIN, Equation, NotComputable, Side, Token, evaluate
from errata.arithmetic.parser import parse
from errata.arithmetic.vocabulary import operation

_BETWEEN = " \t$€£=≈"
_MOST_BETWEEN = 200  # characters between an expression and its mark; farther off they do not belong together
_MOST_BEHIND = 60  # characters behind a mark in which its result stands
_RESULT_END = re.compile(r"\n|<<|[.,;]\s")  # what stands behind is not the result of this mark
_PLAIN_EXPRESSION = re.compile(r"[\d(][\d.+\-*/()]*")
_PLAIN_NUMBER = re.compile(r"\d*\.?\d+")


@dataclass(frozen=True, slots=True)
class Mark:
    """A closed calculator mark ``<<expression=result>>`` at ``text[start:end]``; ``result`` may be empty."""

    start: int
    end: int
    expression: str
    result: str


def strip_marks(text: str) -> str:
    """``text`` without calculator marks."""
    if "<<" not in text:
        return text
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


@lru_cache(maxsize=4096)  # a step is asked about once for each of its kinds and edits
def marks_agree(text: str) -> bool:
    """Whether every mark says what the text says: its expression what stands before it, its result what follows.

    A mark without a readable expression in front of it, or without a number behind it, is only held to the other half.
    An unclosed mark never agrees.
    """
    spans = mark_spans(text)
    if not spans:
        return True
    if any(not text.startswith(">>", end - 2) for _, end in spans):
        return False
    marks = calculator_marks(text)
    equations = find_equations(text)
    # Sorted once and searched by halving: a text may hold thousands of marks and of sides.
    sides = sorted((side for equation in equations for side in equation.sides), key=lambda side: side.end)
    ends = [side.end for side in sides]
    for mark in marks:
        at = bisect_right(ends, mark.start)
        if not _expression_agrees(text, mark, sides[at - 1] if at else None) or not _result_agrees(text, mark):
            return False
    return True


def _expression_agrees(text: str, mark: Mark, before: Side | None) -> bool:
    if before is None or mark.start - before.end > _MOST_BETWEEN or "=" not in text[before.end : mark.start]:
        return True
    between = text[before.end : mark.start].partition("=")[2]
    if between.strip(_BETWEEN):
        return True
    # Most marks repeat their text sign by sign, which is far quicker to see than to read them.
    if _PLAIN_EXPRESSION.fullmatch(mark.expression) and mark.expression == _as_written_in_marks(before):
        return True
    written = _first_side(mark.expression)
    if written is None or written.value is None or before.value is None or written.value == before.value:
        return True
    return _tokens(written) == _tokens(before)  # units converted in the text, say


def _as_written_in_marks(side: Side) -> str:
    """The side's signs and numbers in a row; empty where numbers adjoin, as in "2 1/2"."""
    tokens = side.tokens
    if any(a.kind == b.kind == "number" for a, b in pairwise(tokens)):
        return ""
    return "".join(token.symbol or token.text.replace(",", "") for token in tokens)


@lru_cache(maxsize=4096)
def _first_side(expression: str) -> Side | None:
    inner = find_equations(f"{expression} = 0")
    return inner[0].sides[0] if inner and inner[0].sides else None


def _tokens(side: Side) -> list[str]:
    return sorted(str(token.value if token.kind == "number" else token.symbol) for token in side.tokens)


def _result_agrees(text: str, mark: Mark) -> bool:
    behind = text[mark.end : mark.end + _MOST_BEHIND]
    return _shows(_RESULT_END.split(behind, maxsplit=1)[0], mark.result)


@lru_cache(maxsize=4096)  # an edit changes one mark of many, and each step is asked about many times
def _shows(behind: str, result: str) -> bool:
    """Whether the text behind a mark starts with the mark's result, or with nothing that could be one."""
    after = lex(behind)
    first = next((x for x in after if x.kind != "cur"), None)
    if first is None or not (first.kind == "num" or first.symbol == "-"):
        return True
    shown = parse(after, after.index(first), len(after))
    value = _face_value(result)
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
        value = evaluate(parsed.node, PLAIN)
    except NotComputable:
        return None
    return value if isinstance(value, Fraction) else None


@dataclass(frozen=True, slots=True)
class TokenChange:
    """Replace the span of the tokens ``first`` to ``last`` (inclusive) of an equation.

    ``end``: where the span ends in the text, when it takes the white space or the unit behind its last token along.
    """

    first: int
    last: int
    replacement: str
    end: int | None = None


def tokens_of(equation: Equation) -> list[Token]:
    """All tokens of an equation, side after side."""
    return [token for side in equation.sides for token in side.tokens]


def apply_changes(text: str, equation: Equation, changes: Sequence[TokenChange]) -> str | None:
    """``text`` with the changes made in the equation and in its calculator mark alike, each in its own notation.

    None when a mark belongs to the equation but does not say the same as its text: editing one side alone would make
    the mark tell the truth.
    """
    tokens = tokens_of(equation)
    edits = [(tokens[c.first].start, c.end or tokens[c.last].end, c.replacement) for c in changes]
    spans = [span for span in mark_spans(text) if equation.start <= span[0] < equation.end]
    for start, end in spans:
        by = start + 2
        inner = _mark_tokens(text[by : end - 2])
        at = _align(inner, tokens)
        if at is None and len(spans) == 1 and (moved := _reordered(inner, tokens, changes)):
            edits += [(by + first, by + last, number) for first, last, number in moved]
            continue
        if at is None and len(spans) == 1 and (rewritten := _rewrite(text, equation, changes)):
            edits.append((by, end - 2, rewritten))
            continue
        if at is None:
            return None
        for change in changes:
            if at <= change.first and change.last < at + len(inner):
                first, last = inner[change.first - at], inner[change.last - at]
                edits.append((by + first.start, by + last.end, _in_mark(first, tokens[change.first], change)))
            # A change that only half covers the mark would leave text and mark saying different things.
            elif not (change.last < at or change.first >= at + len(inner)):
                return None
    return _replace(text, edits)


def _in_mark(inner: Token, outer: Token, change: TokenChange) -> str:
    """The replacement as the mark writes it: plain signs, and where it writes its number otherwise than the text, as
    many decimals as it had."""
    written = change.replacement.replace(" ", "")
    if inner.kind == "operator":
        return operation(written) or written
    plain = written.replace(",", "")
    single = change.first == change.last and inner.kind == "number"
    if not single or inner.value is None or outer.value is None or not _PLAIN_NUMBER.fullmatch(plain):
        return plain
    if len(plain) > MAX_DIGITS:  # as long as the text has it, and unread there
        return plain
    if inner.text == outer.text:
        return str(int(plain)) if plain.isdecimal() else plain
    # A mark may hold the number that its text rounds: "<<20/3=6.666666>>6.67" moves by what the text moves by.
    value = inner.value + Fraction(plain) - outer.value
    least = len(inner.text.partition(".")[2])
    decimals = max(least, len(plain.partition(".")[2].rstrip("0")))
    digits = str(abs(round(value * 10**decimals))).rjust(decimals + 1, "0")
    point = len(digits) - decimals
    number = f"{digits[:point]}.{digits[point:]}" if decimals else digits
    return number[1:] if inner.text.startswith(".") and number.startswith("0.") else number


def _reordered(
    inner: Sequence[Token], tokens: Sequence[Token], changes: Sequence[TokenChange]
) -> list[tuple[int, int, str]]:
    """What changes in a mark that says the same in another order ("1/2*16 = <<16*1/2=8>>8"); empty where that is open.

    Only numbers that the mark holds once: which of two equal ones is meant, or what a sign stands between, is open.
    """

    def content(token: Token) -> str:
        return str(token.value if token.kind == "number" else token.symbol)

    if sorted(map(content, inner)) != sorted(map(content, tokens)):
        return []
    found = []
    for change in changes:
        outer = tokens[change.first]
        places = [token for token in inner if token.kind == "number" and content(token) == content(outer)]
        if change.first != change.last or outer.kind != "number" or len(places) != 1:
            return []
        found.append((places[0].start, places[0].end, _in_mark(places[0], outer, change)))
    return found


def _rewrite(text: str, equation: Equation, changes: Sequence[TokenChange]) -> str | None:
    """A mark that says what the changed equation says, for marks written in another order than their text."""
    # Tokens leave percent signs out: of "8000 * 30%" they would write a mark that says a hundred times as much.
    if re.search(r"%|percent", strip_marks(text[equation.start : equation.end])):
        return None
    tokens = tokens_of(equation)
    pieces = [token.symbol or token.text.replace(",", "") for token in tokens]
    if any(token.symbol not in ("", "+", "-", "*", "/", "(", ")") for token in tokens):
        return None
    for change in changes:
        written = change.replacement.replace(" ", "")
        pieces[change.first] = operation(written) or written.replace(",", "")
        pieces[change.first + 1 : change.last + 1] = [""] * (change.last - change.first)
    sides, at = [], 0
    for side in equation.sides:
        sides.append("".join(pieces[at : at + len(side.tokens)]))
        at += len(side.tokens)
    return "=".join(sides) if len(sides) == 2 else None


@lru_cache(maxsize=4096)
def _mark_tokens(inner: str) -> tuple[Token, ...]:
    """Tokens of what stands inside a mark, with offsets into that."""
    return tuple(token for equation in find_equations(inner) for token in tokens_of(equation))


def _same(a: Token, b: Token) -> bool:
    return a.kind == b.kind and a.symbol == b.symbol and (a.value == b.value or _rounds(a, b))


def _rounds(mark: Token, shown: Token) -> bool:
    """Whether a mark's number of more decimals is what its text rounds."""
    decimals = len(shown.text.partition(".")[2])
    if mark.value is None or shown.value is None or len(mark.text.partition(".")[2]) <= max(decimals, 2):
        return False
    return abs(mark.value - shown.value) <= Fraction(1, 2 * 10**decimals)


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
        if not replacement and text[start - 1 : start] == " " and text[end : end + 1] in (" ", "}", ")"):
            start -= 1  # a dropped term leaves one space behind, not two
        text = text[:start] + replacement + text[end:]
    return text
