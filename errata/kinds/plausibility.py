"""How often real solutions write a sign or a last digit: edits drawn so look like the originals, taken as a whole.

An edit that made rare signs common would tell the sides of a pair apart by that alone (errata.audit). If what is
written instead is drawn in proportion to how often it stands in such a place, as many signs and digits come as go. The
tables are counts of 1,000 reference solutions of GSM8K (prose) and 1,000 of MATH (LaTeX); ``python -m
bench.rule_edits`` says what the audit finds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from errata.arithmetic import Token, strip_marks

SIGNS = ("+", "-", "*", "/")
_LEAST = 0.01
_MOST = 0.45  # of a sign's share: no replacement could bring back what goes of one above a half
_ROUNDS = 30
_PLACE_WEIGHT = 2.0  # how many signs of its own a solution must have to count as much as all others together
_COUNTED = re.compile(r"(?<![\w.,/$€£])(\d[\d,]*(?:\.\d+)?) ([A-Za-z]{2,})")  # "12 apples"
_JUST_ONE = re.compile(r"1(?:\.0+)?")
# Shares of + - * /, over all places and by what stands at a sign's left and at its right.
_PROSE = (0.28, 0.18, 0.37, 0.17)
_LATEX = (0.36, 0.20, 0.37, 0.07)
_RIGHT: dict[str, tuple[float, float, float, float]] = {
    "1": (0.38, 0.25, 0.35, 0.02), "2": (0.13, 0.06, 0.46, 0.35), "digit": (0.24, 0.15, 0.39, 0.22),
    "ten": (0.27, 0.19, 0.42, 0.12), "hundred": (0.20, 0.07, 0.15, 0.58), "round": (0.39, 0.21, 0.34, 0.07),
    "large": (0.40, 0.31, 0.21, 0.08), "decimal": (0.16, 0.07, 0.69, 0.08), "term": (0.38, 0.22, 0.36, 0.04),
}  # fmt: skip
_LEFT: dict[str, tuple[float, float, float, float]] = {
    "1": (0.26, 0.03, 0.16, 0.55), "2": (0.22, 0.04, 0.65, 0.09), "digit": (0.25, 0.08, 0.59, 0.08),
    "ten": (0.30, 0.13, 0.40, 0.16), "hundred": (0.17, 0.31, 0.42, 0.09), "round": (0.30, 0.24, 0.26, 0.20),
    "large": (0.32, 0.27, 0.22, 0.20), "decimal": (0.39, 0.11, 0.43, 0.07), "term": (0.40, 0.16, 0.38, 0.06),
}  # fmt: skip
_LAST_DIGIT = (0.33, 0.05, 0.13, 0.04, 0.10, 0.13, 0.09, 0.04, 0.08, 0.03)
_ONLY_DIGIT = (0.01, 0.09, 0.22, 0.15, 0.13, 0.12, 0.11, 0.05, 0.08, 0.05)


def sign_weights(left: Token | None, right: Token | None, written: Mapping[str, int], latex: bool) -> dict[str, float]:
    """How plausible each of the four signs is between two tokens of a solution.

    ``written``: how often the solution writes each sign itself, which says more than what all solutions do.
    """
    general = _LATEX if latex else _PROSE
    total = sum(written.values()) + _PLACE_WEIGHT
    weights = {}
    for sign, prior, beside, behind in zip(SIGNS, general, _LEFT[_class(left)], _RIGHT[_class(right)], strict=True):
        own = (written.get(sign, 0) + _PLACE_WEIGHT * prior) / total
        weights[sign] = max(_LEAST, own * (beside / prior) * (behind / prior))
    return balanced(tuple(weights.values()))


@lru_cache(maxsize=4096)
def balanced(shares: tuple[float, ...]) -> dict[str, float]:
    """Weights with which as much of every sign is written as is replaced, where its share allows that.

    A sign is always replaced by another, so the shares alone would thin out the frequent ones. Wanted are weights w
    with ``w[a] * (sum of the others) = share of a``: then what goes from a to b comes back from b to a.
    """
    total = sum(shares)
    wanted = [min(share / total, _MOST) for share in shares]
    found = [share**0.5 for share in wanted]
    for _ in range(_ROUNDS):
        everything = sum(found)
        moved = [(old + share / (everything - old)) / 2 for old, share in zip(found, wanted, strict=True)]
        found = [max(_LEAST, weight) for weight in moved]
    return dict(zip(SIGNS, found, strict=True))


def digit_weight(number: str) -> float:
    """How much a number is to be favored by its last digit, less than in proportion to its share.

    A number always gives way to a neighbor: with weights like the shares nearly every 72 would become 70, and hardly
    any 70 a 72.
    """
    digits = [int(char) for char in number if char.isdigit()]
    share = (_ONLY_DIGIT if len(digits) == 1 else _LAST_DIGIT)[digits[-1]] if digits else _LEAST
    return math.sqrt(share)


def agrees_in_number(original: str, edited: str) -> bool:
    """Whether no word that stood behind a one stands behind another number now, nor the other way: "1 people"."""
    (one, more), (edited_one, edited_more) = _counted(original), _counted(edited)
    return not ((edited_one & more) - one or (edited_more & one) - more)


def _counted(text: str) -> tuple[set[str], set[str]]:
    """The words behind a one, and those behind any other number."""
    one: set[str] = set()
    more: set[str] = set()
    for number, word in _COUNTED.findall(strip_marks(text)):
        (one if _JUST_ONE.fullmatch(number) else more).add(word)
    return one, more


def _class(token: Token | None) -> str:
    if token is None or token.kind != "number" or token.value is None:
        return "term"
    if token.value.denominator != 1 or "." in token.text:
        return "decimal"
    value = token.value.numerator
    if value < 10:
        return str(value) if value in (1, 2) else "digit"
    if value in (10, 12):
        return "ten"
    if value == 100:
        return "hundred"
    return "round" if value % 10 == 0 else "large"
