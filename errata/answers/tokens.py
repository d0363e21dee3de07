r"""Normalised answers as tokens: numbers of every spelling, names, functions, words, signs and brackets.

Knows how answers are written and nothing of what they mean together; what it does not know it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from errata.answers.notation import FUNCTIONS, GREEK, words
from errata.arithmetic.vocabulary import unit_of

TokenKind = Literal["num", "var", "word", "cmd", "op", "rel", "open", "close", "sep", "sign"]

_MAX_DIGITS = 400

_MAX_EXPONENT = 400


class Unparsable(ValueError):
    """Not mathematics that is understood in full."""


@dataclass(frozen=True, slots=True)
class Token:
    """One sign, number, name or word. ``spaced``: white space stands before it; ``grouped``: written 1,234."""

    kind: TokenKind
    text: str
    value: Fraction | None = None
    spaced: bool = False
    grouped: bool = False
    base: int = 0


_GROUPED = r"\d{1,3}(?:,\d{3})+(?![\d]|,\d)"

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<based>[0-9A-Z]*\d[0-9A-Z]*|[A-F]+)_(?:\{\s*(?:\\text\{)?(?P<base>\d+|[a-z]+)\}?\s*\}|(?P<base1>\d+))(?![\d.])"
    r"|(?P<repeat>\d*\.\d*)(?:\\overline\s*(?:\{(?P<period>\d+)\}|(?P<period1>\d))|\\dot\s*\{?(?P<dot>\d)\}?(?:(?P<mid>\d*)\\dot\s*\{?(?P<dot2>\d)\}?)?)"
    r"|(?P<dotted>\d*\.\d+)\s*(?:\.\.\.|\\ldots(?![A-Za-z]))"
    rf"|(?P<num>(?:{_GROUPED}|\d+)(?:\.\d+)?|\.\d+)(?:[eE](?P<exp>[+-]?\d+)(?![\d.A-Za-z]))?(?P<trail>\.(?=\s*(?:[^\d\s]|$)))?"
    r"|\\text\{(?P<text>[^{}]*)\}"
    r"|\\(?P<set>mathbb)\s*\{(?P<field>[A-Z])\}"
    r"|(?P<brace>\\[{}])"
    r"|\\(?P<cmd>[A-Za-z]+)"
    r"|(?P<rel><=|>=|(?<=\s)!=|/=|==|=>|->|[=<>])"
    r"|(?P<op>\*\*|[-+*/^_!'|%$€£¥₹¢&])"
    r"|(?P<rows>\\\\)"
    r"|(?P<bracket>[()\[\]{}])"
    r"|(?P<sep>[,;:.?\"])"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff]+)"
    r"|(?P<letters>[^\W\d_]+(?:['-][^\W\d_]{2,})*'?)"
    r"|(?P<bad>.)",
    re.DOTALL,
)

_RELATIONS = {
    "<=": "le", ">=": "ge", "!=": "ne", "==": "=", "\\le": "le", "\\ge": "ge", "\\ne": "ne", "\\in": "in",
    "\\notin": "notin",
    "\\approx": "approx", "\\equiv": "equiv", "\\simeq": "approx", "\\sim": "approx", "/=": "ne",
    "=>": "implies", "->": "to", "\\to": "to", "\\Rightarrow": "implies", "\\rightarrow": "to",
    "\\implies": "implies", "\\iff": "implies", "\\Longrightarrow": "implies",
}  # fmt: skip

_PLAIN_NAMES = {
    "pi": ("const", "pi"), "infinity": ("const", "inf"), "inf": ("const", "inf"), "infty": ("const", "inf"),
    "theta": ("var", "theta"), "alpha": ("var", "alpha"), "beta": ("var", "beta"), "lambda": ("var", "lambda"),
    "phi": ("var", "phi"), "gamma": ("var", "gamma"),
}  # fmt: skip

_NUMBER_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
                 "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip

_SHORT_WORDS = words(
    "a.m p.m am pm yes no odd even and or not the of is are to in at by on if so per than one two six ten all any"
    " none cm km mm ft mi mg kg ml lb lbs oz hr hrs min sec mph kph kmh yd day men red blue day days sq cu deg may"
    " sat sun mon tue wed thu fri boy cat dog pen was has but for its an as be he she we it they day each left"
    " more hz rad cup bus ways dollars cents usd rs age old km2 cm2 m2 m3 ans dne tie gcd lcm mod max both"
)


def tokenise(text: str, group: bool = True) -> list[Token]:
    """The tokens of a normalised answer. ``group``: outside of brackets ``1,234`` is one number. Raises Unparsable."""
    out: list[Token] = []
    at, depth, spaced = 0, 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, "the last alternative matches anything"
        if match["num"] is not None and "," in match["num"] and (depth or not group):
            match = re.compile(r"(?P<num>\d+)").match(text, at)
            assert match is not None
            made: list[Token] = [Token("num", match[0], Fraction(match[0]), spaced)]
        else:
            made = _made(match, spaced)
        spaced = not made
        at = match.end()
        for token in made:
            depth += 1 if token.kind == "open" else -1 if token.kind == "close" else 0
        out += made
    return out


def _made(match: re.Match[str], spaced: bool) -> list[Token]:
    kind, text = match.lastgroup, match[0]
    if match["space"] is not None:
        return []
    if match["based"] is not None:
        return _based(match, spaced)
    if match["repeat"] is not None or match["dotted"] is not None:
        return [Token("num", text, _repeating(match), spaced)]
    if match["num"] is not None:
        return [_number(match, spaced)]
    if match["text"] is not None:
        word = match["text"].strip()
        return [Token("word", word, spaced=True)] if word else []
    if match["set"]:
        return [Token("var", f"set {match['field']}", spaced=spaced)]
    if kind == "rel" or text in _RELATIONS:
        return [Token("rel", _RELATIONS.get(text, text), spaced=spaced)]
    if match["brace"] or match["bracket"]:
        return [Token("open" if text in ("(", "[", "{", "\\{") else "close", text, spaced=spaced)]
    if match["cmd"]:
        return [_command(match["cmd"], spaced)]
    if kind == "cjk":
        return [Token("word", text, spaced=spaced)]
    if kind == "letters":
        return _letters(text, spaced)
    if kind == "rows":
        return [Token("sep", "\\\\", spaced=spaced)]
    if kind in ("op", "sep"):
        return [Token("op" if kind == "op" else "sep", "^" if text == "**" else text, spaced=spaced)]
    raise Unparsable(f"{text!r} is not understood")


def _command(name: str, spaced: bool) -> Token:
    if name in ("langle", "lfloor", "lceil"):
        return Token("open", f"\\{name}", spaced=spaced)
    if name in ("rangle", "rfloor", "rceil"):
        return Token("close", f"\\{name}", spaced=spaced)
    if name in GREEK:
        return Token("var", name, spaced=spaced)
    return Token("cmd", name, spaced=spaced)


def _number(match: re.Match[str], spaced: bool) -> Token:
    digits = match["num"].replace(",", "")
    exponent = int(match["exp"] or 0) if len(match["exp"] or "") < 8 else _MAX_EXPONENT + 1
    if len(digits) > _MAX_DIGITS or abs(exponent) > _MAX_EXPONENT:
        raise Unparsable("a number has too many digits")
    # A point behind the last digit ("18.") ends a sentence; the value is the same.
    return Token("num", match[0], Fraction(digits) * Fraction(10) ** exponent, spaced, "," in match["num"])


def _based(match: re.Match[str], spaced: bool) -> list[Token]:
    digits, written = match["based"], match["base"] or match["base1"]
    base = _NUMBER_WORDS.get(written, 0) if written.isalpha() else int(written[:4])
    if digits.isalpha() or not 2 <= base <= 36:
        # Letters with an index are a name (A_1), unless they are hexadecimal digits of a base that needs them.
        if digits.isalpha() and len(digits) == 1:
            return [Token("var", f"{digits}_{written}", spaced=spaced)]
        raise Unparsable(f"{match[0]!r} is no numeral")
    try:
        value = int(digits, base)
    except ValueError:
        raise Unparsable(f"{match[0]!r} has a digit that its base lacks") from None
    return [Token("num", digits, Fraction(value), spaced, base=base)]


def _repeating(match: re.Match[str]) -> Fraction:
    """``0.1\\overline{6}``, ``0.1\\dot{6}`` and ``0.1666...`` as the fractions they mean. Raises Unparsable."""
    if match["repeat"] is not None:
        start = match["repeat"]
        period = match["period"] or match["period1"] or (match["dot"] + (match["mid"] or "") + (match["dot2"] or ""))
    else:
        # Dots behind digits mean "and so on" only where the reader can see what goes on.
        found = re.fullmatch(r"(\d*\.\d*?)(\d{1,6}?)\2\2+", match["dotted"])
        if found is None:
            raise Unparsable("digits go on after the dots, and which ones is not told")
        start, period = found[1], found[2]
    whole, _, decimals = start.partition(".")
    shift = 10 ** len(decimals)
    return Fraction(int((whole + decimals) or 0), shift) + Fraction(int(period), (10 ** len(period) - 1) * shift)


def _letters(run: str, spaced: bool) -> list[Token]:
    """A run of letters outside of text commands: a function, a word, or a product of one-letter names."""
    plain = run.rstrip("'")
    if plain in FUNCTIONS:
        return [Token("cmd", plain, spaced=spaced)]
    if plain in _PLAIN_NAMES:
        kind, name = _PLAIN_NAMES[plain]
        return [Token("cmd", name, spaced=spaced) if kind == "const" else Token("var", name, spaced=spaced)]
    if len(plain) == 1:
        return [Token("var", run, spaced=spaced)]
    mixed = plain[0].isupper() and plain[1:].islower()
    if len(plain) > 3 or mixed or not plain.isascii() or plain.lower() in _SHORT_WORDS or unit_of(plain):
        return [Token("word", run, spaced=spaced)]
    if plain != run:
        raise Unparsable(f"{run!r} is not understood")
    return [Token("var", letter, spaced=spaced and at == 0) for at, letter in enumerate(run)]
