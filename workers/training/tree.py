"""Tree-packed batches: every shared prefix once, in one forward pass.

The sequences of a problem's pairs form a tree over token ids: the question, the chosen solution as the trunk, and the
branches. Sorted sequences laid out one after another, each without what it shares with the one before, *are* that tree
in depth-first order. So one number per token, the end of its subtree, holds the whole attention mask: token q sees
token k exactly if ``k <= q < end[k]``. A position id is a token's depth. Trees standing side by side in one row do not
see each other, for the same reason.

Axes: R rows of T tokens; M scored tokens (each once, however many completions hold it); K memberships of scored
tokens in completions; C = 2 P completions, chosen and rejected of pair p at 2 p and 2 p + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.data import Pair

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Packed:
    """A micro-batch ready for one forward pass."""

    input_ids: Tensor  # [R, T]
    position_ids: Tensor  # [R, T]
    ends: Tensor  # [R, T], end of each token's subtree in its row
    score_source: Tensor  # [M], flat index of the position that predicts the token
    score_target: Tensor  # [M], its id
    member_token: Tensor  # [K], index into M
    member_completion: Tensor  # [K], index into C
    member_divergent: Tensor  # [K] bool, the token lies between the sides' common start and common end
    lengths: Tensor  # [C], scored tokens
    shared: bool  # whether rows are trees (else each row is one sequence)
    tokens: int  # without padding

    def to(self, device: torch.device | str) -> Packed:
        """A copy on ``device``."""
        moved = {n: getattr(self, n).to(device, non_blocking=True) for n in _TENSORS}
        return Packed(**moved, shared=self.shared, tokens=self.tokens)

    @property
    def completions(self) -> int:
        """C."""
        return len(self.lengths)


_TENSORS = (
    "input_ids",
    "position_ids",
    "ends",
    "score_source",
    "score_target",
    "member_token",
    "member_completion",
    "member_divergent",
    "lengths",
)


@dataclass(slots=True)
class _Row:
    """Sequences laid out as one row, in order of tokens."""

    tokens: Ints
    depths: Ints
    ends: Ints
    parents: Ints
    paths: dict[int, Ints]  # completion -> positions of its whole sequence


def pack(pairs: Sequence[Pair], packing: Literal["tree", "pairs"], row_tokens: int | None = None) -> Packed:
    """Lay out a micro-batch: trees in rows of at most ``row_tokens`` (or the longest tree), or plain sequences."""
    sequences = {}
    groups: dict[object, list[int]] = {}
    for index, pair in enumerate(pairs):
        for side, ids in enumerate((pair.chosen_ids, pair.rejected_ids)):
            if ids:
                completion = 2 * index + side
                sequences[completion] = np.array(pair.prompt_ids + ids, dtype=np.int64)
                groups.setdefault(pair.problem_id if packing == "tree" else completion, []).append(completion)
    if packing == "tree":
        rows = [_lay_out(sequences, row) for row in _bins(sequences, list(groups.values()), row_tokens)]
    else:
        rows = [_lay_out(sequences, row) for row in groups.values()]
    return _assemble(pairs, rows, shared=packing == "tree")


def tree_tokens(pairs: Sequence[Pair]) -> int:
    """Tokens of the tree that these pairs of one problem form."""
    sides = [pair.prompt_ids + ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids) if ids]
    sequences = {at: np.array(ids, dtype=np.int64) for at, ids in enumerate(sides)}
    return len(_lay_out(sequences, list(sequences)).tokens)


def _common(a: Ints, b: Ints) -> int:
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size


def _lay_out(sequences: dict[int, Ints], members: Sequence[int]) -> _Row:
    order = sorted(members, key=lambda c: sequences[c].tolist())
    total = sum(len(sequences[c]) for c in order)
    tokens, depths, ends, parents = (np.empty(total, dtype=np.int64) for _ in range(4))
    paths: dict[int, Ints] = {}
    last, path, size = np.empty(0, np.int64), np.empty(0, np.int64), 0
    for completion in order:
        ids = sequences[completion]
        shared = _common(last, ids)
        ends[path[shared:]] = size  # these branches are complete
        new = np.arange(size, size + len(ids) - shared)
        path = np.concatenate([path[:shared], new])
        tokens[new], depths[new] = ids[shared:], np.arange(shared, len(ids))
        parents[new] = np.concatenate([[-1], path])[depths[new]]
        paths[completion], last, size = path, ids, size + len(new)
    ends[path] = size
    return _Row(tokens[:size], depths[:size], ends[:size], parents[:size], paths)


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


def _assemble(pairs: Sequence[Pair], rows: list[_Row], *, shared: bool) -> Packed:
    width = max(len(row.tokens) for row in rows)
    shape = (len(rows), width)
    ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    ends = np.broadcast_to(np.arange(1, width + 1), shape).copy()  # padding sees itself alone
    nodes, sources, completions, divergent = [], [], [], []
    lengths = np.zeros(2 * len(pairs), np.int64)
    for r, row in enumerate(rows):
        size = len(row.tokens)
        ids[r, :size], positions[r, :size], ends[r, :size] = row.tokens, row.depths, row.ends
        for completion, path in row.paths.items():
            scored = path[max(len(pairs[completion // 2].prompt_ids), 1) :]
            lengths[completion] = len(scored)
            nodes.append(r * width + scored)
            sources.append(r * width + row.parents[scored])
            completions.append(np.full(len(scored), completion))
            divergent.append(_divergent(pairs[completion // 2], completion % 2, len(scored)))
    node, source = np.concatenate(nodes), np.concatenate(sources)
    unique, first, member = np.unique(node, return_index=True, return_inverse=True)
    return Packed(
        input_ids=torch.from_numpy(ids),
        position_ids=torch.from_numpy(positions),
        ends=torch.from_numpy(ends),
        score_source=torch.from_numpy(source[first]),
        score_target=torch.from_numpy(ids.reshape(-1)[unique]),
        member_token=torch.from_numpy(member),
        member_completion=torch.from_numpy(np.concatenate(completions)),
        member_divergent=torch.from_numpy(np.concatenate(divergent)),
        lengths=torch.from_numpy(lengths),
        shared=shared,
        tokens=sum(len(row.tokens) for row in rows),
    )


def _divergent(pair: Pair, side: int, length: int) -> NDArray[np.bool_]:
    """Which tokens of one side lie between the common start and the common end of both sides."""
    chosen, rejected = np.array(pair.chosen_ids, np.int64), np.array(pair.rejected_ids, np.int64)
    start = _common(chosen, rejected)
    end = _common(chosen[start:][::-1], rejected[start:][::-1])
    at = np.arange(length)
    own = len(rejected) if side else len(chosen)
    return (at >= start) & (at < own - end)
