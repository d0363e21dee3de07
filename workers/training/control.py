"""When a run saves and stops."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback


class Control(TrainerCallback):
    """Ends the run where the daemon asks for it, always behind a checkpoint."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Save at the last step, and save and stop when asked."""
        trainer = self._trainer
        asked = torch.tensor(float(trainer.line.stop_asked.is_set()), device=args.device)
        if trainer.accelerator.num_processes > 1:
            asked = trainer.accelerator.reduce(asked, "sum")
        if state.global_step >= state.max_steps:
            control.should_save = True
        elif asked.item() > 0:
            control.should_save = control.should_training_stop = trainer.stopped = True
        return control
