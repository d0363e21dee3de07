"""How the training process is launched: its command, and the operator's accelerate configuration, checked beforehand.

Free of torch: the daemon asks this when it starts. What is shipped stands in ``accelerate/`` and is known by its name.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workers.training.protocol import ADDRESS_VARIABLE, SHARDING_VARIABLE

FOLDER = Path(__file__).parents[1] / "accelerate"
# Of accelerate's ``fsdp_config``: what it stands for where it is left out, and the only value that is done here.
_FSDP: dict[str, tuple[Any, Any]] = {
    "fsdp_version": (1, 2),
    "fsdp_offload_params": (False, False),
    "fsdp_activation_checkpointing": (False, False),  # the gradient_checkpointing of a run decides
    "fsdp_auto_wrap_policy": ("TRANSFORMER_BASED_WRAP", "TRANSFORMER_BASED_WRAP"),
    "fsdp_transformer_layer_cls_to_wrap": (None, None),
}
_KNOWN = ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP")
_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",  # in launchers and every process of theirs: a SIGSEGV leaves its traceback in the log
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",
}


@dataclass(frozen=True, slots=True)
class Meeting:
    """How one host of several launches its part of a run. All but ``rank`` and ``own_address`` is the same in all.

    ``processes``: on each host. ``sharding``: None where each process holds whole weights.
    """

    hosts: int
    rank: int
    address: str
    port: int
    own_address: str
    processes: int
    on_cpu: bool
    sharding: dict[str, Any] | None


def command(
    accelerate_config: Path | None, threads: int, spec: Path, meeting: Meeting | None = None
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a run: plain, or under a launcher where the operator configured it.

    ``meeting``: what the hosts of a run agreed upon, in place of this host's own configuration.
    """
    arguments, environment = launcher(accelerate_config) if accelerate_config else ([], {})
    if meeting is not None:
        arguments, environment = _meeting(meeting)
    if threads:
        environment = {**environment, "OMP_NUM_THREADS": str(threads)}
    line = [sys.executable, *arguments, "-m", "workers.training.run", "--spec", str(spec)]
    return line, {**os.environ, **_ENVIRONMENT, **environment}


def shipped() -> list[str]:
    """Names of the configurations that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_file(setting: str) -> Path:
    """The file of a shipped name or of a path. Raises ValueError when there is none."""
    path = FOLDER / f"{setting}.yaml" if setting in shipped() else Path(setting)
    if not path.is_file():
        raise ValueError(f"there is no such file; give a path, or one of {', '.join(shipped())}")
    return path


def check(path: Path, gpus: int | None) -> None:
    """Raise ValueError when runs could not be launched with ``path`` on a host with that many GPUs (None: unknown)."""
    config = _read(path)
    kind = str(config.get("distributed_type", "NO"))
    if kind == "DEEPSPEED":
        raise ValueError(
            f"{path.name} shards the model by DeepSpeed, whose checkpoints are not written here: use 'fsdp', which"
            " shards the same (weights, gradients, optimizer)"
        )
    if kind not in _KNOWN:
        raise ValueError(f"{path.name} has the distributed_type {kind!r}; known are {', '.join(_KNOWN)}")
    if kind == "FSDP":
        _sharding(path, config)
    _one_machine_and_no_precision(path, config)
    here = _count(config, "num_processes")
    if not _on_cpu(config) and kind != "NO" and gpus is not None and here > gpus:
        raise ValueError(f"{path.name} wants {here} GPUs on this host, and there are {gpus}: set its num_processes")


def _one_machine_and_no_precision(path: Path, config: dict[str, Any]) -> None:
    if _count(config, "num_machines") > 1:
        raise ValueError(
            f"{path.name} has num_machines {config['num_machines']}, but each training job says how many it wants, in"
            " its own field `hosts`: set it to 1; num_processes are those of one host"
        )
    if config.get("mixed_precision", "no") not in ("no", False, None):  # an unquoted no is false
        raise ValueError(
            f"{path.name} has mixed_precision {config['mixed_precision']!r}, but a run's dtype decides: set it to 'no'"
        )


def launcher(path: Path) -> tuple[list[str], dict[str, str]]:
    """What stands before ``-m MODULE`` on the interpreter's command line, and what the environment needs.

    accelerate starts several processes on CPU through MPI only, and without it a single one; there torchrun does it.
    So it does where the model is sharded, which is done here and not by accelerate (workers.training.run.sharding).
    """
    config = _read(path)
    if not _on_cpu(config) and config.get("distributed_type") != "FSDP":
        return ["-m", "accelerate.commands.launch", "--config_file", str(path)], {}
    environment = {"ACCELERATE_USE_CPU": "true"} if _on_cpu(config) else {}
    if config.get("distributed_type") == "FSDP":
        environment[SHARDING_VARIABLE] = json.dumps(_sharding(path, config))
    processes = f"--nproc_per_node={_count(config, 'num_processes')}"
    return ["-m", "torch.distributed.run", processes, "--standalone"], environment


def processes_here(accelerate_config: Path | None) -> dict[str, Any]:
    """How this host would launch a run, as the fields of a :class:`Meeting`; without a file it is one process."""
    if accelerate_config is None:
        return {"processes": 1, "on_cpu": visible_gpus() == 0, "sharding": None}
    config = _read(accelerate_config)
    sharding = _sharding(accelerate_config, config) if config.get("distributed_type") == "FSDP" else None
    return {"processes": _count(config, "num_processes"), "on_cpu": _on_cpu(config), "sharding": sharding}


def _meeting(meeting: Meeting) -> tuple[list[str], dict[str, str]]:
    """torchrun on every host, also where accelerate launches the processes of one host."""
    environment = {ADDRESS_VARIABLE: meeting.own_address}
    if meeting.on_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    if meeting.sharding is not None:
        environment[SHARDING_VARIABLE] = json.dumps(meeting.sharding)
    options = {
        "nnodes": meeting.hosts,
        "node_rank": meeting.rank,
        "nproc_per_node": meeting.processes,
        "master_addr": meeting.address,
        "master_port": meeting.port,
        "max_restarts": 0,  # a run is tried again as a whole, from its last checkpoint
    }
    return ["-m", "torch.distributed.run", *(f"--{name}={value}" for name, value in options.items())], environment


def _on_cpu(config: dict[str, Any]) -> bool:
    return config.get("distributed_type") == "MULTI_CPU" or config.get("use_cpu") is True


def _sharding(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What accelerate's ``fsdp_config`` asks for. Raises ValueError for what is not done here."""
    asked = config.get("fsdp_config") or {}
    for name, (absent, done) in _FSDP.items():
        if asked.get(name, absent) != done:
            remedy = "leave it out" if done is None else f"set it to {json.dumps(done)}"
            raise ValueError(f"{path.name}: {name} is not done as asked; {remedy}")
    return {"reshard_after_forward": bool(asked.get("fsdp_reshard_after_forward", True))}


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path.name} is no configuration of accelerate")
    return config


def _count(config: dict[str, Any], name: str) -> int:
    value = config.get(name, 1)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"its {name} must be a whole number above 0")
    return value


def visible_gpus() -> int | None:
    """NVIDIA GPUs this process may use, without loading a driver; None where that cannot be told."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([name for name in chosen.split(",") if name.strip() and name.strip() != "-1"])
    if Path("/dev/kfd").exists():
        return None  # another maker's
    found = Path("/proc/driver/nvidia/gpus")
    return len(list(found.iterdir())) if found.is_dir() else 0
