"""The words that matter around numbers: scales, units of one dimension, and words that forbid a plain reading."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

SCALES: dict[str, int] = {
    "dozen": 12, "dozens": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "k": 1000,
    "trillion": 10**12,
}  # fmt: skip

# Factor to the smallest unit, per dimension. US and metric lengths are kept apart: nobody mixes them exactly.
_FAMILIES: dict[str, dict[str, int]] = {
    "time": {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "day": 86400, "week": 604800},
    "long time": {"month": 1, "year": 12, "decade": 120, "century": 1200},
    "us length": {"inch": 1, "in": 1, "foot": 12, "feet": 12, "ft": 12, "yard": 36, "yd": 36, "mile": 63360},
    "metric length": {"mm": 1, "millimeter": 1, "cm": 10, "centimeter": 10, "m": 1000, "meter": 1000,
                      "km": 10**6, "kilometer": 10**6},
    "us mass": {"ounce": 1, "oz": 1, "pound": 16, "lb": 16, "ton": 32000},
    "metric mass": {"mg": 1, "milligram": 1, "g": 1000, "gram": 1000, "kg": 10**6, "kilogram": 10**6},
    "us volume": {"cup": 1, "pint": 2, "quart": 4, "gallon": 16},
    "metric volume": {"ml": 1, "milliliter": 1, "l": 1000, "liter": 1000, "litre": 1000},
    "money": {"cent": 1, "¢": 1, "dollar": 100, "$": 100},
    "chinese money": {"分": 1, "分钱": 1, "角": 10, "元": 100},
    "chinese time": {"秒": 1, "分钟": 60, "小时": 3600, "天": 86400, "周": 604800, "星期": 604800},
    "chinese length": {"毫米": 1, "厘米": 10, "分米": 100, "米": 1000, "千米": 10**6, "公里": 10**6},
    "chinese mass": {"克": 1, "千克": 1000, "公斤": 1000, "吨": 10**6},
    "chinese volume": {"毫升": 1, "升": 1000},
}  # fmt: skip
UNITS: dict[str, tuple[str, int]] = {
    unit: (family, factor) for family, units in _FAMILIES.items() for unit, factor in units.items()
}
GLUED_UNITS = frozenset(UNITS) | {"lbs", "mph", "kph", "mins", "hrs", "secs", "pm", "am", "gb", "mb", "tb"}
VARIABLE_LETTERS_ALLOWED = frozenset({"a", "A", "I", "g"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def forbids_in_chinese(word: str) -> bool:
    """Whether a Chinese word beside a number may change what the number means; names of units do not."""
    return word not in UNITS and any(sign in CHINESE_FORBIDDEN for sign in word)


# A clause ends here: what stands on the two sides of such a word is not one expression.
CLAUSE_WORDS = _words(
    "and so then is are was were which that because but if when has have had gets get since while where or thus"
    " therefore hence means meaning equals equal gives give makes be will would let where's"
)
# In front of a number these change what the number means; behind one too.
BEFORE_FORBIDDEN = _words(
    "half twice thrice double triple quadruple third quarter fourth fifth sixth tenth per mod modulo choose log ln"
    " sin cos tan exp sqrt max min gcd lcm floor ceil abs squared cubed than plus minus negative"
    " divided multiplied"
)
OF_FORBIDDEN = _words(
    "out half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh eighth eighths"
    " ninth tenth tenths percent percentage remainder modulus root square cube power multiple factorial"
)
AFTER_FORBIDDEN = _words("remainder rem r R squared cubed factorial choose mod modulo base")
# In a Chinese word before or behind a number: a share, an operation, a comparison, a power of ten.
CHINESE_FORBIDDEN = frozenset("半倍乘除加减余商积和差方根率比均约占折百千万亿")
# In front of a piece of mathematics that holds its whole equation, only these still alter it.
BEFORE_MATH_FORBIDDEN = _words(
    "half twice thrice double triple quadruple third quarter fourth fifth sixth tenth log ln sin cos tan exp sqrt"
)
OF_MATH_FORBIDDEN = OF_FORBIDDEN - {"out", "remainder", "multiple", "modulus"}
MEAN_WORDS = _words("average mean median")
APPROXIMATE = _words("about approximately roughly around nearly almost approx")


def unit_of(word: str) -> tuple[str, int] | None:
    """Dimension and factor of a unit word in singular or plural, or None."""
    lowered = word.lower()
    for form in (lowered, lowered.removesuffix("s"), lowered.removesuffix("es")):
        if form in UNITS:
            return UNITS[form]
    return None


@lru_cache(maxsize=512)
def unit_factor(phrase: tuple[str, ...]) -> tuple[Fraction, frozenset[str]]:
    """What a unit phrase such as ``("minutes", "/", "hour")`` multiplies by in smallest units, and the units seen."""
    factor, seen, below, used = Fraction(1), set[str](), False, [False, False]
    for word in phrase:
        if word in ("/", "per"):
            below = True
            continue
        found = unit_of(word)
        if found is None or used[below]:
            continue
        used[below] = True
        family, size = found
        seen.add(f"{family}:{size}")
        factor = factor / size if below else factor * size
    return factor, frozenset(seen)


# Signs and numbers as they are written.
VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
SUPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
OPERATORS = {
    "+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "⋅": "*", "∗": "*", "∙": "*", "÷": "/",
    "/": "/", "∕": "/", "^": "^", "**": "^", "\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/",
}  # fmt: skip
VERBAL = {"times": "*", "plus": "+", "minus": "-", "multiplied": "*", "divided": "/"}


def operation(sign: str) -> str | None:
    """The canonical form of an operation sign as people write it, or None for another text."""
    if sign in ("x", "X"):
        return "*"
    return OPERATORS.get(sign) or VERBAL.get(sign.partition(" ")[0])
