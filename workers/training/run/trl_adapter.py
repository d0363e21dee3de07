"""All that ties a run to TRL and transformers: arguments, callbacks, names of the run, overridden private methods.

TRL and transformers do: optimizer, schedule, PEFT, wrapping for distributed runs, the training loop, its integrations.
What can be set by an argument or a callback is set so. The rest are the private methods of :class:`TrlAdapter`. They
were read in trl 1.16 and transformers 5.23; ``tests/training/test_trl_adapter.py`` fails when a release changes one.
"""

from __future__ import annotations

import abc
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from workers.training.config import TrainingConfig
from workers.training.protocol import MessageSink, RunSpec
from workers.training.run import sharding
from workers.training.run.checkpoints import load_optimizer, load_random
from workers.training.run.loading import require_precision

_SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
_PROJECT = "errata"
_MLFLOW_RUN = "mlflow-run"  # file beside the checkpoints: MLflow makes up the ids of its runs


class _Arguments(DPOConfig):
    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.mixed_precision = "no"  # loading.autocast does it, whatever accelerate's environment says


class _ShardedArguments(_Arguments):
    place_model_on_device = False  # each process puts its shards there


def make_arguments(config: TrainingConfig, total_steps: int, folder: Path) -> DPOConfig:
    """TRL's arguments for a run. Batches are ours, so TRL is told of one item per step.

    Raises CannotTrain where the device cannot compute in the run's ``dtype``.
    """
    kind = _ShardedArguments if sharding.sharding_options() else _Arguments
    arguments = kind(
        output_dir=str(folder),
        max_steps=total_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULERS[config.scheduler],
        warmup_steps=math.ceil(config.warmup * total_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        optim="adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
        bf16=False,  # our own autocast: accelerate's begins after the reference pass and misses shards
        disable_dropout=False,  # loading.disable_base_dropout leaves the adapter's alone
        gradient_checkpointing=config.gradient_checkpointing,
        seed=config.seed,
        beta=config.beta,
        max_length=None,  # cut by workers.training.run.preflight
        precompute_ref_log_probs=False,  # workers.training.run.reference computes and stores them
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        report_to=list(config.report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    require_precision(config, arguments.device)
    return arguments


def _unused_reference() -> Any:
    """A model of a few weights in the place of TRL's reference model, of which it would load a second copy.

    Reference log-probabilities come from workers.training.run.reference; TRL's loss, which asks this model, never runs.
    """
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=1, hidden_size=2, intermediate_size=1, num_hidden_layers=1, num_attention_heads=1)
    )


def only_item(items: Sequence[Any]) -> Any:
    """The one item of a batch of one."""
    return items[0]


class TrlAdapter(DPOTrainer, abc.ABC):
    """DPOTrainer without its own data, reference model and checkpoint format. Subclasses say what a step is.

    One item of its loader is the number of one optimizer step.
    """

    stopped = False  # before its last step, because the supervisor asked

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        config: TrainingConfig,
        total_steps: int,
        folder: Path,
        sink: MessageSink,
        peft_config: Any = None,
    ) -> None:
        self.config, self.folder, self.sink = config, folder, sink
        self.sharding = sharding.sharding_options()
        super().__init__(
            model=model,
            ref_model=None if peft_config else _unused_reference(),
            args=make_arguments(config, total_steps, folder),
            train_dataset=Dataset.from_dict({"step": range(total_steps)}),
            processing_class=tokenizer,
            peft_config=peft_config,
            data_collator=only_item,
            callbacks=[StopBehindCheckpoint(self), RememberMlflowRun(folder)],
        )
        self.ref_model = None
        self.remove_callback(PrinterCallback)

    @abc.abstractmethod
    def checked_grad_norm(self, model: Any, norm: Any) -> Any:
        """Called between backward pass and optimizer step with the norm of all gradients. Returns it."""

    @abc.abstractmethod
    def save_checkpoint(self) -> None:
        """Write the checkpoint of the current step. A collective."""

    def restore(self, folder: Path, step: int) -> None:
        """Load the weights of a finished run's last checkpoint, to write its result again."""
        self._load_from_checkpoint(str(folder))
        self.state.global_step = step

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Not estimated."""
        return 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One item per optimizer step, in order; each process takes its part of the batch itself."""
        steps: Any = self.train_dataset
        return DataLoader(steps, batch_size=1, collate_fn=only_item)

    # The private methods. Each line says what it replaces (trl 1.16, transformers 5.23).

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:  # noqa: ARG002
        """DPOTrainer: templates and tokenises texts. Ours are encoded by workers.training.run.data."""
        return dataset

    def _send_telemetry(self) -> None:
        """TRL's base trainer: reports the run to the Hugging Face hub. Nothing leaves this machine."""

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """transformers: the norm before the optimizer's step, the one place to drop gradients that are not finite."""
        norm = sharding.gathered(super()._get_grad_norm(model, grad_norm))  # type: ignore[no-untyped-call]
        return self.checked_grad_norm(model, norm)

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        """transformers: wraps the model, makes optimizer and scheduler. Replaced where it is sharded."""
        if not self.sharding:
            parent: Any = super()
            return parent._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        # accelerate would match parameters by their addresses, and a shard without rows has none.
        sharding.reshard(self.model)
        self.create_optimizer()
        self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.create_scheduler(num_training_steps=max_steps)
        if resume_from_checkpoint is not None:
            self._load_optimizer_and_scheduler(resume_from_checkpoint)
        for name in ("model", "optimizer", "lr_scheduler"):
            setattr(self.callback_handler, name, getattr(self, name))
        self.callback_handler.train_dataloader = train_dataloader
        return self.model, train_dataloader

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        """DPOTrainer and transformers: write a model card and pickles. Ours are safetensors and JSON."""
        self.save_checkpoint()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """transformers: loads weights or adapter into a whole model. Replaced where the model is sharded."""
        if self.sharding:
            sharding.load_weights(self.model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """transformers: unpickles both."""
        if checkpoint is not None:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """transformers: unpickles the random generators of this process."""
        if checkpoint is not None:
            load_random(Path(checkpoint), self.accelerator.process_index)


class StopBehindCheckpoint(TrainerCallback):
    """Ends the run where the supervisor asks for it, always behind a checkpoint."""

    def __init__(self, trainer: TrlAdapter) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Save at the last step, and save and stop when asked."""
        accelerator = self._trainer.accelerator
        # Only the first process hears the request. All must stop at the same step, or the others wait in a collective.
        asked = torch.tensor(float(self._trainer.sink.stop_asked.is_set()), device=args.device)
        if accelerator.num_processes > 1:
            asked = accelerator.reduce(asked, "sum")
        if state.global_step >= state.max_steps:
            control.should_save = True
        elif asked.item() > 0:
            control.should_save = control.should_training_stop = self._trainer.stopped = True
        return control


def set_reporting_environment(spec: RunSpec) -> None:
    """Name the run for W&B and MLflow in this process's environment: one run there too, however often interrupted.

    What the operator has set stands.
    """
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


class RememberMlflowRun(TrainerCallback):
    """Notes MLflow's id of this run for the next attempt."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _MLFLOW_RUN

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """After the integration's own callback, which starts the run."""
        mlflow = sys.modules.get("mlflow")
        run = mlflow.active_run() if mlflow and "mlflow" in args.report_to and state.is_world_process_zero else None
        if run is not None:
            self._file.write_text(run.info.run_id, encoding="utf-8")
