"""Weights, gradients and optimizer sharded over the processes of a run: PyTorch's FSDP 2, whole again on disk.

What is written is what one process alone writes, so a checkpoint resumes in any number of processes, sharded or not.
Every function here that touches a sharded tensor is a collective: each process of the run calls it, or all wait.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, patch_environment
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from workers.training.protocol import SHARDING_VARIABLE, CannotTrain


def sharding_options() -> dict[str, Any] | None:
    """How the launcher wants this run sharded, or None: whole weights in every process."""
    text = os.environ.get(SHARDING_VARIABLE)
    return dict(json.loads(text)) if text else None


@contextlib.contextmanager
def weights_read_once() -> Iterator[None]:
    """Within it transformers reads a model's weights in each host's first process only, where the run is sharded.

    The others get their shards from the first of all in :func:`shard`; until then their weights have no data.
    """
    if sharding_options() is None:
        yield
        return
    PartialState()  # transformers asks the process group for the rank
    with patch_environment(ACCELERATE_USE_FSDP="true", FSDP_CPU_RAM_EFFICIENT_LOADING="true"):
        yield


def shard(accelerator: Any, model: Any, options: dict[str, Any]) -> None:
    """Shard ``model`` in place, a group per decoder layer.

    No mixed-precision policy: autocast works on float32 weights, as in one process, so that the numbers are the same.
    Raises CannotTrain for weights in 4 bits.
    """
    if any(type(parameter).__name__ == "Params4bit" for parameter in model.parameters()):
        raise CannotTrain("weights in 4 bits cannot be sharded: leave lora.quantize_4bit off, or train with 'ddp'")
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=True, **options
    )
    fsdp2_prepare_model(accelerator, model)


def reshard(model: Any) -> None:
    """Free what a pass without gradients left gathered (the last group), so that parameters are shards again."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def gathered(value: Any) -> Any:
    """A sharded tensor made whole, and anything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered_weights(model: Any) -> dict[str, Tensor]:
    """Weights by name on the CPU of the first process, empty in the others; of a model with an adapter, the adapter."""
    reshard(model)
    options = StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=isinstance(model, PeftModel)
    )
    weights: dict[str, Any] = dict(get_model_state_dict(model, options=options))
    for tied in getattr(model, "all_tied_weights_keys", None) or ():
        weights.pop(tied, None)  # gathered, it is a copy; transformers would write it
    return weights


def load_weights(model: Any, folder: Path) -> None:
    """Read the weights, or the adapter, that a checkpoint's folder holds, one tensor at a time.

    Raises ValueError when they are not this model's.
    """
    reshard(model)
    into = get_peft_model_state_dict(model) if isinstance(model, PeftModel) else model.state_dict()
    missing = set(into) - set(getattr(model, "all_tied_weights_keys", None) or ())
    for path in sorted(folder.glob("*model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                if name not in into:
                    raise ValueError(f"{path.name} holds {name}, which the model has not")
                into[name].copy_(sharded_like(into[name], file.get_tensor(name)))
                missing.discard(name)
    if missing:
        raise ValueError(f"{folder.name} lacks {', '.join(sorted(missing)[:3])}")


def sharded_like(target: Tensor, value: Tensor) -> Tensor:
    """``value``, sharded as ``target`` is where the shapes agree (the optimizer's step count is a scalar)."""
    if not isinstance(target, DTensor) or value.shape != target.shape:
        return value
    here = value.to(device=target.device, dtype=target.dtype)
    # Every process has read the whole tensor: each cuts its own shard, and nothing is sent.
    return distribute_tensor(here, target.device_mesh, target.placements, src_data_rank=None)
