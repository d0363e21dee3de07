"""What the hosts of a run agree upon before they train: one folder for all, one checkpoint, the same stored reference.

Hosts read the file store by paths of their own. A host with another store, or one that does not see yet what the first
has written, must say so: processes that went different ways would wait for each other without end. Every function here
is a collective, and does nothing in a run on one host.
"""

from __future__ import annotations

import secrets
import socket
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState

from models.folders import Damaged, verify
from workers.training.protocol import CannotTrain, MessageSink, RunSpec
from workers.training.run.checkpoints import checkpoint_name, resume_point

_TOKEN = "hosts"  # file beside the checkpoints
_SEEN_SECONDS = 90.0  # a network file system may remember for a minute that a file is not there
Resume = tuple[Path, dict[str, Any]] | None


def is_first() -> bool:
    """Whether this is the first process of the run; all have met behind it."""
    if not dist.is_initialized():
        PartialState()  # on GPUs it makes the group, on CPU join_on_cpu has
    return dist.get_rank() == 0


def from_first(value: Any) -> Any:
    """``value`` of the first process, in all."""
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


def of_all(value: Any) -> list[Any]:
    """``value`` of every process, in order of their rank."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, value)
    return told


def require_one_store(spec: RunSpec) -> None:
    """Raise CannotTrain in a process whose file store is not the first one's."""
    if spec.hosts == 1:
        return
    file, token = spec.checkpoints / _TOKEN, secrets.token_hex(8)
    if is_first():
        file.write_text(token, encoding="utf-8")
    token = from_first(token)
    deadline = time.monotonic() + _SEEN_SECONDS
    while not (file.is_file() and file.read_text(encoding="utf-8") == token):
        if time.monotonic() > deadline:
            raise CannotTrain(
                f"{socket.gethostname()} does not see in {spec.checkpoints} what the first host wrote there: a run over"
                " several hosts needs one file store for all, so mount the same folder as ERRATA_FILES_URL on each"
            )
        time.sleep(0.5)
    of_all(True)  # the first process goes no further alone


def agreed_resume_point(spec: RunSpec, sink: MessageSink) -> Resume:
    """Where all go on: what the first process finds. Raises CannotTrain as ``resume_point`` does, in every process.

    Raises RuntimeError in a process that does not find the same whole checkpoint.
    """
    if spec.hosts == 1:
        return resume_point(spec, sink)
    found, error = None, None
    if is_first():
        try:
            found = resume_point(spec, sink)
        except CannotTrain as refused:
            error = str(refused)
    step, own, error = from_first((found and found[1]["step"], found and found[0] != spec.begins_with, error))
    if error is not None:
        raise CannotTrain(error)
    if step is None or found is not None:
        return found
    path = spec.checkpoints / checkpoint_name(step) if own else Path(str(spec.begins_with))
    try:
        return path, verify(path)
    except Damaged as damaged:
        raise RuntimeError(f"{socket.gethostname()} cannot read the checkpoint of step {step}: {damaged}") from None


def if_all_have(stored: torch.Tensor | None, spec: RunSpec) -> torch.Tensor | None:
    """``stored`` where every process of the run has it; None in all where one lacks it."""
    if spec.hosts == 1:
        return stored
    return stored if all(of_all(stored is not None)) else None
