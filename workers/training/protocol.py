"""What the supervisor and the training process exchange: a spec file at the start, then one JSON object per line.

Process to supervisor, ``type``:

- ``progress``: ``phase`` (loading, encoding, reference, training, saving), ``done``, ``total`` - something *advanced*;
- ``ready``: ``total_steps``, ``report`` (preflight), ``packing``, ``note`` - the data are validated;
- ``resumed``: ``step``, and ``rejected``: checkpoints passed over with the reason;
- ``metrics``: ``step``, ``values``, and ``phase`` where it is not ``train`` (``eval``: the held-out split);
- ``shrunk``: ``step``, ``micro_batch`` - out of memory, and the step is done again in smaller parts;
- ``skipped``: ``step``, ``why``, ``pairs`` - a batch without a finite loss and gradient, not applied;
- ``checkpoint``: ``step``, ``path``, ``size_bytes``, ``manifest``, ``deleted`` (steps);
- ``stopped``: ``step`` - as asked, after a checkpoint;
- ``finished``: ``step``, ``path``, ``manifest``, ``summary``;
- ``error``: ``message``, ``fatal`` (trying again cannot help).

Supervisor to process: ``stop`` (checkpoint, then end), and ``beat`` whenever it renewed its lease. End of file means
that the supervisor is gone. Silence for as long as a lease lasts means that another supervisor may own the run. The
process ends at once in both cases.

Of a run over several hosts each host's supervisor has a first process. That of the first host says all of the above;
of the others their supervisors heed ``progress`` and ``error`` alone.

Free of torch: both rooms import this module.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from workers.training.config import TrainingConfig

SHARDING_VARIABLE = "ERRATA_SHARDING"  # environment of a run's processes: how to shard the model, in JSON
ADDRESS_VARIABLE = "ERRATA_HOST_ADDRESS"  # the address by which the other hosts of a run reach this one
#: In any other phase a process has no checkpoint to write, and reads no stop.
STOPPABLE_PHASES = ("training", "saving")
Progress = Callable[[int, int], None]  # called with what is done, and of how many
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class CannotTrain(Exception):
    """The run cannot succeed as it is configured; trying again cannot help. The message says what to change."""


class RunSpec(BaseModel):
    """One training run as its process sees it: everything resolved, local folders only, no database."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    config: TrainingConfig
    model_path: str = Field(description="Folder, or hub id where the operator registered one.")
    model_revision: str | None = None
    dataset_folder: Path
    checkpoints: Path
    output: Path
    reference: Path = Field(description="Folder of stored reference log-probabilities, by fingerprint.")
    last_step: int = Field(0, ge=0, description="Newest checkpoint the store knows of; 0: none was ever written.")
    begins_with: Path | None = Field(None, description="Another run's checkpoint to begin with; None: the base model.")
    begins_with_run: str | None = Field(None, description="That run's id, which the checkpoint's manifest names.")
    ends_at: int | None = Field(None, description="Train nothing: make a model of the checkpoint of this step.")
    hosts: int = Field(1, ge=1, description="Hosts that train it together; the file store is one folder for all.")
    lease_seconds: float = Field(120.0, gt=0, description="After silence of the supervisor for this long, end.")
    template: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the base's entry that its chat template depends on."
    )
    lineage: dict[str, Any] = Field(default_factory=dict, description="For the model card.")


class MessageSink(Protocol):
    """Takes the messages of a run, and knows whether the run was asked to stop."""

    stop_asked: threading.Event

    def send(self, kind: str, **data: Any) -> None:
        """Deliver one message of type ``kind``."""


def progress(sink: MessageSink, phase: str) -> Progress:
    """A callback that reports ``done`` of ``total`` in ``phase``: the watchdog kills a process that reports nothing."""
    return lambda done, total: sink.send("progress", phase=phase, done=done, total=total)


def storable(text: str) -> str:
    """The text as a database takes it: U+FFFD stands for NUL and for halves of surrogate pairs."""
    return _UNSTORABLE.sub("\ufffd", text)


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """A JSON value with ``change`` made to every key and to everything that is neither object nor list."""
    if isinstance(value, dict):
        return {change(key): map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_leaves(item, change) for item in value]
    return change(value)


def parse(line: str) -> dict[str, Any] | None:
    """One message, with text as a database takes it, or None for a line that is not one."""
    try:
        message = map_leaves(json.loads(line), lambda leaf: storable(leaf) if isinstance(leaf, str) else leaf)
    except (ValueError, RecursionError):  # a library may print anything, and a kill may tear a line
        return None
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None
