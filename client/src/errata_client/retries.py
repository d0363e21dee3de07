"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Mapping

_RETRIED = frozenset({429, 502, 503, 504})
_LONGEST_WAIT = 30.0  # seconds, whatever Retry-After says


def retried(status: int) -> bool:
    """Whether an answer of this status may be another one soon."""
    return status in _RETRIED


def far_off(headers: Mapping[str, str]) -> bool:
    """Whether the service says that trying soon is no use, as for a quota of the day."""
    told = headers.get("retry-after", "")
    return told.isdecimal() and float(told) > _LONGEST_WAIT


def pause(attempt: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait: what the service asks for, else doubling from 0.2 with jitter."""
    told = (headers or {}).get("retry-after", "")
    if told.isdecimal():
        return min(float(told), _LONGEST_WAIT)
    return min(0.2 * 2.0**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1.0)
