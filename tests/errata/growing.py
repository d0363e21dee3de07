"""How the time of a function grows with its text: measured so that a busy machine cannot turn the answer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

_ATTEMPTS = 6
_FLOOR = 0.08  # seconds of CPU: below it a clock tells more about the machine than about growth


def _seconds(function: Callable[[str], object], text: str, repeats: int) -> float:
    found = []
    for _ in range(repeats):
        start = time.thread_time()
        function(text)
        found.append(time.thread_time() - start)
    return min(found)


def grows_linearly(function: Callable[[str], object], texts: Sequence[str]) -> bool:
    """Whether the time for each of two or more texts, the first the shortest, is near-linear in their lengths.

    A quadratic function takes, at every attempt, the square of the ratio of lengths; noise only ever adds. So one
    attempt within halfway between (in ratios) shows near-linear growth, and a slow machine costs attempts and never
    the answer. Python's collector, whose cost grows with all that the process holds, is off meanwhile.
    """
    gc.disable()
    try:
        # A reader may stop at a cap: the text in the middle shows growth that the longest would not.
        return all(_near_linear(function, texts[0], longer) for longer in reversed(texts[1:]))
    finally:
        gc.enable()


def _near_linear(function: Callable[[str], object], shorter: str, longer: str) -> bool:
    best = _seconds(function, longer, 1)
    for attempt in range(_ATTEMPTS):
        if best < _FLOOR:
            return True
        # The shorter text's largest time is as noisy upwards as the longer one's least is not: take least of both.
        small = _seconds(function, shorter, 3 if attempt else 1)
        if best < (len(longer) / len(shorter)) ** 1.5 * small + _FLOOR / 2:
            return True
        best = min(best, _seconds(function, longer, 1))
    return False
