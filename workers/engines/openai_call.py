"""One call of the ``openai`` engine: what its requests share, and who is told of their streams."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from workers.engines.base import Completion, Hear
from workers.engines.follow_ups import FollowUp
from workers.engines.joints import without_held_back
from workers.engines.meter import Meter, SoFar
from workers.engines.openai_wire import Unit, text_so_far


@dataclass
class Call:
    """One call of ``generate``: what its requests share."""

    retried: Counter[str]
    follow_up: FollowUp | None
    meter: Meter
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    streaming: bool = False  # one of its requests is
    hear: Hear | None = None
    cancelled: Callable[[], bool] = lambda: False  # asked between the steps of a call that is made in several
    _counts: dict[tuple[int, int], int] = field(default_factory=dict)  # tokens so far of units that somebody hears

    def watched(self, unit: Unit, held: str = "") -> Unit:
        """The unit, asked for as a stream if no other one is: so the call's meter moves before any of them ends.

        All of them are where somebody listens; ``held`` are the spaces that their texts do not begin with.
        """
        if self.hear is not None:
            return replace(unit, tell=partial(self._count, unit), hear=partial(self._heard, unit, held, self.hear))
        if self.streaming:
            return unit
        self.streaming = True
        limit = unit.request.max_tokens
        return replace(unit, tell=lambda tokens: self.meter.tell(SoFar(0, tokens, tokens / limit)))

    def ended(self, unit: Unit, answer: Sequence[Completion]) -> None:
        """This unit has its answer."""
        self._counts.pop((unit.index, unit.first), None)
        self.meter.add(answer)

    def _count(self, unit: Unit, tokens: int) -> None:
        self._counts[unit.index, unit.first] = tokens
        self.meter.tell(SoFar(0, sum(self._counts.values())))

    @staticmethod
    def _heard(unit: Unit, held: str, hear: Hear, choices: Sequence[dict[str, Any]]) -> None:
        samples = ((unit.first + int(choice.get("index") or 0), text_so_far(choice)) for choice in choices)
        hear([(unit.index, sample, without_held_back(text, held)) for sample, text in samples])
