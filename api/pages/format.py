"""Text for people: numbers, spans of time, settings, and model output made safe to look at. Pure.

Escaping is not done here: Jinja's autoescape does it for everything. What is done here is to make characters visible
that would otherwise act on the page's layout (direction overrides, control characters).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from errata.types import Reason

_SENTENCES: dict[str, str] = {str(reason): reason.sentence for reason in Reason}
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]")
MAX_TEXT = 20_000  # characters of one text shown on a page; the download has all of them


def visible(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` with control and direction characters written out, and cut at ``limit`` with a word about it."""
    shown = _ACTING.sub(lambda match: f"[U+{ord(match.group()):04X}]", text[:limit].replace("\r\n", "\n"))
    if len(text) > limit:
        shown += f"\n[… {number(len(text) - limit)} more characters]"
    return shown


def short(text: str, limit: int = 120) -> str:
    """A name for display: one line of at most ``limit`` characters."""
    shown = " ".join(visible(text[: 4 * limit]).split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def number(value: float | int | None) -> str:
    """Thousands separated by a thin space; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:,}".replace(",", "\u202f")


def percent(value: float | None, digits: int = 0) -> str:
    """A share between 0 and 1 as a percentage; never rounded up to 100 nor down to 0."""
    if value is None:
        return "–"
    shown = f"{100 * value:.{digits}f}"
    # "100 %" and "0 %" are promises: with one of ten thousand missing they would be false.
    if shown == f"{100:.{digits}f}" and value < 1:
        shown = f"{100 - 10.0**-digits:.{digits}f}"
    if float(shown) == 0 and value > 0:
        return f"<{10.0**-digits:.{digits}f} %"
    return f"{shown} %"


def decimal(value: float | None) -> str:
    """Four significant digits, as few as needed; a dash for nothing or for what is not a number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """A span of time in its two largest units: "42 s", "3 min 5 s", "2 h 10 min", "4 d 3 h"."""
    if seconds is None:
        return "–"
    total = max(0, round(seconds))
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            rest = total % size // below
            return f"{total // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{total} s"


def ago(then: datetime | None, now: datetime) -> str:
    """How long before ``now`` (the database's clock) something happened."""
    if then is None:
        return "–"
    seconds = (now - then).total_seconds()
    # The larger unit alone: nobody needs to know that a job is 3 days and 4 hours old.
    return "just now" if seconds < 5 else " ".join([*duration(seconds).split(" ")[:2], "ago"])


def size(count: int | None) -> str:
    """Bytes in the unit people read."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def words(name: str) -> str:
    """A machine name as words: ``no_equation`` -> "no equation"."""
    return name.replace("_", " ").replace("-", " ").strip()


def sentence(reason: str) -> str:
    """Why an input made no pair, as a sentence; an unknown reason is shown by its name."""
    return _SENTENCES.get(reason, words(reason).capitalize() + ".")


def plural(count: int, noun: str) -> str:
    """ "1 pair", "2 pairs": of nouns whose plural ends in s."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def as_number(value: Any) -> float | None:
    """A finite number of a JSON document; None for anything else, true and false included."""
    # bool is a subclass of int: without the test, true would be drawn as 1.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def as_share(value: Any) -> float | None:
    """A number from 0 to 1 of a JSON document; None for anything else."""
    found = as_number(value)
    return found if found is not None and 0 <= found <= 1 else None


def flat(values: Mapping[str, Any], prefix: str = "", limit: int = 40) -> list[tuple[str, str]]:
    """A nested configuration as (dotted name, value), unset values left out, at most ``limit``."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{name}.", limit)
        elif value is not None:
            found.append((prefix + name, _setting(value)))
    return found[:limit]


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)[:200]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:200]
