"""Where a checkpoint is written, which ones are kept, and where a run goes on.

A checkpoint is a folder ``step-000000042`` (models.folders) of safetensors and JSON: weights or adapter, the
optimizer's and the scheduler's state, every random generator of every process, and a manifest with the run's metadata.
Nothing here is ever pickled, so nothing can be unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import trl
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.folders import MANIFEST, Damaged, remove_folder, verify, write_folder
from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, MessageSink, RunSpec, progress
from workers.training.run.preflight import room_for
from workers.training.run.sharding import gathered, sharded_like

_NAME = re.compile(r"^step-(\d{9})$")
_OPTIMIZER, _STATE, _RNG = "optimizer.safetensors", "state.json", "random.safetensors"
RandomState = tuple[dict[str, Tensor], dict[str, Any]]  # tensors, and what JSON holds


def checkpoint_name(step: int) -> str:
    """``step-000000042``."""
    return f"step-{step:09d}"


def write_checkpoint(
    folder: Path,
    config: TrainingConfig,
    fill: Callable[[Path], None],
    metadata: dict[str, Any],
    size_bytes: int,
    sink: MessageSink,
) -> None:
    """Write the checkpoint of ``metadata["step"]`` by ``fill``, remove what ``keep`` does not cover, and report both.

    ``size_bytes`` is what it will take, about. Raises DiskFull; the checkpoints of before are then as they were.
    """
    step = metadata["step"]
    target = folder / checkpoint_name(step)
    with room_for(folder, size_bytes, f"the checkpoint of step {step}"):
        manifest = write_folder(target, fill, metadata, progress(sink, "saving"))
    # Only now that the new one is on the disk: at every moment one good checkpoint stands there.
    deleted = prune(folder, config.keep, best=best_step(folder))
    written = sum(entry["bytes"] for entry in manifest["files"])
    sink.send("checkpoint", step=step, path=str(target), size_bytes=written, manifest=manifest, deleted=deleted)


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in ``folder`` by name, ascending; temporary folders are not among them."""
    if not folder.is_dir():
        return []
    return sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.match(path.name)))


