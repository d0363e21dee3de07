"""The held-out loss: the objective over pairs that are not trained on, as they are scored in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.training.config import TrainingConfig
from workers.training.data import Pair
from workers.training.figures import Row, pair_rows, summarize
from workers.training.objective import Counts, PairScores, count, rise_loss, sft_loss
from workers.training.plan import micro_batches
from workers.training.scoring import completion_logps
from workers.training.tree import Packed, pack


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pairs of the held-out split and their reference log-probabilities, [N, 2] (None for sft)."""

    pairs: Sequence[Pair]
    reference: Tensor | None


def batch_loss(
    logps: Tensor, packed: Packed, pairs: Sequence[Pair], reference: Tensor | None, counts: Counts,
    config: TrainingConfig, spans: Tensor,
) -> tuple[Tensor, list[Row]]:  # fmt: skip
    """The objective's share of a micro-batch and a row of figures per pair. ``reference`` is [P, 2], None for sft."""
    if config.objective == "sft":
        return sft_loss(logps[0::2], counts), []
    assert reference is not None
    reference = reference.to(logps.device)
    scores = PairScores(
        chosen=logps[0::2],
        rejected=logps[1::2],
        ref_chosen=reference[:, 0],
        ref_rejected=reference[:, 1],
        chosen_tokens=packed.lengths[0::2],
        rejected_tokens=packed.lengths[1::2],
        is_step=torch.tensor([pair.is_step for pair in pairs], device=logps.device),
    )
    outcome = rise_loss(scores, counts, config)
    return outcome.loss, pair_rows(pairs, outcome, spans.tolist())


@torch.no_grad()
def held_out_figures(
    model: Any,
    held_out: HeldOut,
    config: TrainingConfig,
    autocast: Callable[[], AbstractContextManager[Any]],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """``loss`` and the figures of a step, over the whole split as one batch. ``config.packing`` is what is used."""
    pairs, counts = held_out.pairs, count(held_out.pairs, config)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, done = 0.0, 0
    rows: list[Row] = []
    for part in micro_batches(range(len(pairs)), pairs, config.micro_batch, whole=config.packing == "tree"):
        chosen = [pairs[i] for i in part]
        packed = pack(chosen, config.packing, config.row_tokens).to(device)
        with autocast():
            logps, spans = completion_logps(model, packed)
        reference = None if held_out.reference is None else held_out.reference[part]
        loss, part_rows = batch_loss(logps, packed, chosen, reference, counts, config, spans)
        total, rows, done = total + float(loss), rows + part_rows, done + len(part)
        progress(done, len(pairs))
    model.train(was_training)
    return {"loss": total, **summarize(rows)}
