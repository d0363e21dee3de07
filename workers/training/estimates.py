"""Memory, disk and time of a run, estimated from files alone. Orders of magnitude, not promises. Free of torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from workers.training.config import TrainingConfig
from workers.training.disk import copies

_FLOPS_PER_PARAMETER = 6.0  # of one trained token: forward 2, backward 4
_REFERENCE_FLOPS = 2.0  # of one token of the reference pass
CPU_FLOPS_PER_CORE = 2e10  # float32, sustained by small models
GPU_FLOPS = 1e14  # bfloat16, sustained by one large GPU
_ACTIVATION_FLOATS = 20.0  # kept per token, layer and hidden unit for the backward pass


def parameter_count(folder: Path) -> int:
    """Parameters of a model folder, read from the headers of its safetensors files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    return total


def memory_bytes(folder: Path, config: TrainingConfig, tokens_per_pass: int) -> int:
    """Weights, gradients, optimizer and what one forward pass keeps."""
    parameters = parameter_count(folder)
    hidden, layers = _shape(folder)
    width = 4 if config.dtype == "float32" else 2
    if config.lora is None:
        fixed = 16 * parameters  # float32 weights and gradients, two moments
    else:
        frozen = parameters * width // (4 if config.lora.quantize_4bit else 1)
        fixed = frozen + 16 * _trained(folder, config)
    kept = hidden if config.gradient_checkpointing else _ACTIVATION_FLOATS * hidden
    return int(fixed + tokens_per_pass * layers * kept * width)


def disk_bytes(folder: Path, config: TrainingConfig) -> int:
    """Checkpoints that stand side by side at most, and the result."""
    trained, parameters = _trained(folder, config), parameter_count(folder)
    merged = config.lora is None or config.lora.merge
    width = 4 if config.lora is None or config.dtype == "float32" else 2
    return copies(config) * 12 * trained + (width * parameters if merged else 4 * trained)


def _shape(folder: Path) -> tuple[int, int]:
    """Hidden units and layers."""
    shape: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = shape.get("text_config", shape)
    return int(shape.get("hidden_size", 0)), int(shape.get("num_hidden_layers", 0))


def _trained(folder: Path, config: TrainingConfig) -> int:
    if config.lora is None:
        return parameter_count(folder)
    hidden, layers = _shape(folder)
    return 2 * config.lora.r * hidden * 7 * layers  # about: seven projections per layer


def run_seconds(parameters: int, trained_tokens: float, reference_tokens: float, flops_per_second: float) -> float:
    """All steps and the reference pass over that many tokens."""
    work = parameters * (_FLOPS_PER_PARAMETER * trained_tokens + _REFERENCE_FLOPS * reference_tokens)
    return work / flops_per_second
