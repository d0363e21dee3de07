"""A trainer's state besides the weights, as safetensors and JSON: optimizer, scheduler, every random generator.

Nothing here is ever pickled, so nothing can be unpickled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.training.sharding import like, whole

_OPTIMIZER, _STATE, _RNG = "optimizer.safetensors", "state.json", "random.safetensors"


def optimizer_state(optimizer: Any, *, keep: bool = True) -> dict[str, Any]:
    """The optimizer's state with whole tensors on CPU; where it is sharded every process must ask, and one keeps it."""
    state: dict[str, Any] = optimizer.state_dict()
    kept: dict[int, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            gathered = whole(value)
            if keep:
                kept.setdefault(index, {})[name] = gathered.cpu() if isinstance(gathered, Tensor) else gathered
    return {**state, "state": kept}


def save_optimizer(folder: Path, state: Mapping[str, Any], scheduler: Any) -> None:
    """Write an :func:`optimizer_state` and the scheduler's; tensors are keyed ``parameter index.name``."""
    tensors, plain = {}, {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            key = f"{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value.detach().contiguous()
            else:
                plain[key] = value
    save_file(tensors, folder / _OPTIMIZER)
    text = json.dumps({"groups": state["param_groups"], "plain": plain, "scheduler": scheduler.state_dict()})
    (folder / _STATE).write_text(text, encoding="utf-8")


def load_optimizer(folder: Path, optimizer: Any, scheduler: Any) -> None:
    """Restore what :func:`save_optimizer` wrote, sharded as the optimizer's parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    saved = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*load_file(folder / _OPTIMIZER).items(), *saved["plain"].items()]:
        index, name = key.split(".", 1)
        value = like(parameters[int(index)], value) if isinstance(value, Tensor) else value
        state.setdefault(int(index), {})[name] = value
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in saved["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    scheduler.load_state_dict(saved["scheduler"])


RandomState = tuple[dict[str, Tensor], dict[str, Any]]  # tensors, and what JSON holds


def random_state() -> RandomState:
    """The states of Python's, NumPy's and torch's generators (CPU and every GPU) of this process."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(numpy_state[1].astype(np.int64)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    plain = {
        "python": [version, gauss],
        "numpy": [numpy_state[0], int(numpy_state[2]), int(numpy_state[3]), float(numpy_state[4])],
    }
    return tensors, plain


def save_random(folder: Path, states: Sequence[RandomState]) -> None:
    """Write the states of all processes, in order of their rank."""
    for rank, (tensors, plain) in enumerate(states):
        save_file(tensors, folder / f"{rank}.{_RNG}")
        (folder / f"{rank}.random.json").write_text(json.dumps(plain), encoding="utf-8")


def load_random(folder: Path, rank: int = 0) -> None:
    """Restore what :func:`save_random` wrote; a process that was not there then starts as the first one did."""
    if not (folder / f"{rank}.{_RNG}").exists():
        rank = 0
    tensors = load_file(folder / f"{rank}.{_RNG}")
    plain = json.loads((folder / f"{rank}.random.json").read_text(encoding="utf-8"))
    version, gauss = plain["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    kind, position, has_gauss, cached = plain["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    cuda = [tensors[key] for key in sorted(tensors) if key.startswith("cuda.")]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
