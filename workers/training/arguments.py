"""TRL's arguments of a run, from our configuration."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from trl.trainer.dpo_config import DPOConfig

from workers.training import sharding
from workers.training.config import TrainingConfig
from workers.training.plan import Plan
from workers.training.precision import require_precision

_SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class _Arguments(DPOConfig):
    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.mixed_precision = "no"  # workers.training.precision does it, whatever accelerate's environment says


class _Sharded(_Arguments):
    place_model_on_device = False  # each process puts its shards there


def arguments(config: TrainingConfig, plan: Plan, folder: Path) -> DPOConfig:
    """TRL's arguments for a run. Batches are ours, so TRL is told of one item per step.

    Raises Refused where the device cannot compute in the run's ``dtype``.
    """
    kind = _Sharded if sharding.asked() else _Arguments
    made = kind(
        output_dir=str(folder),
        max_steps=plan.total_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULERS[config.scheduler],
        warmup_steps=math.ceil(config.warmup * plan.total_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        optim="adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
        bf16=False,  # our own autocast: accelerate's begins after the reference pass and misses shards
        disable_dropout=False,  # by workers.training.loading, which leaves the adapter's alone
        gradient_checkpointing=config.gradient_checkpointing,
        seed=config.seed,
        beta=config.beta,
        max_length=None,  # cut by workers.training.preflight
        precompute_ref_log_probs=True,  # by workers.training.reference; so TRL keeps no second model
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        report_to=list(config.report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    require_precision(config, made.device)
    return made
