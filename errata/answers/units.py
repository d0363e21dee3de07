"""Units behind numbers: known ones with dimension and factor, nouns, powers, "per", in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from errata.answers.notation import words
from errata.answers.tokens import Token, Unparsable
from errata.arithmetic.vocabulary import unit_of

CURRENCY = {"$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yuan", "₹": "rupee", "¢": "cent"}

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
    "degree": ("angle", 1), "degrees": ("angle", 1), "deg": ("angle", 1), "radian": ("radian", 1),
    "radians": ("radian", 1),
    "rad": ("radian", 1), "mi": ("us length", 63360), "s": ("time", 1), "h": ("time", 3600), "degC": ("degC", 1),
    "degF": ("degF", 1), "unit": ("unit", 1), "units": ("unit", 1), "metre": ("metric length", 1000),
    "metres": ("metric length", 1000), "Hz": ("hertz", 1), "yr": ("long time", 12), "yrs": ("long time", 12),
    "lbs": ("us mass", 16), "hrs": ("time", 3600), "mins": ("time", 60), "secs": ("time", 1), "feet": ("us length", 12),
}  # fmt: skip

_POWER_WORDS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}

# Words behind a number that change its value, so that the number alone would be misread.
_NO_UNIT = words(
    "and or to than times over plus minus half twice double triple divided multiplied modulo mod remainder base"
    " choose not nor between least most factorial is are was were equals if unless except but mixed root short"
    " away off wrong incorrect dozens percentage points either neither each"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Dimensions with exponents, the factor to their smallest units, and the noun where the unit is none we know."""

    dimensions: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)
    noun: str = ""


def known_unit(word: str) -> tuple[tuple[tuple[str, int], ...], Fraction]:
    """Dimensions and factor of one unit word. Raises KeyError where it is no unit."""
    word = _CHINESE.get(word, word)
    for prefix, power in (("平方", 2), ("立方", 3)):
        if word.startswith(prefix) and word[2:] in _CHINESE:
            dimensions, factor = known_unit(word[2:])
            return tuple((name, exponent * power) for name, exponent in dimensions), factor**power
    if word.lower() in _COMPOUND:
        above, below = (known_unit(part) for part in _COMPOUND[word.lower()])
        return (*above[0], *((name, -exponent) for name, exponent in below[0])), above[1] / below[1]
    word = _CURRENCY_WORDS.get(word.lower(), word)
    if word in ("euro", "pound sterling", "yuan", "rupee"):
        return ((word, 1),), Fraction(1)
    found = _OWN_UNITS.get(word) or _OWN_UNITS.get(word.lower()) or unit_of(word)
    if found is None or (len(word) == 1 and word not in "mgslLh$¢"):
        raise KeyError(word)
    return ((found[0], 1),), Fraction(found[1])


def read_unit(rest: list[Token], degrees: bool) -> Unit | None:
    """The unit that ``rest`` begins with; behind it only words may stand. Raises Unparsable."""
    tokens = [token for token in rest if not (token.kind == "sep" and token.text in (".", '"'))]
    if not tokens:
        return Unit((("angle", 1),)) if degrees else None
    if any(token.text.lower() in _NO_UNIT for token in tokens):
        raise Unparsable("words that change the value")
    dimensions: dict[str, int] = {}
    factor, at, sign, noun = Fraction(1), 0, 1, ""
    while at < len(tokens):
        found, size, name, power, at = _factor(tokens, at)
        noun = noun or (name if not dimensions else "")
        if noun and power != 1:
            found = ((noun, 1),)
        for dimension, exponent in found:
            dimensions[dimension] = dimensions.get(dimension, 0) + sign * power * exponent
        factor *= size ** (sign * power)
        if at < len(tokens) and (tokens[at].text in ("/", "per") or (tokens[at].text == "a" and dimensions)):
            sign, at = -1, at + 1
        elif at < len(tokens) and tokens[at].text in ("cdot", "*"):
            at += 1
        else:
            break
    if any(token.kind not in ("word", "sep", "open", "close") for token in tokens[at:]):
        raise Unparsable("more than words behind the unit")
    return Unit(tuple(sorted((n, e) for n, e in dimensions.items() if e)), factor, "" if dimensions else noun)


def _factor(tokens: list[Token], at: int) -> tuple[tuple[tuple[str, int], ...], Fraction, str, int, int]:
    """Dimensions, size, noun and power of the unit word at ``at``, and the place behind it. Raises Unparsable."""
    power = 1
    if tokens[at].text.lower() in _POWER_WORDS:
        if at + 1 == len(tokens) or tokens[at].text.endswith("ed"):
            raise Unparsable("a number squared or cubed")
        power, at = _POWER_WORDS[tokens[at].text.lower()], at + 1
    word = tokens[at]
    if word.kind not in ("word", "var", "open"):
        raise Unparsable("a unit is missing")
    written, behind = _power_behind(tokens, at + 1)
    try:
        dimensions, size = known_unit(word.text)
    except KeyError:
        return (), Fraction(1), _singular(word.text), power * written, behind
    return dimensions, size, "", power * written, behind


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
    # Short ones may be symbols, in which case counts: mW and MW.
    return word.lower().removesuffix("s") if len(word) > 3 else word