def newest_good(folder: Path, reject: Callable[[int, str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that verifies, with its manifest; ``reject`` is called with each one passed over."""
    for step in reversed(steps(folder)):
        path = folder / checkpoint_name(step)
        try:
            return path, verify(path)
        except Damaged as error:
            reject(step, str(error))
    return None


def set_aside(folder: Path, step: int) -> None:
    """Take its name from a damaged checkpoint, so that it does not count as one; the next :func:`prune` removes it."""
    path = folder / checkpoint_name(step)
    aside = path.with_name(path.name + ".damaged.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)


def best_step(folder: Path) -> int | None:
    """The step of the checkpoint with the lowest ``score`` in its manifest, the newest of equals, or None."""
    scores: dict[int, float] = {}
    for step in steps(folder):
        try:
            score = json.loads((folder / checkpoint_name(step) / MANIFEST).read_text(encoding="utf-8")).get("score")
        except (OSError, ValueError, AttributeError):
            continue  # damaged: found when it is to be loaded
        if isinstance(score, int | float):
            scores[step] = score
    return min(scores, key=lambda step: (scores[step], -step), default=None)


def prune(folder: Path, keep: int, best: int | None = None) -> list[int]:
    """Remove leftovers of interrupted writes and all but the newest ``keep`` and ``best``: the steps removed."""
    old = [step for step in steps(folder)[:-keep] if step != best]
    for path in folder.glob("*.tmp"):
        shutil.rmtree(path, ignore_errors=True)
    for step in old:
        remove_folder(folder / checkpoint_name(step))
    return old


def resume_point(spec: RunSpec, sink: MessageSink) -> tuple[Path, dict[str, Any]] | None:
    """The newest good checkpoint and its manifest; the first process sets damaged newer ones aside. None: start anew.

    Raises CannotTrain when the store knows of checkpoints and none is good; all are then left as they are.
    """
    rejected: list[dict[str, Any]] = []
    found = newest_good(spec.checkpoints, lambda step, why: rejected.append({"step": step, "why": why}))
    if found is None and spec.begins_with is not None and not (spec.last_step or rejected):
        found = _other_run(spec.begins_with)
    if found is None and (spec.last_step or rejected):
        # Training again from step 0 would cost all that was paid for, without anybody having asked for it.
        reasons = "; ".join(r["why"] for r in rejected) or "their folders are gone"
        raise CannotTrain(
            f"checkpoints up to step {spec.last_step} were written and none can be read ({reasons})."
            " The run is not restarted from step 0; start a new one."
        )
    if found is not None:
        if os.environ.get("RANK", "0") == "0":
            for entry in rejected:
                set_aside(spec.checkpoints, entry["step"])
        sink.send("resumed", step=found[1]["step"], rejected=rejected)
    return found


def _other_run(path: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of another run that this one begins with. Raises CannotTrain where it is not there or damaged."""
    try:
        return path, verify(path)
    except Damaged as error:
        raise CannotTrain(
            f"the checkpoint to begin with cannot be read ({error}). It lies where its run was trained; start a new run"
        ) from None


def run_metadata(spec: RunSpec, data_sha: str) -> dict[str, Any]:
    """What the manifest of a checkpoint says of its run."""
    return {
        "run_id": spec.run_id,
        "config": spec.config.model_dump(mode="json"),
        "data_sha256": data_sha,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
    }


def require_same_run(
    metadata: dict[str, Any], resume: tuple[Path, dict[str, Any]] | None, begins_with_run: str | None = None
) -> None:
    """Raise CannotTrain when the checkpoint is of another run, of other data or of another configuration.

    ``begins_with_run``: another run whose checkpoint it may be as well.
    """
    if resume is None:
        return
    folder, manifest = resume
    for key in ("run_id", "data_sha256"):
        allowed = {metadata[key]} | ({begins_with_run} if key == "run_id" else set())
        if manifest.get(key) not in allowed:
            raise CannotTrain(f"{folder.name} belongs to another run: its {key} is {manifest.get(key)}")
    if (apart := _difference(manifest.get("config"), metadata["config"])) is not None:
        raise CannotTrain(f"{folder.name} belongs to another run: {apart}")


def _difference(stored: Any, now: Any, name: str = "config") -> str | None:
    """Where a stored configuration differs from today's. A field that an upgrade added is no difference."""
    if isinstance(stored, dict) and isinstance(now, dict):
        apart = (_difference(value, now.get(key), f"{name}.{key}") for key, value in stored.items())
        return next((found for found in apart if found is not None), None)
    return None if stored == now else f"its {name} is {stored!r}, not {now!r}"


def optimizer_state(optimizer: Any, *, keep: bool) -> dict[str, Any]:
    """The optimizer's state with whole tensors on CPU. A collective where it is sharded; ``keep`` in one process."""
    state: dict[str, Any] = optimizer.state_dict()
    entries_of: dict[int, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            entry = gathered(value)  # in every process, also where it is dropped: all take part in the gathering
            if keep:
                entries_of.setdefault(index, {})[name] = entry.cpu() if isinstance(entry, Tensor) else entry
    return {**state, "state": entries_of}


def save_optimizer(folder: Path, state: Mapping[str, Any], scheduler: Any) -> None:
    """Write an :func:`optimizer_state` and the scheduler's; tensors are keyed ``parameter index.name``."""
    tensors, plain = {}, {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            key = f"{index}.{name}"
            if isinstance(value, Tensor):  # safetensors hold tensors only; the rest goes into JSON
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
        value = sharded_like(parameters[int(index)], value) if isinstance(value, Tensor) else value
        state.setdefault(int(index), {})[name] = value
    # JSON made a list of the betas, which torch holds as a tuple.
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in saved["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    scheduler.load_state_dict(saved["scheduler"])


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
    # On a host with another number of GPUs the states fit none, and the generators stay as they were seeded.
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
