"""Passes without gradients: reference log-probabilities, and the loss on the held-out split.

Reference log-probabilities are computed once per (model, ids, precision), stored, and reused by later runs. Their
fingerprint covers the model's files and every token id, so it covers tokenizer, template and data too; and how the
weights are held and computed with. It does not cover the device or the versions of what computes.

Held-out pairs are not trained on. They are scored as in training, the whole split as one batch.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.folders import Damaged, verify, write_folder
from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, Progress
from workers.training.run.batches import micro_batches
from workers.training.run.data import Pair
from workers.training.run.loading import autocast, load_dtype
from workers.training.run.objective import FigureRow, count, summarize
from workers.training.run.packing import pack
from workers.training.run.scoring import completion_logps, evaluating, is_out_of_memory, micro_batch_loss

_FILE = "logps.safetensors"


def reference_fingerprint(model_fingerprint: str, pairs: Sequence[Pair], config: TrainingConfig) -> str:
    """SHA-256 (hex) of everything the reference log-probabilities depend on."""
    held = "4 bits" if config.lora and config.lora.quantize_4bit else "whole"
    computed = f"{load_dtype(config)} {held}, autocast {config.dtype}, {config.packing}"
    digest = hashlib.sha256(f"{model_fingerprint}\n{computed}\n".encode())
    for pair in pairs:
        for ids in (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids):
            digest.update(array("q", [len(ids), *ids]).tobytes())
        for _, spans in pair.sides:  # none where all is scored: those were stored before there were spans
            if spans is not None:
                digest.update(array("q", [-1, *(at for span in spans for at in span)]).tobytes())
    return digest.hexdigest()


def load_reference(folder: Path) -> Tensor | None:
    """[N, 2] chosen and rejected log-probabilities stored earlier; None when absent or damaged."""
    try:
        verify(folder)
    except Damaged:
        return None
    return load_file(folder / _FILE)["logps"]


def store_reference(folder: Path, logps: Tensor) -> None:
    """Store [N, 2] log-probabilities under their fingerprint's folder."""
    write_folder(folder, lambda at: save_file({"logps": logps.contiguous()}, at / _FILE), {"pairs": len(logps)})


def compute_reference(model: Any, pairs: Sequence[Pair], config: TrainingConfig, on_progress: Progress) -> Tensor:
    """Log-probabilities of both sides of every pair under ``model`` as it is, [N, 2] on CPU, float32.

    Out of memory, a pass is made again with half as many pairs. Raises CannotTrain when one pair alone is too large.
    """
    device = next(model.parameters()).device
    # By problem, so that its pairs meet in one tree; the result is put back in the order of ``pairs``.
    order = sorted(range(len(pairs)), key=lambda i: (pairs[i].problem_id, i))
    size = config.micro_batch * 2  # no backward pass: room for more
    result = torch.zeros(len(pairs), 2)
    at = 0
    while at < len(order):
        part = order[at : at + size]
        packed = pack([pairs[i] for i in part], config.packing, config.row_tokens).to(device)
        try:
            with evaluating(model), autocast(config, device):
                logps, _ = completion_logps(model, packed)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise CannotTrain(f"out of memory at a single pair ({packed.tokens} tokens): {error}") from error
            size //= 2
            continue
        # Completions alternate, chosen and rejected: [2 P] is [P, 2].
        result[part] = logps.float().cpu().view(-1, 2)
        at += len(part)
        on_progress(at, len(order))
    return result


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pairs of the held-out split and their reference log-probabilities, [N, 2] (None but for dpo)."""

    pairs: Sequence[Pair]
    reference: Tensor | None


def held_out_figures(model: Any, held_out: HeldOut, config: TrainingConfig, on_progress: Progress) -> dict[str, Any]:
    """``loss`` and the figures of a step. ``config`` holds the packing and the micro-batch in use."""
    pairs, counts = held_out.pairs, count(held_out.pairs, config)
    total, done = 0.0, 0
    rows: list[FigureRow] = []
    for part in micro_batches(range(len(pairs)), pairs, config.micro_batch, whole=config.packing == "tree"):
        reference = None if held_out.reference is None else held_out.reference[part]
        with evaluating(model):
            loss, part_rows, _ = micro_batch_loss(model, [pairs[i] for i in part], reference, counts, config)
        total, rows, done = total + float(loss), rows + part_rows, done + len(part)
        on_progress(done, len(pairs))
    return {"loss": total, **summarize(rows)}
