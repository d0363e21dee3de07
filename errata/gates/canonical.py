"""A question as tokens that leave out how it is written: spacing, LaTeX layout, punctuation, capitals, thousands signs.

Numbers in words are numbers. What a token is (number, name, letter, command, sign) is kept beside it, because the kind
of a difference depends on it (errata.gates.differences).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from errata.gates.words import JOINERS, ONES, ORDINARY, PRONOUNS, SCALES, TENS

TokenKind = Literal["number", "name", "letter", "word", "sign", "end"]
Tokens = tuple[str, ...]

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("‘’‛ʼ`´", "'"),
        **dict.fromkeys("‐‑‒–—−", "-"),
        "×": " \\times ",
        "÷": " \\div ",
        "·": " \\cdot ",
        "⋅": " \\cdot ",
        "≤": " \\leq ",
        "≥": " \\geq ",
        "≠": " \\neq ",
        "π": " \\pi ",
        "∠": " \\angle ",
        "√": " \\sqrt ",
        "°": " \\circ ",
        "。": ". ",
    }
)
_THOUSANDS = re.compile(r"(?<=\d)(?:,(?:\\!)?|\{,\}|\\,|[ \u00a0\u2009\u202f])(?=\d{3}(?!\d))(?<!\d{4}.)")
_LAYOUT = re.compile(
    r"\\\\(?:\[[^\]]{0,12}\])?|\\[,;:!> ()\[\]]|[~$]|\\[%$&#_]"
    r"|\\(?:quad|qquad|left|right|big|Big|bigg|Bigg|displaystyle|textstyle|limits|nolimits|noindent|par|medskip"
    r"|newline|text|textrm|textbf|textit|mathrm|mathbf|mathit|mbox|hbox|rm|bf|it|emph|operatorname|phantom)(?![A-Za-z])"
)
_RENAMED = re.compile(r"\\(?:dfrac|tfrac|cfrac|le|ge|ne|dbinom|tbinom|dots|cdots|ldots|lvert|rvert|degree)(?![A-Za-z])")
_NAMES = {
    **dict.fromkeys(("\\dfrac", "\\tfrac", "\\cfrac"), "\\frac"),
    **dict.fromkeys(("\\dbinom", "\\tbinom"), "\\binom"),
    **dict.fromkeys(("\\dots", "\\cdots", "\\ldots"), " "),
    "\\le": "\\leq",
    "\\ge": "\\geq",
    "\\ne": "\\neq",
    "\\lvert": "|",
    "\\rvert": "|",
    "\\degree": "\\circ",
}
_TITLE = re.compile(r"\.(?:(?<=\b(?:Mr|Ms|Dr|St|Jr|Sr|vs)\.)|(?<=\bMrs\.)|(?<=\bProf\.))")
_APOSTROPHE = re.compile(r"\b([A-Z])'(?=[A-Z][a-z])")  # O'Brien is one word
_FIGURE = re.compile(r"\[/?asy\]")  # a drawing is a sentence of its own
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=\w)|(?<=\w)-(?=[^\W\d_]{2})")
_ONE_BY_ONE = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces: each sign is a token
_TOKEN = re.compile(
    rf"\\[A-Za-z]+|\d+(?:\.\d+)?|\.\d+|[{_ONE_BY_ONE}]|(?:(?![{_ONE_BY_ONE}])[^\W\d_])+|[.?!]+|[^\s\w,;:'\"“”{{}}]"
)
_MARKS: dict[TokenKind, str] = {"number": "0", "letter": "V"}
_SMALL = frozenset("ais")  # of letters those that are words, or the end of a possessive
_IN_WORDS = frozenset({*ONES, *TENS, *SCALES})
_DIGIT_ARGUMENTS = re.compile(r"(\\(?:frac|binom))\s*(\d)\s*(\d)(?!\d)")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_CAPITALS = re.compile(r"(?<![^\W\d_])[A-Z]{2,6}(?![^\W\d_])")
_DOTS = re.compile(r"\.(?:\s?\.)+")


class Token(NamedTuple):
    """A token as it counts (``text``, folded) and what it is."""

    text: str
    kind: TokenKind


_FACTORIAL = Token("!", "sign")


@dataclass(frozen=True)
class Canonical:
    """A text and its sentences of tokens; sentence ends are left out, and so are empty sentences."""

    raw: str
    sentences: tuple[tuple[Token, ...], ...]

    @cached_property
    def folded(self) -> tuple[Tokens, ...]:
        """The tokens' texts, by sentence."""
        return tuple(tuple(token.text for token in sentence) for sentence in self.sentences)

    @cached_property
    def flat(self) -> Tokens:
        """The tokens' texts without sentences: equal for two texts that differ in how they are written alone."""
        return tuple(token.text for sentence in self.sentences for token in sentence)

    @cached_property
    def masked(self) -> tuple[Tokens, ...]:
        """The sentences with each number, each run of names and each letter as one mark."""
        return tuple(_masked(sentence) for sentence in self.sentences)


