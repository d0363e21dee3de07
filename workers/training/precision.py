"""The type a run computes in: one autocast for every pass, so that policy and reference are the same function.

Neither accelerate nor its environment variables have a part in it (workers.training.arguments).
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from workers.training.config import TrainingConfig
from workers.training.protocol import Refused


def autocast(config: TrainingConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Around each forward pass of a run, in one process or several: bfloat16 where ``dtype`` asks for it, else nothing.

    Casts are not cached: a pass uses each weight once, and a cache would hold all shards whole.
    """
    if config.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def require_precision(config: TrainingConfig, device: torch.device) -> None:
    """Raise Refused where ``device`` cannot compute in the run's ``dtype``. A processor can, slowly."""
    if config.dtype == "float32":
        return
    known = torch.amp.autocast_mode.is_autocast_available(device.type)
    if not known or (device.type == "cuda" and not torch.cuda.is_bf16_supported()):
        raise Refused(f"this trainer's device ({device.type}) has no bfloat16: set dtype to 'float32'")
