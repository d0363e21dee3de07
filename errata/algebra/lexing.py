"""Tokens of mathematics as LaTeX or a keyboard writes it. What is not known is a ``bad`` token and poisons its side."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TOKENS = 2_000

_SKIPPED = r"\s+|~|&|\\[,;:! ]|\\(?:displaystyle|textstyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])(?!\s*[|.\\]\s*)"
_PATTERNS = (
    ("brk", r"\\\\(?:\[[^\]\n]{0,12}\])?"),
    ("skip", rf"{_SKIPPED}|\\(?:begin|end)\{{(?:aligned|split|gathered)\}}(?:\[[tbc]\])?"),
    ("bad", r"\d[\d.]*(?:,|\{,\}|\\,|\\!|,\\!)+\d{3}(?!\d)[\d.]*|\d+\.\d+\.[\d.]*"),
    ("number", r"\d+(?:\.\d+)?|\.\d+"),
    ("operator", r"\\(?:cdot|times|div)(?![A-Za-z])|[-+*/−–·×÷]"),
    ("equals", r"="),
    ("relation", r"\\(?:leq?|geq?|lt|gt|neq?|approx|sim|equiv|cong|in|notin|mid|propto|to|rightarrow)(?![A-Za-z])"
                 r"|[<>≤≥≠≈≡∈]"),
    ("implies", r"\\(?:implies|iff|Rightarrow|Leftrightarrow|Longrightarrow|Longleftrightarrow|quad|qquad|therefore)"
                r"(?![A-Za-z])|[,;⇒⟹⇔]|\.(?!\d)"),
    ("fraction", r"\\[dtc]?frac(?![A-Za-z])"),
    ("box", r"\\(?:boxed|fbox)(?![A-Za-z])"),
    ("text", r"\\(?:text|textrm|mathrm|mbox|textbf|operatorname\*?)\s*\{[^{}]*\}"),
    ("word", r"[A-Za-z]{2,}"),
    ("letter", r"[A-Za-z]"),
    ("open", r"[({]"),
    ("close", r"[)}]"),
    ("power", r"\^"),
    ("bad", r"\\[A-Za-z]+\*?|\\.|."),
)  # fmt: skip
_TOKEN = re.compile("|".join(f"(?P<{kind}{at}>{pattern})" for at, (kind, pattern) in enumerate(_PATTERNS)), re.S)
_SYMBOLS = {"\\cdot": "*", "\\times": "*", "·": "*", "×": "*", "\\div": "/", "÷": "/", "−": "-", "–": "-"}
# Letters that stand together in a formula are a product, except where they spell a unit, a differential or a function.
_NO_PRODUCT = re.compile(
    r"cm|km|mm|kg|mg|ml|ft|lb|oz|hr|mi|yd|pm|am|dx|dy|dz|dt|ln|lg|of|to|or|is|if|so|we|an|as|at|mod|log"
    r"|sin|cos|tan|gcd",
    re.I,
)
_PRODUCTS = re.compile("abc|xyz|pqr|rst|abd|acd|bcd|mnp|abcd", re.I)


@dataclass(frozen=True, slots=True)
class Token:
    """``text[start:end]``. ``symbol``: an operation as one of ``+-*/``; else the text itself."""

    kind: str
    start: int
    end: int
    symbol: str


def tokens(text: str, start: int, end: int, *, delimited: bool) -> list[Token]:
    """The tokens of ``text[start:end]``, blanks left out; empty beyond ``MAX_TOKENS``."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text, start, end):
        kind = (match.lastgroup or "bad").rstrip("0123456789")
        if kind == "skip":
            continue
        if kind == "word":
            found += _letters(match, delimited)
        else:
            found.append(Token(kind, *match.span(), _SYMBOLS.get(match[0], match[0])))
        if len(found) > MAX_TOKENS:
            return []
    return found


def _letters(match: re.Match[str], delimited: bool) -> list[Token]:
    """A run of letters: a product of variables, or one token that poisons its side."""
    word = match[0]
    # Adjoining capitals name a segment, a figure or a number by its digits, not a product.
    product = delimited and _NO_PRODUCT.fullmatch(word) is None and not any(c.isupper() for c in word)
    if product and len(word) > 2:
        product = _PRODUCTS.fullmatch(word) is not None
    if not product or word.startswith("d"):
        return [Token("bad", *match.span(), word)]
    return [Token("letter", at, at + 1, match.string[at]) for at in range(*match.span())]