def canonical(text: str) -> Canonical:
    """Read a text. Linear in its length; any text can be read."""
    sentences: list[tuple[Token, ...]] = []
    held: list[Token] = []
    for token in _in_figures(_tokens(text)):
        if token.kind != "end":
            held.append(token)
        elif held:
            sentences.append(tuple(held))
            held = []
    if held:
        sentences.append(tuple(held))
    return Canonical(text, tuple(sentences))


def _cleaned(text: str) -> str:
    """Each rule runs only where its mark stands: most questions have few of them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS))
    latex = "\\" in text
    if (_COMMAND.sub("", text) if latex else text).isupper():
        text = text.lower()
    text = _THOUSANDS.sub("", text)
    if latex or "$" in text or "~" in text:
        text = _LAYOUT.sub(" ", text)
        if latex:
            text = _RENAMED.sub(lambda match: _NAMES[match.group()], text)
            text = _DIGIT_ARGUMENTS.sub(r"\1 \2 \3", text)
    if "[" in text:
        text = _FIGURE.sub(" . ", text)
    if "'" in text:
        text = _APOSTROPHE.sub(r"\1", text)
    if ".." in text or ". ." in text:
        text = _DOTS.sub(" ", text)
    text = _TITLE.sub("", _CAPITALS.sub(_spelled, text))
    return _HYPHEN.sub(" ", text) if "-" in text else text


def _spelled(match: re.Match[str]) -> str:
    """Capitals that name points, "ABCD", letter by letter; a word written large, "PARABOLA", stays one."""
    letters = match.group()
    return " ".join(letters) if len(set(letters)) == len(letters) else letters


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    for part in _TOKEN.findall(_cleaned(text)):
        token = _read(part)
        # Inside a sentence a capital stands for something; at its head it may be an article.
        if token.kind == "word" and part in "AIS" and found and found[-1].kind != "end":
            token = Token(part, "letter")
        # A factorial is a sign; behind a word the same mark ends a sentence.
        if part == "!" and found and found[-1].kind not in ("word", "name"):
            token = _FACTORIAL
        found.append(token)
    return found


@lru_cache(maxsize=1 << 16)
def _read(part: str) -> Token:
    first = part[0]
    if part.isalpha():
        return _word(part)
    if first.isdigit() or (first == "." and len(part) > 1 and part[1].isdigit()):
        return Token(_number(part), "number")
    return Token(part, "end" if first in ".?!" else "sign")


def _word(part: str) -> Token:
    folded = part.casefold()
    if len(part) == 1:
        if folded in _SMALL or part > "\u2fff":
            return Token(folded, "word")
        return Token(part, "letter")
    named = part[0] != folded[0] and folded not in ORDINARY and not (part.isupper() and part.isascii())
    return Token(folded, "name" if named else "word")


def _number(part: str) -> str:
    if "." not in part:
        return part
    whole, _, decimals = part.partition(".")
    return f"{whole or '0'}.{decimals.rstrip('0')}".rstrip(".")


def _in_figures(tokens: list[Token]) -> list[Token]:
    """Numbers in words as figures: "twenty-one" and "three hundred" are 21 and 300."""
    if not any(token.text in _IN_WORDS for token in tokens):
        return tokens
    found: list[Token] = []
    joins = ""  # what the last number in words may be continued by
    for token in tokens:
        text, last = token.text, found[-1] if found else None
        if text in ONES and joins == "tens" and last is not None and 0 < ONES[text] < 10:
            found[-1], joins = Token(str(int(last.text) + ONES[text]), "number"), "scale"
        elif text in ONES or text in TENS:
            found.append(Token(str(ONES[text] if text in ONES else TENS[text]), "number"))
            joins = "scale" if text in ONES else "tens"
        elif text in SCALES and last is not None and last.kind == "number" and last.text.isdigit():
            found[-1], joins = Token(str(int(last.text) * SCALES[text]), "number"), ""
        else:
            found.append(token)
            joins = ""
    return found


def masked_text(token: Token) -> str:
    """The text of a token with letters, numbers and pronouns as marks: another name may bring another pronoun."""
    return "P" if token.text in PRONOUNS else _MARKS.get(token.kind, token.text)


def _masked(sentence: tuple[Token, ...]) -> Tokens:
    marks: list[str] = []
    for token in sentence:
        if token.kind == "name" or (token.text in JOINERS and marks and marks[-1] == "N"):
            if not (marks and marks[-1] == "N"):
                marks.append("N")
        else:
            marks.append(masked_text(token))
    return tuple(marks)
