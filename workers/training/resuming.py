"""Where a run goes on: its newest good checkpoint, and whether that one is of this very run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

from workers.training import checkpoints
from workers.training.protocol import Refused, Voice
from workers.training.spec import RunSpec


def resume_point(spec: RunSpec, line: Voice) -> tuple[Path, dict[str, Any]] | None:
    """The newest good checkpoint; damaged newer ones are set aside by the first process.

    Raises Refused when the store knows of checkpoints and none is good; all are then left as they are.
    """
    rejected: list[dict[str, Any]] = []
    found = checkpoints.newest_good(spec.checkpoints, lambda step, why: rejected.append({"step": step, "why": why}))
    if found is None and (spec.last_step or rejected):
        reasons = "; ".join(r["why"] for r in rejected) or "their folders are gone"
        raise Refused(
            f"checkpoints up to step {spec.last_step} were written and none can be read ({reasons})."
            " The run is not restarted from step 0; start a new one."
        )
    if found is not None:
        if os.environ.get("RANK", "0") == "0":
            for entry in rejected:
                checkpoints.set_aside(spec.checkpoints, entry["step"])
        line.send("resumed", step=found[1]["step"], rejected=rejected)
    return found


def about_run(spec: RunSpec, data_sha: str) -> dict[str, Any]:
    """What a checkpoint tells of its run."""
    return {
        "run_id": spec.run_id,
        "config": spec.config.model_dump(mode="json"),
        "data_sha256": data_sha,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
    }


def same_run(about: dict[str, Any], resume: tuple[Path, dict[str, Any]] | None) -> None:
    """Raise Refused when the checkpoint is of another run, of other data or of another configuration."""
    if resume is None:
        return
    folder, manifest = resume
    for key in ("run_id", "data_sha256"):
        if manifest.get(key) != about[key]:
            raise Refused(f"{folder.name} belongs to another run: its {key} is {manifest.get(key)}")
    if (apart := difference(manifest.get("config"), about["config"])) is not None:
        raise Refused(f"{folder.name} belongs to another run: {apart}")


def difference(stored: Any, now: Any, name: str = "config") -> str | None:
    """Where a stored configuration differs from today's. A field it lacks is newer than it, and no difference."""
    if isinstance(stored, dict) and isinstance(now, dict):
        apart = (difference(value, now.get(key), f"{name}.{key}") for key, value in stored.items())
        return next((found for found in apart if found is not None), None)
    return None if stored == now else f"its {name} is {stored!r}, not {now!r}"
