"""Which tokens of a pair are scored: all of both sides, or the runs of ids in which they differ. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

Spans = tuple[tuple[int, int], ...]
"""Half-open ranges of token positions in one side, in order, none empty, none touching the next."""


def differing_spans(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[Spans, Spans]:
    """The runs of differing ids of two sides, aligned by their longest common blocks (difflib).

    A run may be empty on one side, where the other only adds tokens. Then that side's token behind it is taken: it is
    what the model writes there instead. At the end of a side nothing stands behind, and the run stays empty. Equal
    sides have no spans.
    """
    # Without the heuristic for frequent tokens: ids of digits are frequent, and they are what differs.
    runs = SequenceMatcher(None, chosen, rejected, autojunk=False).get_opcodes()
    apart = [run for run in runs if run[0] != "equal"]
    sides = (
        [(start, _end(start, stop, len(chosen))) for _, start, stop, _, _ in apart],
        [(start, _end(start, stop, len(rejected))) for _, _, _, start, stop in apart],
    )
    return _joined(sides[0]), _joined(sides[1])


def _end(start: int, stop: int, length: int) -> int:
    return stop if stop > start else min(start + 1, length)


def _joined(spans: Sequence[tuple[int, int]]) -> Spans:
    """Without empty spans; spans that touch become one."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if start == stop:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return tuple(joined)


def within(spans: Spans | None, length: int) -> Spans | None:
    """What of the spans lies within the first ``length`` tokens; None, every token, stays None."""
    if spans is None:
        return None
    return tuple((start, min(stop, length)) for start, stop in spans if start < length)
