"""Sizes of what a model's training writes, and telling a lack of memory from other errors."""

from __future__ import annotations

from typing import Any

import torch

_MOMENTS = 2  # of AdamW, in the parameter's own type


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA raises a class of its own; on CPU the allocator raises a plain RuntimeError."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)


def saved_bytes(model: Any, *, adapter: bool) -> tuple[int, int]:
    """Bytes of a checkpoint (weights or adapter, and the optimizer's state) and of all weights together."""
    weights = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    trained = {id(p): p.numel() * p.element_size() for p in model.parameters() if p.requires_grad}
    kept = trained if adapter else weights
    return sum(kept.values()) + _MOMENTS * sum(trained.values()), sum(weights.values())
