"""Plain answers as exact, typed values: numbers with percent and unit, and short texts. No sympy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from errata.arithmetic.lexer import Lexeme, lex
from errata.arithmetic.nodes import PLAIN, NotComputable, evaluate
from errata.arithmetic.parser import parse
from errata.arithmetic.vocabulary import SCALES, unit_of


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number; ``unit`` is a known unit as (dimension, factor to its smallest one), None if none is known."""

    value: Fraction
    percent: bool = False
    unit: tuple[str, int] | None = None


_PLAIN = re.compile(
    r"(?P<sign>[-−+]?)\s*(?P<currency>\\?[$€£¥]|US\$)?\s*(?P<sign2>[-−]?)(?P<number>\d{1,3}(?:(?:,|\{,\})\d{3})+|\d+)?"
    r"(?P<decimals>\.\d+|\.(?=\D|$))?\s*(?:/\s*(?P<below>\d+))?\s*(?P<percent>\\?%|percent\b)?"
    r"\s*(?P<unit>\\?[$€£¥¢]|[A-Za-z][A-Za-z .,'’/()\-]*|\\text\s*\{[A-Za-z .\-/]*\}|°)?\s*"
)
_UNIT_TEXT = re.compile(r"\s*\\(?:text|mathrm|mbox|textbf)\s*\{\s*([A-Za-z .²³\-/]*?)\s*\}(?:\^\{?[23]\}?)?\s*$")
_NOT_A_UNIT_WORDS = (
    "and or to i x y z n e pi sqrt factorial not mod modulo squared cubed times plus minus over divided remainder"
    " choose than least most half base"
)
_NOT_A_UNIT = frozenset(_NOT_A_UNIT_WORDS.split())
_MAX_DIGITS = 400


def read_number(answer: str) -> Number | None:
    """``answer`` as an exact number, or None where it is not just one number (with unit, currency or percent)."""
    plain = _PLAIN.fullmatch(answer)
    if plain and (plain["number"] or (plain["decimals"] or ".") != ".") and len(answer) <= _MAX_DIGITS:
        return _from_match(plain)
    return _computed(answer)


def _from_match(match: re.Match[str]) -> Number | None:
    digits = re.sub(r"[,{}]", "", match["number"] or "0") + (match["decimals"] or "").removesuffix(".")
    digits = digits if digits[-1:] != "." else digits[:-1]
    value = Fraction(digits)
    if match["below"]:
        if int(match["below"]) == 0:
            return None
        value /= int(match["below"])
    if (match["sign"] in ("-", "−")) != bool(match["sign2"]):
        value = -value
    phrase = re.sub(r"\\text\s*\{|[{}\\]", "", match["unit"] or "").strip()
    words = re.findall(r"[A-Za-z]+|¢|\$", phrase)
    if any(
        word.lower() in _NOT_A_UNIT or (len(word) == 1 and word.islower() and word not in "amglLs") for word in words
    ):
        return None
    if words and words[0].lower() in SCALES:
        value *= SCALES[words[0].lower()]
        words = words[1:]
    unit = unit_of(words[0]) if words else None
    if unit is None and match["currency"] and "$" in match["currency"]:
        unit = unit_of("$")
    return Number(value, bool(match["percent"]), unit)


def _computed(answer: str) -> Number | None:
    """An expression such as ``2^{10}``, ``\\frac{7}{2}``, ``2 1/2`` or ``3!``, computed exactly within bounds."""
    unit_match = _UNIT_TEXT.search(answer)
    body = answer[: unit_match.start()] if unit_match else answer
    lexemes = [lexeme for lexeme in lex(body) if not (lexeme.kind == "brk" and lexeme.symbol == "\n")]
    if not lexemes or any(not _is_arithmetic(lexeme) for lexeme in lexemes):
        return None
    percent = lexemes[-1].kind == "pct"
    parsed = parse(lexemes, 0, len(lexemes))
    if parsed is None or parsed.node is None or parsed.stop != len(lexemes) or (percent and len(lexemes) > 2):
        return None
    try:
        value = evaluate(parsed.node, PLAIN)
    except NotComputable:
        return None
    words = unit_match[1].split() if unit_match else []
    return Number(value * 100 if percent else value, percent, unit_of(words[0]) if words else None)


def _is_arithmetic(lexeme: Lexeme) -> bool:
    return lexeme.kind in ("num", "op", "open", "close", "pct", "cur") and not (
        lexeme.kind == "num" and (lexeme.value is None or lexeme.truncated)
    )


def same_number(gold: Number, answer: Number) -> bool:
    """Exact equality; a unit or percent sign that only one side writes is taken as left out by the other.

    50 equals 50%, and 0.5 equals 50%; 0.5 does not equal 0.5%. Known units of one dimension are converted; of different
    dimensions they make the answers different.
    """
    if gold.percent != answer.percent:
        plain, percent = (gold, answer) if answer.percent else (answer, gold)
        return plain.value == percent.value / 100 or (plain.value == percent.value and abs(plain.value) >= 1)
    if gold.unit is None or answer.unit is None or gold.unit == answer.unit:
        return gold.value == answer.value
    if gold.unit[0] != answer.unit[0]:
        return False
    return gold.value * gold.unit[1] == answer.value * answer.unit[1]


_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mbox|textit|mathbf)\s*\{([^{}]*)\}")


def read_text(answer: str) -> str | None:
    """A short answer in words, normalized for comparison; None where it has digits or mathematics in it."""
    words = _TEXT_COMMAND.sub(r"\1", answer)
    words = re.sub(r"[^\w\s'’-]", "" if "\\" not in words else "\\\\", words)
    words = " ".join(words.split()).casefold()
    if "\\" in words or not words or any(char.isdigit() for char in words) or len(words) < 2:
        return None
    return words
