"""The order of the data: a pure function of (seed, epoch), so that a run resumes anywhere by counting steps.

Every optimizer step is given whole here: which pairs, in which order. How they are cut into micro-batches and rows
changes memory and speed, never the batch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from workers.training.config import TrainingConfig
from workers.training.data import Pair


class Plan:
    """Optimizer batches of a run. Batches of one epoch differ by at most one pair in size; no pair is left over."""

    def __init__(self, pairs: Sequence[Pair], config: TrainingConfig) -> None:
        self._count = len(pairs)
        self._config = config
        groups: dict[str, list[int]] = {}
        for index, pair in enumerate(pairs):
            groups.setdefault(pair.problem_id if config.grouping == "problem" else str(index), []).append(index)
        self._groups = list(groups.values())
        self.steps_per_epoch = max(-(-self._count // config.batch_size), 1)
        total = self.steps_per_epoch * config.epochs
        self.total_steps = min(total, config.max_steps) if config.max_steps else total
        self._order = lru_cache(maxsize=2)(self._order_of)

    def batch(self, step: int) -> list[int]:
        """Indices of the pairs of optimizer step ``step``, counted from 0 over all epochs."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        start = at * self._count // self.steps_per_epoch
        stop = (at + 1) * self._count // self.steps_per_epoch
        return order[start:stop]

    def _order_of(self, epoch: int) -> list[int]:
        groups = list(self._groups)
        random.Random(f"{self._config.seed}/{epoch}").shuffle(groups)
        return [index for group in groups for index in group]


def micro_batches(indices: Sequence[int], pairs: Sequence[Pair], size: int, *, whole: bool) -> list[list[int]]:
    """Cut an optimizer batch into parts of at most ``size`` pairs, alike in length, so that little is padded.

    ``whole`` keeps the pairs of a problem in one part as far as they fit: together they are one tree. The order within
    a batch is free: a batch's loss is a sum over its pairs.
    """
    groups: dict[object, list[int]] = {}
    for index in indices:
        groups.setdefault(pairs[index].problem_id if whole else index, []).append(index)
    pieces = [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]
    pieces.sort(key=lambda piece: -max(_length(pairs[index]) for index in piece))
    parts: list[list[int]] = []
    for piece in pieces:
        if parts and len(parts[-1]) + len(piece) <= size:
            parts[-1].extend(piece)
        else:
            parts.append(list(piece))
    return parts


def _length(pair: Pair) -> int:
    return len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))
