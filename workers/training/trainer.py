"""TRL's DPOTrainer with our batches, objective, checkpoints and rules for what is not finite.

Kept of TRL and transformers: arguments, optimizer, schedule, PEFT, mixed precision, wrapping for distributed runs, the
loop and its integrations. Ours: one item of the loader is one whole optimizer batch (workers.training.plan), cut into
micro-batches here, so that every term is a mean over the batch and resuming means counting steps.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from trl.trainer import dpo_trainer

from workers.training import sharding
from workers.training.arguments import arguments
from workers.training.checkpoints import best_step, checkpoint_name, prune, write_folder
from workers.training.config import TrainingConfig
from workers.training.control import Control
from workers.training.data import Pair
from workers.training.disk import named_when_full, require_room
from workers.training.evaluation import HeldOut, batch_loss, held_out_figures
from workers.training.figures import Row, summarize
from workers.training.loading import silence_dropout, train_in_float32
from workers.training.memory import is_out_of_memory, written_bytes
from workers.training.objective import Counts, count
from workers.training.plan import CPU_PADDING, MAX_PADDING, Plan, micro_batches, passes
from workers.training.precision import autocast
from workers.training.protocol import Refused, Voice, saving
from workers.training.run_state import (
    RandomState,
    load_optimizer,
    load_random,
    optimizer_state,
    random_state,
    save_optimizer,
    save_random,
)
from workers.training.scoring import add_scoring, completion_logps
from workers.training.tree import pack
from workers.training.tree_layout import tree_tokens

MAX_SKIPS = 3


class RiseTrainer(dpo_trainer.DPOTrainer):
    """Trains on :class:`Pair` batches. ``reference`` is [N, 2] (None for sft)."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pairs: Sequence[Pair],
        config: TrainingConfig,
        folder: Path,
        line: Voice,
        peft_config: Any = None,
    ) -> None:
        self.config, self.pairs, self.line, self.folder = config, pairs, line, folder
        self.plan = Plan(pairs, config)
        self.packing = config.packing
        self.reference: Tensor | None = None
        self.micro_batch = config.micro_batch
        self.stopped = False
        self.about: dict[str, Any] = {}
        self.held_out: HeldOut | None = None
        self._losses: list[float] = []  # since the last checkpoint
        self._skips = 0
        self._loss_is_finite = True
        self._tree_tokens = lru_cache(maxsize=65536)(lambda part: tree_tokens([pairs[i] for i in part]))
        self._figures: dict[str, Any] = {}
        self.last_values: dict[str, Any] = {}
        # TRL's digest of every weight is for a cache of reference log-probabilities that is not ours.
        with patch.object(dpo_trainer, "hash_module", lambda _: ""):
            super().__init__(
                model=model,
                args=arguments(config, self.plan, folder),
                train_dataset=Dataset.from_dict({"step": range(self.plan.total_steps)}),
                processing_class=tokenizer,
                peft_config=peft_config,
                data_collator=_only,
                callbacks=[Control(self)],
            )
        silence_dropout(self.model)
        train_in_float32(self.model)
        add_scoring(self.model)
        self.checkpoint_bytes, self.result_bytes = written_bytes(self.model, config)
        self.sharding = sharding.asked()
        if self.sharding:
            sharding.shard(self.accelerator, self.model, self.sharding)

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """Around every forward pass: training, reference, held-out."""
        return autocast(self.config, self.args.device)

    # What TRL would prepare, we bring.
    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Not estimated."""
        return 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One item per optimizer step, in order; each process takes its part of the batch itself."""
        steps: Any = self.train_dataset
        return DataLoader(steps, batch_size=1, collate_fn=_only)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:  # noqa: ARG002
        """Forward and backward over one optimizer batch; out of memory, again with half the micro-batch."""
        model.train()
        indices = self.plan.batch(inputs["step"])
        while True:
            try:
                return self._batch(model, indices)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.micro_batch == 1 or self.accelerator.num_processes > 1:
                    raise Refused(f"out of memory at a micro-batch of {self.micro_batch}: {error}") from error
            # Behind the except block: the error holds the frames of the failed pass, and they its tensors.
            self.micro_batch //= 2
            model.zero_grad(set_to_none=True)
            gc.collect()
            torch.cuda.empty_cache()
            self.line.send("shrunk", step=self.state.global_step + 1, micro_batch=self.micro_batch)

    def _batch(self, model: Any, indices: Sequence[int]) -> Tensor:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        counts = count([self.pairs[i] for i in indices], self.config)
        parts = passes(indices, world, rank, self._cut, equal=bool(self.sharding))
        total, tokens = torch.zeros((), device=self.args.device), 0
        rows: list[Row] = []
        for at, (part, weight) in enumerate(parts):
            last = at == len(parts) - 1
            # Sharded, gradients that wait for the last pass would be whole in every process.
            with contextlib.nullcontext() if last or self.sharding else self.accelerator.no_sync(model):
                loss, part_rows, part_tokens = self._micro_batch(model, part, counts)
                self.accelerator.backward(loss * weight)
            total = total + loss.detach() * weight
            if weight:
                rows, tokens = rows + part_rows, tokens + part_tokens
        if world > 1:
            rows, tokens = gather_object(rows), sum(gather_object([tokens]))
            total = self.accelerator.reduce(total, "mean")
        self._loss_is_finite = bool(torch.isfinite(total))
        if self._loss_is_finite:
            self._losses.append(float(total))
        self._figures = {**summarize(rows), "tokens": tokens, "micro_batch": self.micro_batch}
        return total if self._loss_is_finite else torch.zeros_like(total)

    def _cut(self, indices: Sequence[int]) -> list[list[int]]:
        whole = self.packing == "tree"
        sizes = self._tree_tokens if whole else None
        padding = CPU_PADDING if self.args.device.type == "cpu" else MAX_PADDING
        return micro_batches(indices, self.pairs, self.micro_batch, whole=whole, tokens_of=sizes, max_padding=padding)

    def _micro_batch(self, model: Any, part: Sequence[int], counts: Counts) -> tuple[Tensor, list[Row], int]:
        pairs = [self.pairs[i] for i in part]
        packed = pack(pairs, self.packing, self.config.row_tokens).to(self.args.device)
        with self.computing():
            logps, spans = completion_logps(model, packed)
        reference = None if self.reference is None else self.reference[list(part)]
        loss, rows = batch_loss(logps, packed, pairs, reference, counts, self.config, spans)
        return loss, rows, packed.tokens

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm: Any = sharding.whole(super()._get_grad_norm(model, grad_norm))  # type: ignore[no-untyped-call]
        value = float(norm.item() if isinstance(norm, Tensor) else norm)
        if self._loss_is_finite and math.isfinite(value):
            self._skips = 0
            return norm
        # Without gradients the optimizer changes neither weights nor moments.
        model.zero_grad(set_to_none=True)
        self._skips += 1
        step = self.state.global_step
        ids = [self.pairs[i].pair_id for i in self.plan.batch(step)]
        why = "gradient" if self._loss_is_finite else "loss"
        self.line.send("skipped", step=step + 1, why=f"non-finite {why}", pairs=ids)
        if self._skips >= MAX_SKIPS:
            raise Refused(
                f"{MAX_SKIPS} batches in a row without a finite loss and gradient; the last, step {step + 1}:"
                f" pairs {', '.join(ids[:16])}{' ...' if len(ids) > 16 else ''}"
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Send the step's figures to the daemon, and to TRL's integrations."""
        if "learning_rate" in logs:
            step = self.state.global_step
            logs = {**logs, **self._figures, "epoch": step / self.plan.steps_per_epoch}
            if not self._loss_is_finite:
                logs["loss"] = math.nan
            self.line.send("metrics", step=step, values=dict(logs))
            self.last_values = dict(logs)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        step, start = self.state.global_step, self.folder / checkpoint_name(self.state.global_step)
        self.state.log_history.clear()  # the daemon has it; a checkpoint must not grow with the run
        score = self._score(step)
        states = [random_state()]
        if self.accelerator.num_processes > 1:
            states = gather_object(states)
        main = self.accelerator.is_main_process
        weights, optimizer = self.whole_weights(), optimizer_state(self.optimizer, keep=main)
        if main:
            what = f"the checkpoint of step {step}"
            require_room(self.folder, self.checkpoint_bytes, what)
            about = {**self.about, "step": step, "processes": self.accelerator.num_processes, "score": score}
            with named_when_full(self.checkpoint_bytes, what):
                fill = partial(self._fill, states=states, weights=weights, optimizer=optimizer)
                manifest = write_folder(start, fill, about, saving(self.line))
            deleted = prune(self.folder, self.config.keep, best=best_step(self.folder))
            size = sum(entry["bytes"] for entry in manifest["files"])
            self.line.send(
                "checkpoint", step=step, path=str(start), size_bytes=size, manifest=manifest, deleted=deleted
            )
        self.accelerator.wait_for_everyone()

    def _score(self, step: int) -> float | None:
        """By what the best checkpoint is told, lower is better; None: it cannot be the best."""
        losses, self._losses = self._losses, []
        if self.config.best == "train_loss":
            return sum(losses) / len(losses) if losses else None
        if self.held_out is None:
            return None
        config = self.config.model_copy(update={"packing": self.packing, "micro_batch": self.micro_batch})
        figures = held_out_figures(
            self.model,
            self.held_out,
            config,
            self.computing,
            lambda done, total: self.line.send("progress", phase="training", done=done, total=total),
        )
        self.line.send("metrics", step=step, phase="eval", values=figures)
        score: float = figures["loss"]
        return score if math.isfinite(score) else None

    def whole_weights(self) -> dict[str, Tensor] | None:
        """The weights of a sharded model, gathered (every process must ask); None where they are whole."""
        return sharding.whole_weights(self.model) if self.sharding else None

    def _fill(
        self, folder: Path, states: Sequence[RandomState], weights: dict[str, Tensor] | None, optimizer: dict[str, Any]
    ) -> None:
        whole: Any = self.model
        whole.save_pretrained(folder, state_dict=weights)
        save_optimizer(folder, optimizer, self.lr_scheduler)
        save_random(folder, states)
        self.state.save_to_json(str(folder / "trainer_state.json"))

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        if not self.sharding:
            whole: Any = super()
            return whole._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        # accelerate would match parameters by their addresses, and a shard without rows has none.
        sharding.rest(self.model)
        self.create_optimizer()
        self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.create_scheduler(num_training_steps=max_steps)
        if resume_from_checkpoint is not None:
            self._load_optimizer_and_scheduler(resume_from_checkpoint)
        for name in ("model", "optimizer", "lr_scheduler"):
            setattr(self.callback_handler, name, getattr(self, name))
        self.callback_handler.train_dataloader = train_dataloader
        return self.model, train_dataloader

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.sharding:
            sharding.load_weights(self.model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random(Path(checkpoint), self.accelerator.process_index)


def _only(items: Sequence[Any]) -> Any:
    """The one item of a batch of one."""
    return items[0]
