"""Requests that depend on an answer: asked as soon as an engine can, so that no batch ends in rounds of a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.engines.base import Completion, GenerationRequest

FollowUp = Callable[[int, Completion], GenerationRequest | None]
"""Told a request's index and its completion, what to ask next in its place, or None.

For requests of one completion each. Called once for every completion, perhaps from another thread, never from two at
once; it must not wait for anything.
"""


def in_rounds(
    ask: Callable[[Sequence[GenerationRequest]], list[list[Completion]]],
    requests: Sequence[GenerationRequest],
    follow_up: FollowUp | None,
) -> list[list[Completion]]:
    """For engines that take a batch and give it back whole: what follows from its answers makes the next batch.

    The last completions of each request.
    """
    # A round ends when its slowest request does; engines that take requests one by one do without rounds.
    results: list[list[Completion]] = [[] for _ in requests]
    waiting = dict(enumerate(requests))
    while waiting:
        answers = ask(list(waiting.values()))
        asked, waiting = waiting, {}
        for at, answer in zip(asked, answers, strict=True):
            results[at] = answer
            following = None if follow_up is None else follow_up(at, answer[0])
            if following is not None:
                waiting[at] = following
    return results
