"""Unpaired rows made pairs: of one prompt, the first right completion with the first wrong one, and so on."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from errata.imports.rows import ImportedPair, ImportedSide
from errata.imports.turns import Ask


@dataclass
class Pairing:
    """Sides that wait for one of the other label, by prompt. Of a file only these are held."""

    _waiting: dict[tuple[Ask, str], deque[ImportedSide]] = field(default_factory=dict)

    def add(self, side: ImportedSide) -> ImportedPair | None:
        """The pair that a side completes; None while it waits."""
        key = side.ask, side.prefix
        waiting = self._waiting.get(key)
        # All that wait for one prompt have one label: the other would have met them.
        if not waiting or waiting[0].label == side.label:
            self._waiting.setdefault(key, deque()).append(side)
            return None
        other = waiting.popleft()
        if not waiting:
            del self._waiting[key]
        right, wrong = (side, other) if side.label else (other, side)
        return ImportedPair(side.ask, right.text, wrong.text, side.prefix, right.is_step and wrong.is_step)

    def left(self) -> dict[str, int]:
        """How many sides found none of the other label: ``right`` and ``wrong`` ones."""
        counts = Counter("right" if side.label else "wrong" for sides in self._waiting.values() for side in sides)
        return {name: counts[name] for name in ("right", "wrong")}
