"""Single values compared: quantities, times of day, words, letters. True, False, or None where it cannot be told."""

from __future__ import annotations

from errata.answers.criteria import Criteria
from errata.answers.fractional import Undefined
from errata.answers.notation import words
from errata.answers.quantities import Quantity, add_up, read_compound, same_quantity, within
from errata.answers.structure import Answer
from errata.answers.tokens import Unparsable

_NO_VALUE = words(
    "undefined dne none impossible infinite nosolution nosolutions norealsolution norealsolutions doesnotexist"
    " infinitelymany nonreal divergent diverges notpossible yes no true false odd even 无解 不存在"
)


def is_text(answer: Answer) -> bool:
    return _quantity(answer) is None and any(token.kind == "word" for token in answer.tokens)


def _quantity(answer: Answer) -> Quantity | None:
    try:
        if answer.shape == "list":
            return add_up([read_compound(list(part.tokens)) for part in answer.parts])
        return read_compound(list(answer.tokens))
    except (Unparsable, Undefined):
        return None


def same_leaf(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    clock, other = _clock(gold), _clock(answer)
    if clock or other:
        return _same_clock(clock, other) if clock and other else _clock_and_other(gold, answer)
    if _is_letters(gold) and _is_letters(answer):
        # AB and BA may be one segment and two points; ABC and ABD are not the same whatever they are.
        return None if sorted(gold.text) == sorted(answer.text) else False
    quantities = _quantity(gold), _quantity(answer)
    if quantities[0] is not None and quantities[1] is not None:
        outcome = same_quantity(quantities[0], quantities[1])
        if not outcome and (rules.absolute or rules.relative):
            return within(quantities[0], quantities[1], rules.absolute, rules.relative)
        return outcome
    texts = _words(gold), _words(answer)
    if texts[0] and texts[1]:
        return _same_words(texts[0], texts[1])
    if quantities[0] is not None and texts[1]:
        return False if "".join(texts[1]) in _NO_VALUE else None
    if quantities[1] is not None and texts[0]:
        return None if any(token.kind == "num" for token in gold.tokens) else False
    return None


def _is_letters(answer: Answer) -> bool:
    """Several capital letters and nothing else: points of a figure, or choices, not a product."""
    return len(answer.text) > 1 and all(token.kind == "var" for token in answer.tokens) and (
        answer.text.isalpha() and answer.text.isupper()
    )  # fmt: skip


def _words(answer: Answer) -> list[str]:
    """The words of a text answer, without case, articles and punctuation; empty where it has mathematics in it."""
    if any(token.kind not in ("word", "num", "var", "sep", "open", "close") for token in answer.tokens):
        return []
    if not any(token.kind == "word" for token in answer.tokens):
        return [answer.text.casefold()] if _is_letters(answer) else []
    pieces = [token.text for token in answer.tokens if token.kind in ("word", "num", "var")]
    return [piece.casefold() for piece in pieces if piece.casefold() not in ("the", "an", "a")] or pieces


def _same_words(gold: list[str], answer: list[str]) -> bool | None:
    one, other = "".join(gold), "".join(answer)
    if one == other:
        return True
    # More words around gold's may say the same, or the opposite.
    stems = [{word.removesuffix("s") for word in side} for side in (gold, answer)]
    return None if stems[0] <= stems[1] or len(answer) > len(gold) + 4 else False


def _clock(answer: Answer) -> tuple[list[int], str] | None:
    """Hours, minutes and half of the day of ``3:30 PM``, ``5 p.m.``, ``15:30``; of a ratio ``3:2``, its numbers."""
    tokens = list(answer.tokens)
    halves = [token.text.lower().replace(".", "") for token in tokens if token.kind == "word"]
    half = "".join(halves).removeprefix("oclock").removeprefix("o'clock")
    rest = [t for t in tokens if t.kind != "word" and t.text != "."]
    numbers = rest[::2]
    separated = all(t.text == ":" for t in rest[1::2]) and len(rest) % 2 == 1
    if half not in ("", "am", "pm") or not separated or (len(rest) == 1 and not half):
        return None
    if any(len(t.text) != 2 for t in numbers[1:]) and (half or any(t.text.startswith("0") for t in numbers)):
        return None  # minutes have two digits
    if any(t.kind != "num" or t.value is None or t.value.denominator != 1 for t in numbers):
        return None
    return [int(t.value) for t in numbers if t.value is not None], half


def _same_clock(gold: tuple[list[int], str], answer: tuple[list[int], str]) -> bool | None:
    times = [([*numbers, 0] if half and len(numbers) == 1 else numbers, half) for numbers, half in (gold, answer)]
    if times[0] == times[1]:
        return True
    for (one, half), (other, none) in (times, times[::-1]):
        # 15:30 is 3:30 PM; 3:30 without its half of the day may be either.
        if half and not none and len(one) == len(other):
            hour = one[0] % 12 + (12 if half == "pm" else 0)
            if other[1:] == one[1:] and other[0] == hour and hour != one[0]:
                return True
            return None if other == one else False
    if not times[0][1] and not times[1][1] and len(times[0][0]) == len(times[1][0]):
        scaled = [a * times[1][0][0] for a in times[0][0]] == [b * times[0][0][0] for b in times[1][0]]
        return None if scaled else False
    return False


def _clock_and_other(gold: Answer, answer: Answer) -> bool | None:
    texts = _words(gold), _words(answer)
    return _same_words(texts[0], texts[1]) if texts[0] and texts[1] and is_text(answer) else None
