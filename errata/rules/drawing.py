"""In which order a kind's proposals are looked at: as they come, or drawn by weight."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import islice
from typing import Protocol, TypeVar

_MOST_PROPOSED = 400  # of one step and kind: enough to choose among, bounded work


class Weighted(Protocol):
    """Anything that says how often it is to be drawn."""

    @property
    def weight(self) -> float:
        """Above 0; relative to the other proposals."""


Item = TypeVar("Item", bound=Weighted)


def in_order(proposals: Iterable[Item], rng: random.Random | None) -> Iterable[Item]:
    """The proposals as they come, or in an order drawn by weight.

    Whichever of them turn out to be usable, the first of these is drawn in proportion to its weight: so nobody need
    check them all to draw one (Efraimidis and Spirakis, 2006).
    """
    if rng is None:
        return islice(proposals, _MOST_PROPOSED)
    keyed = [(rng.random() ** (1 / item.weight), item) for item in islice(proposals, _MOST_PROPOSED)]
    return [item for _, item in sorted(keyed, key=lambda pair: -pair[0])]
