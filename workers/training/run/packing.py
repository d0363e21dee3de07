"""Tree-packed batches: every shared prefix once, in one forward pass.

Rows are laid out by :mod:`workers.training.run.layout`; here they become tensors, with what is scored in them.

Axes: R rows of T tokens; M scored tokens (each once, however many completions hold it); K memberships of scored
tokens in completions; C = 2 P completions, chosen and rejected of pair p at 2 p and 2 p + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.run.data import Pair
from workers.training.run.layout import Packing, Row, divergence, layout


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
    member_divergent: Tensor  # [K] bool, the token lies between the sides' common start and common end, or in a span
    lengths: Tensor  # [C], scored tokens
    shared: bool  # whether rows are trees (else each row is one sequence)
    tokens: int  # without padding

    def to(self, device: torch.device | str) -> Packed:
        """A copy on ``device``."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            values[name] = value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        return Packed(**values)

    @property
    def completions(self) -> int:
        """C."""
        return len(self.lengths)


def pack(pairs: Sequence[Pair], packing: Packing, row_tokens: int | None = None) -> Packed:
    """Lay out a micro-batch: trees in rows of at most ``row_tokens`` (or the longest tree), or plain sequences."""
    return _assemble(pairs, layout(pairs, packing, row_tokens), shared=packing == "tree")


def _assemble(pairs: Sequence[Pair], rows: list[Row], *, shared: bool) -> Packed:
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
            pair = pairs[completion // 2]
            at = _scored(pair, completion % 2)
            scored = path[len(pair.prompt_ids) + at]
            lengths[completion] = len(scored)
            # Flat indices into [R, T]: of the scored tokens, and of the positions that predict them.
            nodes.append(r * width + scored)
            sources.append(r * width + row.parents[scored])
            completions.append(np.full(len(scored), completion))
            divergent.append(_divergent(pair, completion % 2, at))
    node, source = np.concatenate(nodes), np.concatenate(sources)
    # A token that several completions share is scored once, and counted in each of them.
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


def _scored(pair: Pair, side: int) -> NDArray[np.int64]:
    """Positions of one side's scored tokens, counted from the side's first token."""
    ids, spans = pair.sides[side]
    every = [(0, len(ids))] if spans is None else spans
    at = np.concatenate([np.arange(start, stop) for start, stop in every] or [np.empty(0, np.int64)])
    return at if pair.prompt_ids else at[at > 0]  # nothing predicts the first token


def _divergent(pair: Pair, side: int, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of one side's scored tokens lie between the common start and the common end of both sides.

    Where only differing tokens are scored, all of them: they are the error.
    """
    ids, spans = pair.sides[side]
    if spans is not None:
        return np.ones(len(at), np.bool_)
    start, end = divergence(pair)
    return (at >= start) & (at < len(ids) - end)
