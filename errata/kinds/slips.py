"""What a slip of the pen writes instead of a number or a sign, in the notation of the text it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from errata.arithmetic import Token
from errata.kinds.plausibility import digit_weight

_NUMBER = re.compile(r"\d{1,3}(?:(?P<group>,|\{,\}|,\\!|\\,)\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
_GROUP = re.compile(r",\\!|\{,\}|\\,|,")
_AHEAD = r"(?=\s*(?:[\d(.$√]|\\[$dtfsbl\\]))"
_SIGNS = {
    "+": re.compile(rf"(?<=[\d)}}%\]])\s*(\+){_AHEAD}"),
    "*": re.compile(rf"(?<=[\d)}}%\]\w])\s*(\\cdot|\\times|\\ast|×|·|⋅|∗|\*|x){_AHEAD}"),
    "/": re.compile(rf"(?<=[\d)}}%\]])\s*(\\div|÷|∕|/){_AHEAD}"),
    "-": re.compile(rf"(?<=[\d)}}%\]])\s*(−|–|-){_AHEAD}"),
}
_SPOKEN = {"*": "times", "+": "plus", "-": "minus", "/": "divided by"}


def sign_like(symbol: str, token: Token, solution: str, latex: bool) -> str | None:
    """The sign of the operation ``symbol`` in place of ``token``, as the solution writes it, with the token's spaces.

    None where the solution has no such sign: a first "*" or a first division would tell the edit apart. A product in
    LaTeX is always at hand as a command, and one between typographic signs as "×".
    """
    bare = token.text.strip()
    if bare[:1].isalpha() and len(bare) > 1:
        return token.text.replace(bare, _SPOKEN[symbol])
    written = "+" if symbol == "+" else _written(symbol, solution, latex)
    if written is None:
        if symbol == "-":
            written = "-"
        elif symbol == "*" and latex:
            written = "\\cdot"
        elif symbol == "*" and bare in "×÷−–":
            written = "×"
    if written is None:
        return None
    lead = token.text[: len(token.text) - len(token.text.lstrip())]
    return lead + written + token.text[len(token.text.rstrip()) :]


@lru_cache(maxsize=64)  # asked for every sign of every step of a solution
def signs_written(solution: str, latex: bool) -> Mapping[str, int]:
    """How often a solution writes each of the four signs: as a command in LaTeX, never as one outside."""
    return {
        symbol: sum(found[1].startswith("\\") is latex or found[1] in "+-−–/" for found in pattern.finditer(solution))
        for symbol, pattern in _SIGNS.items()
    }


@lru_cache(maxsize=64)
def _written(symbol: str, solution: str, latex: bool) -> str | None:
    """The sign that the solution writes most for an operation: a command in LaTeX, never one outside."""
    counts: dict[str, int] = {}
    for found in _SIGNS[symbol].finditer(solution):
        sign = found[1]
        if sign.startswith("\\") if not latex else sign == "x":
            continue
        counts[sign] = counts.get(sign, 0) + 1
    # max() takes the first of equals, and a dict keeps the order of first sight.
    return max(counts, key=counts.__getitem__, default=None)


def other_numbers(token: Token) -> list[tuple[str, float]]:
    """Numbers a slip would write instead, with weights: a digit off by one or two, a carry lost, digits swapped.

    In the token's own notation: as many decimals, the same thousands signs, above zero. A round number mostly stays as
    round as it is: solutions are full of round numbers, and edits that made them odd would tell the sides apart by that
    alone.
    """
    written = _NUMBER.fullmatch(token.text)
    if written is None or token.value is None:
        return []
    plain = _GROUP.sub("", token.text)
    whole, _, part = plain.partition(".")
    digits = whole + part
    value = int(digits)
    stripped = digits.rstrip("0")
    unit = 10 ** (len(digits) - len(stripped)) if stripped else 1
    found = {value + step * unit: 1.0 for step in (1, -1, 2, -2)}
    if value >= 10 * unit:
        found |= {value + step * unit: 0.5 for step in (10, -10)}
    for step in (1, -1):
        found.setdefault(value + step, 0.5)
    for at in _swappable(digits):
        found.setdefault(int(digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]), 1.0)
    numbers = [(number, weight) for number, weight in found.items() if number > 0 and number != value]
    texts = [(_like(number, part, token.text, written["group"]), weight) for number, weight in numbers]
    return [(text, weight * digit_weight(text)) for text, weight in texts]


def _like(number: int, part: str, text: str, group: str | None) -> str:
    """``number``, counted in units of the last decimal of ``part``, as ``text`` writes its own."""
    digits = str(number).rjust(len(part) + 1, "0")
    whole = digits[: len(digits) - len(part)]
    if group:
        whole = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", lambda _: group, whole)
    elif text.startswith("."):
        whole = whole.removeprefix("0")
    return f"{whole}.{digits[len(digits) - len(part) :]}" if part else whole


def _swappable(digits: str) -> list[int]:
    """Places of two neighbors that differ, where the swap leaves as many digits as there were."""
    pairs = range(len(digits) - 1)
    return [i for i in pairs if digits[i] != digits[i + 1] and (i or digits[1] != "0")][:2]
