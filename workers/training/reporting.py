"""What W&B and MLflow call a run, so that a training run is one run there too, however often it was interrupted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from workers.training.spec import RunSpec

_PROJECT = "errata"
_MLFLOW_RUN = "mlflow-run"  # beside the checkpoints: MLflow makes up its runs' ids


def name_run(spec: RunSpec) -> None:
    """Set what the integrations read from the environment, for this process; what the operator has set stands."""
    values: dict[str, str] = {}
    if "wandb" in spec.config.report_to:
        values |= {"WANDB_PROJECT": _PROJECT, "WANDB_DIR": str(spec.checkpoints)}
        values |= {"WANDB_RUN_ID": spec.run_id, "WANDB_RESUME": "allow"}
    if "mlflow" in spec.config.report_to:
        values["MLFLOW_EXPERIMENT_NAME"] = _PROJECT
        known = spec.checkpoints / _MLFLOW_RUN
        if known.is_file():
            values["MLFLOW_RUN_ID"] = known.read_text(encoding="utf-8")
    for name, value in values.items():
        os.environ.setdefault(name, value)


class RememberRun(TrainerCallback):
    """Notes MLflow's id of this run for the next attempt."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _MLFLOW_RUN

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """After the integration's own, which starts the run."""
        mlflow = sys.modules.get("mlflow")
        run = mlflow.active_run() if mlflow and "mlflow" in args.report_to and state.is_world_process_zero else None
        if run is not None:
            self._file.write_text(run.info.run_id, encoding="utf-8")
