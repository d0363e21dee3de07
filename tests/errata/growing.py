"""How the time of a function grows with its text: measured so that a busy machine cannot turn the answer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

_ATTEMPTS = 6
_FLOOR = 0.2  # seconds of CPU: below it a clock tells more about the machine than about growth


def _seconds(function: Callable[[str], object], text: str, repeats: int) -> float:
    found = []
    for _ in range(repeats):
        start = time.thread_time()
        function(text)
        found.append(time.thread_time() - start)
    return min(found)


def grows_linearly(function: Callable[[str], object], texts: Sequence[str]) -> bool:
    """Whether the time for the last of two or more texts is near-linear in their lengths.

    A quadratic function takes, at every attempt, the square of the ratio of lengths; noise only ever adds. So one
    attempt within halfway between (in ratios) shows near-linear growth, and a slow machine costs attempts and never
    the answer. Python's collector, whose cost grows with all that the process holds, is off meanwhile.
    """
    gc.collect()
    gc.disable()
    try:
        best = _seconds(function, texts[-1], 1)
        for _ in range(_ATTEMPTS):
            if best < _FLOOR:
                return True
            # The shorter text's largest time is as noisy upwards as the longer one's least is not: take least of both.
            small = _seconds(function, texts[0], 3)
            ratio = len(texts[-1]) / len(texts[0])
            if best < ratio**1.5 * small + 0.1:
                return True
            best = min(best, _seconds(function, texts[-1], 1))
        return False
    finally:
        gc.enable()
