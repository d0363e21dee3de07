"""One subtle false edit of an equation, by error kind: the twin of what the editing prompts ask for.

The miniature learns from these. Each kind lists its false edits with a weight; the likeliest edit of a kind is much
likelier than the next, so that a model which learnt them has one to make when it decodes greedily.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from demo.stories import Equation

Weighted = tuple[float, Equation]

_SHIFTS = ((1, 8.0), (-1, 3.0), (10, 2.0), (-10, 2.0), (2, 1.0), (-2, 1.0))
_SIGNS = {"+": (("-", 4.0), ("*", 1.0)), "-": (("+", 4.0), ("/", 1.0)), "*": (("+", 4.0), ("-", 1.0))}
_SIGNS["/"] = (("*", 4.0), ("-", 1.0))


def _near(number: int) -> Iterator[tuple[int, float]]:
    """Wrong numbers that look like ``number``, with weights."""
    for shift, weight in _SHIFTS:
        if number + shift > 0:
            yield number + shift, weight
    swapped = int(str(number)[::-1])
    if swapped not in (number, 0) and len(str(swapped)) == len(str(number)):
        yield swapped, 1.0


def near_miss(rng: random.Random, number: int) -> int:
    """A wrong number that looks like ``number``."""
    numbers, weights = zip(*_near(number), strict=True)
    return int(rng.choices(numbers, weights)[0])


def _calculation(eq: Equation) -> Iterator[Weighted]:
    """Another result."""
    for wrong, weight in _near(eq.result):
        yield weight, replace(eq, result=wrong)


def _substitution(eq: Equation) -> Iterator[Weighted]:
    """Another number on the left, most often the last one."""
    last = len(eq.numbers) - 1
    for place, number in enumerate(eq.numbers):
        for wrong, weight in _near(number):
            numbers = (*eq.numbers[:place], wrong, *eq.numbers[place + 1 :])
            yield weight * (4.0 if place == last else 1.0), replace(eq, numbers=numbers)


def _omission(eq: Equation) -> Iterator[Weighted]:
    """One term less, most often the last one; at least two remain, or no calculation would."""
    if len(eq.numbers) < 3:
        return
    last = len(eq.numbers) - 1
    for place in range(len(eq.numbers)):
        sign = max(place - 1, 0)
        numbers = eq.numbers[:place] + eq.numbers[place + 1 :]
        yield 4.0 if place == last else 1.0, replace(eq, numbers=numbers, ops=eq.ops[:sign] + eq.ops[sign + 1 :])


def _operator(eq: Equation) -> Iterator[Weighted]:
    """Another sign, most often the last one's opposite."""
    for place, op in enumerate(eq.ops):
        for sign, weight in _SIGNS[op]:
            ops = (*eq.ops[:place], sign, *eq.ops[place + 1 :])
            yield weight * (4.0 if place == len(eq.ops) - 1 else 1.0), replace(eq, ops=ops)


def _order(eq: Equation) -> Iterator[Weighted]:
    """Two terms swapped, most often the first two."""
    for i, j in combinations(range(len(eq.numbers)), 2):
        numbers = list(eq.numbers)
        numbers[i], numbers[j] = numbers[j], numbers[i]
        yield 4.0 if (i, j) == (0, 1) else 1.0, replace(eq, numbers=tuple(numbers))


_KINDS: dict[str, Callable[[Equation], Iterator[Weighted]]] = {
    "calculation": _calculation,
    "substitution": _substitution,
    "omission": _omission,
    "operator": _operator,
    "order": _order,
}
KINDS = tuple(_KINDS)


def false_edits(eq: Equation, kind: str) -> list[Weighted]:
    """All false edits of a kind with weights; empty where the kind has none, as swapping the terms of a sum."""
    return [(weight, edited) for weight, edited in _KINDS[kind](eq) if not edited.true]


def draw_edit(rng: random.Random, eq: Equation, kind: str) -> Equation | None:
    """One false edit, None where the kind has none."""
    choices = false_edits(eq, kind)
    if not choices:
        return None
    return rng.choices([edited for _, edited in choices], [weight for weight, _ in choices])[0]
