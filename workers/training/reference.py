"""Reference log-probabilities: computed once per (model, ids, precision), stored, and reused by later runs.

The fingerprint covers the model's files and every token id, so it covers tokenizer, template and data too; and how the
weights are held and computed with. It does not cover the device or the versions of what computes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.training.checkpoints import Damaged, verify, write_folder
from workers.training.config import TrainingConfig
from workers.training.data import Pair
from workers.training.loading import load_dtype
from workers.training.memory import is_out_of_memory
from workers.training.protocol import Refused
from workers.training.scoring import completion_logps
from workers.training.tree import pack

_FILE = "logps.safetensors"


def reference_fingerprint(model_fingerprint: str, pairs: Sequence[Pair], config: TrainingConfig) -> str:
    """SHA-256 (hex) of everything the reference log-probabilities depend on."""
    held = "4 bits" if config.lora and config.lora.quantize_4bit else "whole"
    computed = f"{load_dtype(config)} {held}, autocast {config.dtype}, {config.packing}"
    digest = hashlib.sha256(f"{model_fingerprint}\n{computed}\n".encode())
    for pair in pairs:
        for ids in (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids):
            digest.update(array("q", [len(ids), *ids]).tobytes())
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


@torch.no_grad()
def compute_reference(
    model: Any,
    pairs: Sequence[Pair],
    config: TrainingConfig,
    autocast: Callable[[], AbstractContextManager[Any]],
    progress: Callable[[int, int], None],
) -> Tensor:
    """Log-probabilities of both sides of every pair under ``model`` as it is, [N, 2] on CPU, float32.

    Out of memory, a pass is made again with half as many pairs. Raises Refused when one pair alone is too large.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(pairs)), key=lambda i: (pairs[i].problem_id, i))
    size = config.micro_batch * 2  # no backward pass: room for more
    result = torch.zeros(len(pairs), 2)
    was_training = model.training
    model.eval()
    at = 0
    while at < len(order):
        part = order[at : at + size]
        packed = pack([pairs[i] for i in part], config.packing, config.row_tokens).to(device)
        try:
            with autocast():
                logps, _ = completion_logps(model, packed)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise Refused(f"out of memory at a single pair ({packed.tokens} tokens): {error}") from error
            size //= 2
            continue
        result[part] = logps.float().cpu().view(-1, 2)
        at += len(part)
        progress(at, len(order))
    model.train(was_training)
    return result
