"""Where the tokens of a micro-batch stand: trees in rows, every shared prefix once. NumPy alone, free of torch.

The sequences of a problem's pairs form a tree over token ids: the question, the chosen solution as the trunk, and the
branches. Sorted sequences laid out one after another, each without what it shares with the one before, *are* that tree
in depth-first order. So one number per token, the end of its subtree, holds the whole attention mask: token q sees
token k exactly if ``k <= q < end[k]``. A position id is a token's depth. Trees standing side by side in one row do not
see each other, for the same reason. Completions are numbered 2 p (chosen) and 2 p + 1 (rejected) for pair p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workers.training.run.data import Pair

Ints = NDArray[np.int64]
Packing = Literal["tree", "pairs"]


@dataclass(slots=True)
class Row:
    """Sequences laid out as one row, in order of tokens."""

    tokens: Ints
    depths: Ints
    ends: Ints
    parents: Ints
    paths: dict[int, Ints]  # completion -> positions of its whole sequence


def layout(pairs: Sequence[Pair], packing: Packing, row_tokens: int | None = None) -> list[Row]:
    """Rows of a micro-batch: trees in rows of at most ``row_tokens`` (or the longest tree), or plain sequences."""
    sequences = {}
    groups: dict[object, list[int]] = {}
    for index, pair in enumerate(pairs):
        for side, ids in enumerate((pair.chosen_ids, pair.rejected_ids)):
            if ids:
                completion = 2 * index + side
                sequences[completion] = np.array(pair.prompt_ids + ids, dtype=np.int64)
                groups.setdefault(pair.problem_id if packing == "tree" else completion, []).append(completion)
    if packing == "tree":
        return [_lay_out(sequences, row) for row in _bins(sequences, list(groups.values()), row_tokens)]
    return [_lay_out(sequences, row) for row in groups.values()]


def tree_tokens(pairs: Sequence[Pair]) -> int:
    """Tokens of the tree that these pairs of one problem form."""
    sides = [pair.prompt_ids + ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids) if ids]
    sequences = {at: np.array(ids, dtype=np.int64) for at, ids in enumerate(sides)}
    return len(_lay_out(sequences, list(sequences)).tokens)


def common_start(a: Ints, b: Ints) -> int:
    """Length of the longest common start."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size


def divergence(pair: Pair) -> tuple[int, int]:
    """Tokens of the sides' common start and, behind it, of their common end; the error lies between."""
    chosen, rejected = np.array(pair.chosen_ids, np.int64), np.array(pair.rejected_ids, np.int64)
    start = common_start(chosen, rejected)
    return start, common_start(chosen[start:][::-1], rejected[start:][::-1])


def _lay_out(sequences: dict[int, Ints], members: Sequence[int]) -> Row:
    # Sorted, a sequence shares with the one before it all that it shares with any: depth-first order of the tree.
    order = sorted(members, key=lambda c: sequences[c].tolist())
    total = sum(len(sequences[c]) for c in order)
    tokens, depths, ends, parents = (np.empty(total, dtype=np.int64) for _ in range(4))
    paths: dict[int, Ints] = {}
    last, path, size = np.empty(0, np.int64), np.empty(0, np.int64), 0
    for completion in order:
        ids = sequences[completion]
        shared = common_start(last, ids)
        ends[path[shared:]] = size  # the subtrees that this sequence leaves are complete
        # Only what is not shared takes new positions; the path runs through the shared ones.
        new = np.arange(size, size + len(ids) - shared)
        path = np.concatenate([path[:shared], new])
        tokens[new], depths[new] = ids[shared:], np.arange(shared, len(ids))
        # A token is predicted by the one before it in its own sequence, which need not stand next to it in the row.
        parents[new] = np.concatenate([[-1], path])[depths[new]]
        paths[completion], last, size = path, ids, size + len(new)
    ends[path] = size
    return Row(tokens[:size], depths[:size], ends[:size], parents[:size], paths)


def _bins(sequences: dict[int, Ints], trees: list[list[int]], row_tokens: int | None) -> list[list[int]]:
    """First fit, largest first: rows hold whole trees, and none is longer than the budget or the largest tree."""
    sizes = [len(_lay_out(sequences, tree).tokens) for tree in trees]
    capacity = max(max(sizes), row_tokens or 0)
    bins: list[tuple[int, list[int]]] = []
    for at in sorted(range(len(trees)), key=lambda at: -sizes[at]):
        for b, (used, members) in enumerate(bins):
            if used + sizes[at] <= capacity:
                bins[b] = (used + sizes[at], members + trees[at])
                break
        else:
            bins.append((sizes[at], list(trees[at])))
    return [members for _, members in bins]
