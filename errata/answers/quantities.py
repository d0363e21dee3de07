"""Numbers as people write them: with units, percent and currency signs, in another base, as a time of day, in words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from errata.answers.evaluation import Undefined, equal, exact, number
from errata.answers.expressions import Token, Tree, Unparsable, parse
from errata.answers.notation import words
from errata.arithmetic.vocabulary import SCALES, unit_of

_TOLERANCE_DIGITS = 60
_LARGEST = 10**100
_CURRENCY = {"$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yuan", "₹": "rupee", "¢": "cent"}
_CURRENCY_WORDS = {
    "usd": "dollar",
    "euro": "euro",
    "euros": "euro",
    "yuan": "yuan",
    "元": "yuan",
    "美元": "dollar",
    "块": "yuan",
}
_COMPOUND = {"mph": ("mile", "hour"), "kph": ("km", "hour"), "kmh": ("km", "hour"), "kmph": ("km", "hour"),
             "fps": ("ft", "second"), "mpg": ("mile", "gallon")}  # fmt: skip
_CHINESE = {"米": "m", "厘米": "cm", "千米": "km", "公里": "km", "毫米": "mm", "克": "g", "千克": "kg", "公斤": "kg",
            "小时": "hour", "时": "hour", "分钟": "minute", "秒": "second", "天": "day", "周": "week", "年": "year",
            "岁": "year", "升": "l", "毫升": "ml", "度": "degree"}  # fmt: skip
_OWN_UNITS = {
    "degree": ("angle", 1), "degrees": ("angle", 1), "deg": ("angle", 1), "radian": ("radian", 1), "radians": ("radian", 1),
    "rad": ("radian", 1), "mi": ("us length", 63360), "s": ("time", 1), "h": ("time", 3600), "degC": ("degC", 1),
    "degF": ("degF", 1), "unit": ("unit", 1), "units": ("unit", 1), "metre": ("metric length", 1000),
    "metres": ("metric length", 1000), "Hz": ("hertz", 1), "yr": ("long time", 12), "yrs": ("long time", 12),
    "lbs": ("us mass", 16), "hrs": ("time", 3600), "mins": ("time", 60), "secs": ("time", 1), "feet": ("us length", 12),
}  # fmt: skip
_POWER_WORDS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_CHINESE_SCALES = {"万": 10**4, "亿": 10**8, "千": 10**3, "百": 100}
# Words behind a number that change its value, so that the number alone would be misread.
_NO_UNIT = words(
    "and or to than times over plus minus half twice double triple divided multiplied modulo mod remainder base"
    " choose not nor between least most factorial is are was were equals if unless except but mixed root short"
    " away off wrong incorrect dozens percentage points either neither each"
)
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
class Unit:
    """Dimensions with exponents, the factor to their smallest units, and the noun where the unit is none we know."""

    dimensions: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)
    noun: str = ""


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
    if tokens[0].text == "(" and len(tokens) > 3 and tokens[-3].text == ")" and tokens[-2].text == "_":
        return _based(tokens)
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
    unit = _unit(rest, tree[0] == "deg")
    if tree[0] == "deg":
        tree = tree[1]
    if currency:
        unit = Unit(*_known(currency))
    return Quantity(tree if scale == 1 else ("*", tree, ("num", scale)), unit, percent, ambiguous, loose=loose)


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
    """The tokens without a currency sign in front of (perhaps behind a minus) or behind the number, and the currency."""
    for at in (0, 1, len(tokens) - 1):
        if at < len(tokens) and tokens[at].text in _CURRENCY and tokens[at].kind == "op":
            if at == 1 and tokens[0].text not in ("-", "+"):
                continue
            return tokens[:at] + tokens[at + 1 :], _CURRENCY[tokens[at].text]
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
        if loose and tokens[at - 1].kind == "num" and at == len(tokens) - 1:
            return at
        if token.text == "%" and at + 1 < len(tokens) and tokens[at + 1].kind == "word":
            return at
    return len(tokens)


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


def _known(word: str) -> tuple[tuple[tuple[str, int], ...], Fraction]:
    """Dimensions and factor of one unit word. Raises KeyError where it is no unit."""
    word = _CHINESE.get(word, word)
    for prefix, power in (("平方", 2), ("立方", 3)):
        if word.startswith(prefix) and word[2:] in _CHINESE:
            dimensions, factor = _known(word[2:])
            return tuple((name, exponent * power) for name, exponent in dimensions), factor**power
    if word.lower() in _COMPOUND:
        above, below = (_known(part) for part in _COMPOUND[word.lower()])
        return (*above[0], *((name, -exponent) for name, exponent in below[0])), above[1] / below[1]
    word = _CURRENCY_WORDS.get(word.lower(), word)
    if word in ("euro", "pound sterling", "yuan", "rupee"):
        return ((word, 1),), Fraction(1)
    found = _OWN_UNITS.get(word) or _OWN_UNITS.get(word.lower()) or unit_of(word)
    if found is None or (len(word) == 1 and word not in "mgslLh$¢"):
        raise KeyError(word)
    return ((found[0], 1),), Fraction(found[1])


def _unit(rest: list[Token], degrees: bool) -> Unit | None:
    """The unit that ``rest`` begins with; words behind it are only looked at. Raises Unparsable."""
    words = [token for token in rest if not (token.kind == "sep" and token.text in (".", '"'))]
    if not words:
        return Unit((("angle", 1),)) if degrees else None
    if any(token.kind == "num" for token in _outside_powers(words)) or any(t.kind in ("rel", "cmd") for t in words[1:]):
        raise Unparsable("a number behind the unit")
    if any(token.text.lower() in _NO_UNIT for token in words):
        raise Unparsable("words that change the value")
    dimensions: dict[str, int] = {}
    factor, at, sign, noun = Fraction(1), 0, 1, ""
    while at < len(words):
        power = 1
        if words[at].text.lower() in _POWER_WORDS:
            if at + 1 == len(words) or words[at].text.endswith("ed"):
                raise Unparsable("a number squared or cubed")
            power, at = _POWER_WORDS[words[at].text.lower()], at + 1
        try:
            found, size = _known(words[at].text)
        except KeyError:
            noun = noun or (_singular(words[at].text) if not dimensions else "")
            found, size = ((), Fraction(1))
        at += 1
        written, at = _power_behind(words, at)
        power *= written
        if noun and power != 1:
            found = ((noun, 1),)
        for name, exponent in found:
            dimensions[name] = dimensions.get(name, 0) + sign * power * exponent
        factor *= size ** (sign * power)
        if at < len(words) and (words[at].text in ("/", "per") or (words[at].text == "a" and dimensions)):
            sign, at = -1, at + 1
            continue
        if not (at < len(words) and words[at].text in ("cdot", "*")):
            break
        at += 1
    return Unit(tuple(sorted((n, e) for n, e in dimensions.items() if e)), factor, "" if dimensions else noun)


def _outside_powers(words: list[Token]) -> list[Token]:
    return [t for at, t in enumerate(words) if not (at and words[at - 1].text in ("^", "{", "-", "("))]


def _power_behind(words: list[Token], at: int) -> tuple[int, int]:
    """The exponent at ``at`` (``^2``, ``^{2}``, "squared") and the place behind it; 1 where there is none."""
    if at < len(words) and words[at].text in ("squared", "cubed"):
        return _POWER_WORDS[words[at].text], at + 1
    if at >= len(words) or words[at].text != "^":
        return 1, at
    inner = [token for token in words[at + 1 : at + 5] if token.text not in ("{", "}")]
    braced = at + 1 < len(words) and words[at + 1].text == "{"
    sign = -1 if inner and inner[0].text == "-" else 1
    number = inner[1 if sign < 0 else 0] if len(inner) > (sign < 0) else None
    if number is None or number.value is None or number.value.denominator != 1 or number.value > 9:
        raise Unparsable("the power of a unit")
    return sign * int(number.value), at + 2 + (sign < 0) + 2 * braced


def _singular(word: str) -> str:
    lowered = word.lower()
    return lowered.removesuffix("s") if len(lowered) > 3 else lowered


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
    return Quantity(("num", Fraction(total + current)), _unit([Token("word", word) for word in spelled[at:]], False))


def same_quantity(gold: Quantity, answer: Quantity) -> bool | None:
    """Whether two quantities are the same; None where that cannot be told.

    A unit or percent sign that only one side writes counts as left out by the other: 50 equals 50%, and 0.5 equals 50%; 0.5
    does not equal 0.5%. Known units of one dimension are converted; of different dimensions they differ.
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
        value = exact(plain.tree)
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
    """Whether ``answer`` lies no farther from ``gold`` than one of the two tolerances allows; None where it is no number."""
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
