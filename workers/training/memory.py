"""Sizes of what a model's training writes, and telling a lack of memory from other errors."""

from __future__ import annotations

from typing import Any

import torch

from workers.training.config import TrainingConfig

_MOMENTS = 2  # of AdamW, in the parameter's own type


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA raises a class of its own; on CPU the allocator raises a plain RuntimeError."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)


def written_bytes(model: Any, config: TrainingConfig) -> tuple[int, int]:
    """Bytes of a checkpoint (weights or adapter, and the optimizer's state) and of the finished model."""
    weights = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    if config.lora is None:
        return sum(weights.values()) + _MOMENTS * trained, sum(weights.values())
    whole = sum(weights.values())
    if config.lora.quantize_4bit:  # the adapter is merged into the weights as they were before
        whole = int(model.num_parameters() * getattr(torch, config.dtype).itemsize)
    return (1 + _MOMENTS) * trained, whole if config.lora.merge else trained
