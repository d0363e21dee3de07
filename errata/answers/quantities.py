"""Numbers as people write them: with units, percent and currency signs, in another base, as a time of day, in words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from errata.answers.evaluation import equal, number
from errata.answers.expressions import Tree, parse
from errata.answers.fractional import Undefined, exact
from errata.answers.notation import words
from errata.answers.tokens import Token, Unparsable
from errata.answers.units import CURRENCY, Unit, known_unit, read_unit
from errata.arithmetic.vocabulary import SCALES

_TOLERANCE_DIGITS = 60
_LARGEST = 10**100
_MAX_COMPOUND = 3
_CHINESE_SCALES = {"万": 10**4, "亿": 10**8, "千": 10**3, "百": 100}
_LOOSE_UNITS = frozenset({"m", "g", "l", "L", "s", "h"})
_LEADING = words("about approximately approx exactly only roughly around nearly just a an total of the 约 大约 共 一共")
_ONES_IN_ORDER = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS_IN_ORDER = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: at for at, word in enumerate(_ONES_IN_ORDER.split())}
_TENS = {word: 10 * at for at, word in enumerate(_TENS_IN_ORDER.split(), start=2)}


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression with what stands around it. ``loose``: the reading of "5 m" in which m is a variable."""

    tree: Tree
    unit: Unit | None = None
    percent: bool = False
    ambiguous: bool = False
    base: int = 0
    digits: str = ""
    loose: Tree | None = None


def read_quantity(tokens: list[Token]) -> Quantity:
    """All of ``tokens`` as one quantity. Raises Unparsable."""
    tokens = _without_leading(tokens)
    if not tokens:
        raise Unparsable("nothing to read")
    if len(tokens) == 1 and tokens[0].base:
        return Quantity(("num", tokens[0].value), base=tokens[0].base, digits=tokens[0].text.lstrip("0"))
    unbraced = [*tokens[:-3], tokens[-2]] if tokens[-1].text == "}" and len(tokens) > 4 else tokens
    if tokens[0].text == "(" and len(unbraced) > 3 and [t.text for t in unbraced[-3:-1]] == [")", "_"]:
        return _based(unbraced)
    tokens, currency = _currency(tokens)
    cut = _unit_start(tokens)
    if cut == 0:
        return _in_words(tokens)
    body, rest = tokens[:cut], tokens[cut:]
    tree, ambiguous = parse(body)
    loose = _loose(tokens, cut)
    percent = bool(rest) and (rest[0].text == "%" or rest[0].text.lower() in ("percent", "%"))
    rest = rest[1:] if percent else rest
    scale, rest = _scale(rest)
    unit = read_unit(rest, tree[0] == "deg")
    if tree[0] == "deg":
        tree = tree[1]
    if currency:
        unit = Unit(*known_unit(currency))
    return Quantity(tree if scale == 1 else ("*", tree, ("num", scale)), unit, percent, ambiguous, loose=loose)


def add_up(parts: list[Quantity]) -> Quantity:
    """``2 hours 30 minutes``: the sum of quantities in different units of one dimension. Raises Unparsable."""
    units = [part.unit for part in parts]
    known = [unit for unit in units if unit is not None and unit.dimensions]
    dimensions = {unit.dimensions for unit in known}
    if len(parts) < 2 or len(known) < len(parts) or len(dimensions) > 1 or len({u.factor for u in known}) < len(parts):
        raise Unparsable("no amounts of one kind in different units")
    total: Tree = ("num", Fraction(0))
    for part, unit in zip(parts, known, strict=True):
        total = ("+", total, ("*", part.tree, ("num", unit.factor / known[0].factor)))
    return Quantity(total, known[0])


def read_compound(tokens: list[Token]) -> Quantity:
    """All of ``tokens`` as one quantity, or as several that add up ("2 hours 30 minutes"). Raises Unparsable."""
    try:
        return read_quantity(tokens)
    except Unparsable:
        starts = [at for at in range(1, len(tokens)) if tokens[at].kind == "num" and tokens[at - 1].kind == "word"]
        if not starts or len(starts) > _MAX_COMPOUND:
            raise
        bounds = [0, *starts, len(tokens)]
        return add_up([read_quantity(tokens[start:end]) for start, end in pairwise(bounds)])


