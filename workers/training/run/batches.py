"""The order of the data: a pure function of (seed, epoch), so that a run resumes anywhere by counting steps.

Every optimizer step is given whole here: which pairs, in which order. How they are cut into micro-batches and rows
changes memory and speed, never the batch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache

from workers.training.config import TrainingConfig
from workers.training.run.data import Pair

MAX_PADDING = 0.1
CPU_PADDING = 0.02  # a processor gains nothing from rows that stand side by side, so that padding is only lost


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
        # Cut evenly, not every ``batch_size`` pairs: a short last batch would weigh its pairs more than the others.
        start = at * self._count // self.steps_per_epoch
        stop = (at + 1) * self._count // self.steps_per_epoch
        return order[start:stop]

    def _order_of(self, epoch: int) -> list[int]:
        groups = list(self._groups)
        # A generator of the epoch's own: the order must not depend on what was drawn before a resume.
        random.Random(f"{self._config.seed}/{epoch}").shuffle(groups)
        return [index for group in groups for index in group]


def micro_batches(
    indices: Sequence[int],
    pairs: Sequence[Pair],
    size: int,
    *,
    whole: bool,
    tokens_of: Callable[[tuple[int, ...]], int] | None = None,
    max_padding: float = MAX_PADDING,
) -> list[list[int]]:
    """Cut an optimizer batch into parts of at most ``size`` pairs, alike in length, so that little is padded.

    ``whole`` keeps the pairs of a problem in one part as far as they fit: together they are one tree, of ``tokens_of``
    tokens. A part ends where one more row would leave more than ``max_padding`` of it padding. The order within a batch
    is free: a batch's loss is a sum over its pairs.
    """
    groups: dict[object, list[int]] = {}
    for index in indices:
        groups.setdefault(pairs[index].problem_id if whole else index, []).append(index)
    pieces = [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]
    sized = [(tokens_of(tuple(piece)) if tokens_of else _length(pairs, piece), piece) for piece in pieces]
    sized.sort(key=lambda entry: -entry[0])  # stable: ties keep the plan's order
    parts: list[list[int]] = []
    longest = used = rows = 0
    for tokens, piece in sized:
        # Longest first, so a part's first piece sets its width and all that follow are padded to it.
        padded = longest * (rows + 1)
        if parts and len(parts[-1]) + len(piece) <= size and padded - used - tokens <= max_padding * padded:
            parts[-1].extend(piece)
            used, rows = used + tokens, rows + 1
        else:
            parts.append(list(piece))
            longest, used, rows = tokens, tokens, 1
    return parts


def _length(pairs: Sequence[Pair], piece: Sequence[int]) -> int:
    return max(len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) for p in (pairs[i] for i in piece))


def passes_of_rank(
    indices: Sequence[int], world: int, rank: int, cut: Callable[[Sequence[int]], list[list[int]]], *, equal: bool
) -> list[tuple[Sequence[int], float]]:
    """The micro-batches of process ``rank`` of ``world``, and what each weighs.

    With ``equal`` (a sharded model) every process makes as many passes as the busiest; else at least one.
    """
    size = len(indices)
    # In every pass of a sharded model all processes gather its weights: one that made fewer would leave others waiting.
    parts = [cut(indices[at * size // world : (at + 1) * size // world]) for at in range(world)]
    needed = max(map(len, parts)) if equal else 1
    # Wrappers average gradients over processes where our shares add up: a share weighs ``world``. A pass made only
    # because the others make one weighs nothing.
    own: list[tuple[Sequence[int], float]] = [(part, float(world)) for part in parts[rank]]
    return own + [(indices[:1], 0.0)] * (needed - len(own))
