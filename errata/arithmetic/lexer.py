"""Text to lexemes: numbers, signs, words and breaks, with offsets into the original text.

Knows how people and language models write arithmetic (LaTeX, currency, thousands separators, ``x`` as a times sign);
knows nothing of grammar. Calculator marks and mathematics delimiters are skipped. What it does not understand becomes
``bad`` (or ``cmd``, a LaTeX command), which the reader treats as "cannot be judged", never as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from errata.arithmetic.functions import LISTS
from errata.arithmetic.grouping import grouped
from errata.arithmetic.lexemes import Lexeme
from errata.arithmetic.mathmode import fold, math_spans
from errata.arithmetic.vocabulary import CLAUSE_WORDS, OPERATORS, SUPER, VERBAL, VULGAR

MAX_DIGITS = 64
_LONGEST = 4 * MAX_DIGITS  # a longer one has more digits, however they are grouped


_OPERAND_AHEAD = r"(?=[ \t]*\\?[$€£¥]?[ \t]*(?:[\d(½⅓⅔¼¾]|\.\d|\\[dt]?frac))"
_GROUP = r"(?:,\\!|,|\{,\}|\\,|\u202f|\u2009)"
_CJK = "\u3040-\u30ff\u3400-\u9fff"
# Environments of cells: an ampersand or a line break in them is no arithmetic, so they are one unreadable lexeme.
_CELLS = r"(?:smallmatrix|array|tabular|cases|dcases|rcases|tikzpicture|asy|enumerate|itemize)"

_DIGITS_FIRST = (
    r"(?P<repeating>\d*\.\d*\\(?:overline|bar|dot|underline|dots|ldots|cdots)(?![A-Za-z]))",
    r"(?P<ordinal>\d+(?:st|nd|rd|th)\b)",
    rf"(?P<num>(?:\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+)(?:\.\d+)?(?P<dots>\.\.\.|…)?|\.\d+(?P<dots2>\.\.\.|…)?)",
)
_A_WORD = rf"[^\W\d_{_CJK}](?:[^\W{_CJK}]|['’](?=\w)|[-&](?=[^\W\d_]))*"
_PATTERN = re.compile(
    r"(?P<newline>\\\\(?:\[[^\]\n]{0,20}\])?|\n)"
    r"|(?P<grid>\\(?:begin|end)\{[pbBv]matrix\})"
    r"|(?P<fence>\\[lr](?:floor|ceil|vert)(?![A-Za-z])|\\(?:left|right)[ \t]*(?:\||\\[lr]?vert(?![A-Za-z])))"
    r"|(?P<joint>\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])(?![ \t]*[.|])|\\!|\\limits(?![A-Za-z]))"
    rf"|(?P<cells>\\(?:begin|end)\{{{_CELLS}\*?\}})"
    r"|(?P<skip>[ \t\r\u00a0\u200b\u2009\u202f\u3000&~`]+|\\[,;: ()\[\]]|\\q?quad|\$\$"
    r"|\\(?:displaystyle|phantom\{[^{}\n]{0,40}\})|\\(?:begin|end)\{[a-z]+\*?\})"
    r"|(?P<degree>\^\{?\\circ\}?|°)"
    r"|(?P<func>\\log_(?:\{\d{1,4}\}|\d)|\\(?:sin|cos|tan|cot|sec|csc|log|ln|gcd|max|min)(?![A-Za-z])"
    r"|\\mathop\s*\{\s*\\(?:text|mathrm)\s*\{\s*(?:lcm|gcd)\s*\}\s*\}"
    r"|\\(?:text|mathrm|operatorname)\s*\{\s*(?:lcm|gcd)\s*\})"
    r"|(?P<const>\\pi(?![A-Za-z])|π)"
    r"|(?P<text>\\(?:text|mathrm|textbf|mathbf|mbox|textit|operatorname)\s*\{[^{}\n]*\})"
    r"|(?P<open>\\(?:boxed|fbox)\s*\{|[(\[{])"
    r"|(?P<fn>\\[dtc]?frac|\\sqrt|√|\\[dt]?binom|\\choose)(?![A-Za-z])"
    r"|(?P<cop>\\times|\\cdot|\\ast|\\div)(?![A-Za-z])"
    r"|(?P<crel>\\approx|\\simeq|\\doteq)(?![A-Za-z])"
    r"|(?P<cur>\\\$|US\$|[$€£¥₹])"
    r"|(?P<pct>\\?%|per\s?cent\b)"
    rf"|{_DIGITS_FIRST[0]}"
    r"|(?P<order>\\(?:leq?|geq?|neq?|lt|gt|leqslant|geqslant|(?:long)?rightarrow|Rightarrow|implies|iff|to)(?![A-Za-z]))"
    r"|(?P<cmd>\\[A-Za-z]+|\\)"
    rf"|{_DIGITS_FIRST[1]}|{_DIGITS_FIRST[2]}"
    r"|(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
    r"|(?P<super>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
    rf"|(?P<x>[xX]{_OPERAND_AHEAD})"
    rf"|(?P<verbal>\b(?:times|plus|minus|multiplied by|divided by)\b{_OPERAND_AHEAD})"
    r"|(?P<arrow>[<>!:]=|=+>|-+>|[→⇒<>≤≥≠≡])"
    r"|(?P<rel>=+|[≈≃≅])"
    r"|(?P<op>\*\*|[+\-−–*×·⋅∗∙÷/∕^])"
    r"|(?P<close>[)\]}])"
    rf"|(?P<wide>[{_CJK}]+)"
    rf"|(?P<word>¢|{_A_WORD})"
    r"|(?P<brk>[.,;:：!?\"“”|—#•…])"
    r"|(?P<bad>.)",
    re.DOTALL,
)
# What stands at most places, without the many alternatives that cannot begin there: a number, or a word whose first
# letter begins none of "x", "US$", "per cent", "times", "plus", "minus", "multiplied" and "divided".
_AT_DIGIT = re.compile("|".join(_DIGITS_FIRST))
_WORD = re.compile(_A_WORD)
_DIGITS = frozenset("0123456789")
_WORD_STARTS = frozenset("abcefghijklnoqrsuvwyzABCDEFGHIJKLMNOPQRSTVWYZ")
_ODD_TAIL = re.compile(r"(?:[,:.]|,\\!|\{,\}|\\,)\d[\d.,:]*")
_LISTED = re.compile(r"\d+(?:\.\d+)?(?=,(?!\d{3}(?!\d)))")  # "120,144" may be one number
_NO_DIGITS = re.compile(rf"{_GROUP}|\.\.\.|…")
_SPACED_GROUPS = re.compile(r"\d{1,3}(?: \d{3})+(?!\d|,\d)(?:\.\d+)?")
_BULLET = re.compile(r"[ \t]*(?:[-*+–•]|\d{1,2}[.)])(?=[ \t])")
_FACTORIAL = re.compile(r"!(?!!)(?=\s*(?:[=+\-*/×÷)\]}^$]|\\(?:times|div|cdot)))")
_LAST = re.compile(r"!\s*\Z")
_HYPHEN_WORD = re.compile(r"-[^\W\d_]\w*")
_SPLIT_DECIMAL = re.compile(r"\s\.\$+\d")
_LABEL = re.compile(r"(?:步骤|步|第|题|例|step)\s*\d+\s*\Z", re.I)
_BEGINS_SIDE = re.compile(r"\s*(?:[\dA-Za-z(]|\\(?:text|[dt]?frac|sqrt|left))")
_RATIO = re.compile(r" :[ \t]*[\d(\\]")
_JOINTS = ("\\left", "\\right", "\\big", "\\Big", "\\!", "\\limits")
_MARK = re.compile(r"<<([^<>\n]{0,200})>>")
_UNCLOSED_MARK = re.compile(r"<<[^<>\n]*")


def mark_spans(text: str) -> list[tuple[int, int]]:
    """Spans of all calculator marks (``<<48/2=24>>``), sorted and disjoint.

    An unclosed mark, as a solution cut off at its token limit has one, runs to the end of its line.
    """
    if "<<" not in text:
        return []
    spans = [match.span() for match in _MARK.finditer(text)]
    closed = {start for start, _ in spans}
    spans += [m.span() for m in _UNCLOSED_MARK.finditer(text) if m.start() not in closed]
    return sorted(spans)


@dataclass(slots=True)
class _Reader:
    """Reads one text. ``cells``, ``grids``: how many unread environments of cells and how many matrices are open.

    ``listed``: a list such as that of ``\\gcd(12,18)`` is open, whose commas part numbers.
    """

    text: str
    out: list[Lexeme] = field(default_factory=list)
    cells: int = 0
    grids: int = 0
    listed: bool = False

    def next(self, pos: int, math: bool) -> tuple[Lexeme | None, int]:
        """The lexeme at ``pos`` (None for what is skipped) and the offset behind it."""
        text, last = self.text, self.out[-1] if self.out else None
        if text[pos] in "!-" and last is not None and last.end == pos and last.kind in ("num", "close", "op"):
            special = _behind_value(text, pos, last, math)
            if special is not None:
                return special, special.end
        # "$350 000" is one number; without a currency sign "350 000" may be two.
        if last is not None and last.kind == "cur":
            grouped = _SPACED_GROUPS.match(text, pos)
            if grouped:
                return _number(grouped.group().replace(" ", ""), text, pos, grouped.end()), grouped.end()
        if last is not None and last.kind == "open":
            self.listed = len(self.out) > 1 and self.out[-2].symbol in LISTS
        self.listed = self.listed and (last is None or last.kind != "close")
        if self.listed and (found := _LISTED.match(text, pos)):
            return Lexeme("num", pos, found.end(), found[0], "", *_quantity(found[0])), found.end()
        first = text[pos]
        if first in _WORD_STARTS and not self.cells and (word := _WORD.match(text, pos)) is not None:
            return Lexeme("word", pos, word.end(), word[0], math=math), word.end()
        match = (_AT_DIGIT if first in _DIGITS else _PATTERN).match(text, pos)
        if match is None:  # unreachable: the last alternative takes any character
            return None, pos + 1
        if match.lastgroup == "cells":
            return self._cell(match)
        if match.lastgroup == "grid" and not self.cells:
            return self._grid(match)
        if self.grids and not self.cells and (text[pos] == "&" or (match.lastgroup == "newline" and match[0] != "\n")):
            end = pos + 1 if text[pos] == "&" else match.end()
            return Lexeme("op", pos, end, text[pos:end], "&" if text[pos] == "&" else "row"), end
        if self.cells or (math and match.lastgroup == "newline" and match[0] == "\n"):
            return None, match.end()
        lexeme = _make(match, text, last, math)
        return lexeme, lexeme.end if lexeme is not None else match.end()

    def _cell(self, match: re.Match[str]) -> tuple[Lexeme | None, int]:
        opened = match[0].startswith("\\begin")
        self.cells = self.cells + 1 if opened else max(0, self.cells - 1)
        first = opened and self.cells == 1
        return Lexeme("bad", *match.span(), match[0]) if first else None, match.end()

    def _grid(self, match: re.Match[str]) -> tuple[Lexeme | None, int]:
        opened = match[0].startswith("\\begin")
        self.grids = self.grids + 1 if opened else max(0, self.grids - 1)
        symbol = "end" if not opened else "det" if "vmatrix" in match[0] else "matrix"
        return Lexeme("op" if opened else "close", *match.span(), match[0], symbol), match.end()


def lex(text: str, skipped: Sequence[tuple[int, int]] = ()) -> list[Lexeme]:
    """The lexemes of ``text`` outside the spans ``skipped`` (sorted, disjoint). Linear in the length of the text."""
    text = fold(text)
    reader = _Reader(text)
    spans, pieces = iter(skipped), iter(math_spans(text))
    span, piece = next(spans, None), next(pieces, None)
    pos, number, glued, opens = _bullet_end(text, 0), 1, False, False
    while pos < len(text):
        if span is not None and pos >= span[0]:
            pos, span = max(pos, span[1]), next(spans, None)
            continue
        if text[pos] == " ":  # half of what there is
            glued, pos = False, pos + 1
            continue
        while piece is not None and pos >= piece[1]:
            piece, number, opens = next(pieces, None), number + 1, False
        math = piece is not None and pos >= piece[0]
        if math and text[pos] == "$":
            opens, glued, pos = opens or (piece is not None and pos == piece[0]), False, pos + 1
            continue
        opens = opens or (math and piece is not None and pos == piece[0])
        lexeme, end = reader.next(pos, math)
        if lexeme is None:
            # "\\left(" and "\\!" leave no space behind, so "5\\left(2\\right)" is a product.
            glued, pos = glued and text.startswith(_JOINTS, pos), end
            continue
        lexeme.glued = glued  # "2(3)" multiplies and "2 (3)" may not; only the lexer still sees the space
        lexeme.math = lexeme.math or (math and lexeme.kind != "word")
        lexeme.piece, lexeme.opens, opens = number if math else 0, opens and math, False
        reader.out.append(lexeme)
        glued = True
        pos = _bullet_end(text, end) if lexeme.kind == "brk" and lexeme.symbol == "\n" and not math else end
    return grouped(reader.out)


def _bullet_end(text: str, line_start: int) -> int:
    found = _BULLET.match(text, line_start)
    return found.end() if found else line_start


def _behind_value(text: str, pos: int, last: Lexeme, math: bool) -> Lexeme | None:
    """Signs that mean something else directly behind a number: ``5!`` and ``10-minute``."""
    if text[pos] == "!":
        if last.kind == "op" and last.symbol == "!":
            return Lexeme("bad", pos, pos + 1, "!")  # 5!! is another function
        if last.kind != "op" and ((math and text[pos : pos + 2] != "!!") or _FACTORIAL.match(text, pos)):
            return Lexeme("op", pos, pos + 1, "!", "!")
        # "= 4!" at the end of prose may be a factorial or joy.
        doubtful = text.startswith("!!", pos) or _LAST.match(text, pos)
        return Lexeme("bad", pos, pos + 1, "!") if doubtful else None
    hyphen = None if math or last.kind == "op" else _HYPHEN_WORD.match(text, pos)
    if hyphen and len(hyphen.group()) > 2:
        return Lexeme("word", pos, hyphen.end(), hyphen.group()[1:])
    return None


def _make(match: re.Match[str], text: str, last: Lexeme | None, math: bool) -> Lexeme | None:
    group = match.lastgroup
    if group in ("dots", "dots2"):
        group = "num"
    raw, start, end = match.group(), match.start(), match.end()
    if group == "num":
        return _number(raw, text, start, end)
    if group == "op":
        if raw == "**" and not (start and text[start - 1].isdigit() and text[end : end + 1].isdigit()):
            return None  # markdown emphasis
        return Lexeme("op", start, end, raw, OPERATORS[raw])
    if group == "newline":
        return Lexeme("brk", start, end, raw, "\n")
    if group == "vulgar":
        return Lexeme("num", start, end, raw, "vulgar", Fraction(*VULGAR[raw]))
    if group == "super":
        return Lexeme("op", start, end, raw, "super", Fraction(int(raw[:8].translate(SUPER))))
    if group == "text":
        return _words(raw, start, end)
    if group == "word":
        return Lexeme("word", start, end, raw, math=math)
    if group == "brk" and raw == "." and _SPLIT_DECIMAL.match(text, start - 1):
        return Lexeme("bad", start, end, raw)  # ".$500$" is a half
    if group == "brk" and raw in ":：" and last is not None and last.kind in ("num", "close"):
        # "3 : 4" is a ratio, "Step 3: 4 + 5" a label.
        close = text[end : end + 1].isdigit() and (
            math or (raw == "：" and not _LABEL.search(text[max(0, start - 12) : start]))
        )
        return Lexeme("bad" if close or _RATIO.match(text, start - 1) else "brk", start, end, raw, raw)
    if group == "skip" and raw.startswith("\\q") and last is not None and last.kind in ("num", "close"):
        # "x = 3 \\quad 4 + 5 = 9": two equations with space between.
        return Lexeme("brk", start, end, raw, ";") if _BEGINS_SIDE.match(text, end) else None
    return _plain(group, raw, start, end, last if not math else None)


def _words(raw: str, start: int, end: int) -> Lexeme | None:
    """The words in ``\\text{...}``: a unit, or prose that ends a side."""
    inner = raw[raw.index("{") + 1 : -1].strip()
    if not inner:
        return None
    if any(c.isdigit() or c == "\\" for c in inner):
        return Lexeme("bad", start, end, inner)
    clause = next((word for word in inner.lower().split() if word in CLAUSE_WORDS), None)
    # "\\mathbf{v}" is a vector and "\\operatorname{lcm}" a function: names, not units.
    return Lexeme("word", start, end, clause or inner, math=raw.startswith(("\\mathbf", "\\operatorname")))


def _plain(group: str | None, raw: str, start: int, end: int, last: Lexeme | None) -> Lexeme | None:
    match group:
        case "skip" | "joint":
            return None
        case "degree" | "ordinal":
            return Lexeme("word", start, end, "degrees" if group == "degree" else raw)
        case "func":
            return _named(raw, start, end)
        case "fence":
            return _fence(raw, start, end)
        case "const":
            return Lexeme("const", start, end, raw, "pi")
        case "fn":
            return Lexeme("op", start, end, raw, _function(raw))
        case "cop":
            return Lexeme("op", start, end, raw, OPERATORS[raw])
        case "x":
            # "3 x 4" multiplies, "x = 4" does not: an operand must stand before it (the pattern looks at what follows).
            usable = last is not None and last.kind in ("num", "close", "pct", "word", "cur")
            return Lexeme("op" if usable else "word", start, end, raw, "*" if usable else "", math=last is None)
        case "verbal":
            return Lexeme("op", start, end, raw, VERBAL[raw.split()[0]])
        case "rel" | "crel":
            return Lexeme("rel", start, end, raw, "=" if raw[0] == "=" else "≈")
        case "arrow" | "order":
            return Lexeme("brk", start, end, raw, raw)
        case "wide":
            return Lexeme("word", start, end, raw, "wide")
        case "repeating":
            return Lexeme("num", start, end, raw)
        case "open" | "close" | "cur" | "pct" | "brk" | "cmd":
            return Lexeme(group, start, end, raw, raw if group == "brk" else "")
        case _:
            return Lexeme("bad", start, end, raw)


def _named(raw: str, start: int, end: int) -> Lexeme:
    """A function by its name; a logarithm with its base as value."""
    name, _, base = raw.partition("_")
    name = name if "{" not in name else "lcm" if "lcm" in name else "gcd"
    value = Fraction(base.strip("{}")) if base else None
    return Lexeme("op", start, end, raw, name.removeprefix("\\"), value)


def _fence(raw: str, start: int, end: int) -> Lexeme:
    if raw.startswith(("\\right", "\\rfloor", "\\rceil", "\\rvert")):
        return Lexeme("close", start, end, raw, "end")
    name = "floor" if "floor" in raw else "ceil" if "ceil" in raw else "abs"
    return Lexeme("op", start, end, raw, name)


def _function(raw: str) -> str:
    return next((name for name in ("frac", "binom", "choose") if name in raw), "sqrt")


def _number(raw: str, text: str, start: int, end: int) -> Lexeme:
    """A number; its value is None where it is no plain decimal (``5:00``, ``1,5``, ``1.2.3``) or too long."""
    odd = _ODD_TAIL.match(text, end)
    if odd:
        return Lexeme("num", start, odd.end(), text[start : odd.end()])
    known = _quantity(raw) if len(raw) <= _LONGEST else (None, 0, False)
    return Lexeme("num", start, end, raw, "", *known)


@lru_cache(maxsize=4096)  # few numbers stand in many texts, and a fraction is dear to make
def _quantity(raw: str) -> tuple[Fraction | None, int, bool]:
    """A number's value, its decimals, and whether it is cut off ("0.333...")."""
    plain = _NO_DIGITS.sub("", raw)
    clock = len(plain) > 2 and plain[0] == "0" and plain.isdigit()  # "0730": a time or a code, no quantity
    if clock or sum(c.isdigit() for c in plain) > MAX_DIGITS:
        return None, 0, False
    return Fraction(plain), len(plain.partition(".")[2]), raw.endswith(("...", "…"))