def _without_leading(tokens: list[Token]) -> list[Token]:
    at = 0
    while at < len(tokens) - 1 and (
        (tokens[at].text.lower() in _LEADING and tokens[at].kind in ("word", "var") and tokens[at + 1].kind != "op"
        and (tokens[at].kind == "word" or tokens[at + 1].kind == "word"))
        or (tokens[at].kind == "rel" and tokens[at].text in ("=", "approx"))
    ):  # fmt: skip
        at += 1
    return tokens[at:]


def _based(tokens: list[Token]) -> Quantity:
    """``(1011)_2``."""
    digits = "".join(token.text for token in tokens[1:-3])
    base = tokens[-1].value
    if base is None or not 2 <= base <= 36 or not digits.isalnum():
        raise Unparsable("an index behind a bracket")
    try:
        return Quantity(("num", Fraction(int(digits, int(base)))), base=int(base), digits=digits)
    except ValueError:
        raise Unparsable("a digit that the base lacks") from None


def _currency(tokens: list[Token]) -> tuple[list[Token], str]:
    """The tokens without the currency sign before (perhaps behind a minus) or behind the number, and the currency."""
    for at in (0, 1, len(tokens) - 1):
        if at < len(tokens) and tokens[at].text in CURRENCY and tokens[at].kind == "op":
            if at == 1 and tokens[0].text not in ("-", "+"):
                continue
            return tokens[:at] + tokens[at + 1 :], CURRENCY[tokens[at].text]
    return tokens, ""


def _unit_start(tokens: list[Token]) -> int:
    """Where the expression ends and words, a unit or a percent sign begin."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += 1 if token.kind == "open" else -1 if token.kind == "close" else 0
        if depth:
            continue
        if token.kind == "word" or (token.text == "%" and at == len(tokens) - 1):
            return at
        loose = token.kind == "var" and token.spaced and token.text in _LOOSE_UNITS and at
        if loose and tokens[at - 1].kind == "num" and _is_plain_unit(tokens[at:]):
            return at
        if token.text == "%" and at + 1 < len(tokens) and tokens[at + 1].kind == "word":
            return at
    return len(tokens)


def _is_plain_unit(tokens: list[Token]) -> bool:
    """``m``, ``m^2``, ``m/s``: one-letter units outside of text commands, with nothing else behind them."""
    return all(
        token.text in _LOOSE_UNITS or token.text in ("/", "^", "{", "}") or (at and tokens[at - 1].text in ("^", "{"))
        for at, token in enumerate(tokens)
    )


def _loose(tokens: list[Token], cut: int) -> Tree | None:
    if cut >= len(tokens) or (tokens[cut].kind == "word" and len(tokens[cut].text) > 1):
        return None
    try:
        return parse(tokens)[0]
    except Unparsable:
        return None


def _scale(rest: list[Token]) -> tuple[Fraction, list[Token]]:
    scale = Fraction(1)
    while rest and rest[0].kind == "word":
        word = rest[0].text
        if word.lower() in SCALES and len(word) > 1:
            scale, rest = scale * SCALES[word.lower()], rest[1:]
        elif word[0] in _CHINESE_SCALES:
            scale = scale * _CHINESE_SCALES[word[0]]
            rest = [Token("word", word[1:]), *rest[1:]] if word[1:] else rest[1:]
        else:
            break
    if scale != 1 and rest and rest[0].text == "of":
        rest = rest[1:]
    return scale, rest


def _in_words(tokens: list[Token]) -> Quantity:
    """``twenty-three apples``. Raises Unparsable where the first word is no number."""
    spelled = [part for token in tokens if token.kind == "word" for part in token.text.lower().split("-")]
    if len(spelled) < len(tokens) or not spelled or spelled[0] not in (_ONES | _TENS):
        raise Unparsable("words, not a number")
    total = current = at = 0
    while at < len(spelled):
        word = spelled[at]
        below = current % 100
        if word in _ONES and (below == 0 or (below % 10 == 0 and _ONES[word] < 10)):
            current += _ONES[word]
        elif word in _TENS and below == 0:
            current += _TENS[word]
        elif word == "hundred" and 0 < current < 10:
            current *= 100
        elif word in ("thousand", "million", "billion") and current:
            total, current = total + current * SCALES[word], 0
        elif word in _ONES or word in _TENS or word in ("hundred", "half", "third", "thirds", "quarters"):
            raise Unparsable("number words that do not make one number")
        elif word != "and" or at + 1 == len(spelled) or spelled[at + 1] not in (_ONES | _TENS):
            break
        at += 1
    scale, rest = _scale([Token("word", word) for word in spelled[at:]])
    return Quantity(("num", (total + current) * scale), read_unit(rest, False))


def same_quantity(gold: Quantity, answer: Quantity) -> bool | None:
    """Whether two quantities are the same; None where that cannot be told.

    A unit or percent sign that only one side writes counts as left out by the other: 50 equals 50%, and 0.5 equals 50%;
    0.5 does not equal 0.5%. Known units of one dimension are converted; of different dimensions they differ.
    """
    if gold.base or answer.base:
        return _same_based(gold, answer)
    try:
        same = _same_value(gold, answer)
        if not same and (gold.loose or answer.loose):
            same = equal(gold.loose or gold.tree, answer.loose or answer.tree)
    except Undefined:
        return None
    if same is False and (gold.ambiguous or answer.ambiguous):
        return None
    return same


def _same_based(gold: Quantity, answer: Quantity) -> bool | None:
    if gold.base and answer.base:
        return gold.base == answer.base and gold.tree == answer.tree
    based, plain = (gold, answer) if gold.base else (answer, gold)
    value = exact(plain.tree)
    if value is None:
        return False
    # The digits without their base, or the value in base ten: perhaps meant, not the same.
    maybe = value == based.tree[1] or (bool(gold.base) and str(value) == based.digits.lstrip("0"))
    return None if maybe else False


def _same_value(gold: Quantity, answer: Quantity) -> bool | None:
    if gold.percent != answer.percent:
        plain, percent = (gold, answer) if answer.percent else (answer, gold)
        if equal(plain.tree, ("/", percent.tree, ("num", Fraction(100)))):
            return True
        value = exact(plain.tree) if plain.unit is None else None
        return value is not None and abs(value) >= 1 and equal(plain.tree, percent.tree)
    one, other = gold.unit, answer.unit
    if one is None or other is None or one == other:
        return equal(gold.tree, answer.tree)
    if (one.noun and other.noun) or not (one.dimensions and other.dimensions):
        # "apples" and "fruit": perhaps the same things, perhaps not.
        same_noun = one.noun == other.noun and one.dimensions == other.dimensions
        same = equal(gold.tree, answer.tree)
        return same if same_noun or not same else None
    if one.dimensions != other.dimensions:
        return False
    return equal(("*", gold.tree, ("num", one.factor)), ("*", answer.tree, ("num", other.factor)))


def within(gold: Quantity, answer: Quantity, absolute: Fraction, relative: Fraction) -> bool | None:
    """Whether ``answer`` lies as near ``gold`` as one of the tolerances asks; None where it is no number."""
    if gold.base or answer.base or gold.percent != answer.percent:
        return False
    one, other = gold.unit, answer.unit
    if one is not None and other is not None and (one.dimensions, one.factor) != (other.dimensions, other.factor):
        return False
    try:
        values = [_real(gold.tree), _real(answer.tree)]
    except Undefined:
        return None
    return abs(values[0] - values[1]) <= max(absolute, relative * abs(values[0]))


def _real(tree: Tree) -> Fraction:
    value = exact(tree)
    if value is not None:
        return value
    found = number(tree, _TOLERANCE_DIGITS)
    if getattr(found, "imag", 0) or abs(found) > _LARGEST:
        raise Undefined("no real number")
    return Fraction(str(found.real))
