"""Where a step is taken: one whole optimizer batch, forward and backward, with rules for what is not finite.

One item of the loader is the number of one optimizer step (workers.training.run.batches). Its batch is cut into
micro-batches here, so that every term of the objective is a mean over the batch and resuming means counting steps. The
loop around the steps is that of transformers (workers.training.run.trl_adapter).
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, MessageSink, progress
from workers.training.run import checkpoints, loading, sharding
from workers.training.run.batches import CPU_PADDING, MAX_PADDING, Plan, micro_batches, passes_of_rank
from workers.training.run.data import Pair
from workers.training.run.layout import tree_tokens
from workers.training.run.objective import FigureRow, count, summarize
from workers.training.run.reference import HeldOut, held_out_figures
from workers.training.run.scoring import add_scoring, is_out_of_memory, micro_batch_loss
from workers.training.run.trl_adapter import TrlAdapter

MAX_SKIPS = 3  # batches in a row without a finite loss and gradient


class RiseTrainer(TrlAdapter):
    """Trains on batches of :class:`Pair`. ``reference`` is [N, 2], None but for dpo; checkpoints hold ``metadata``."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pairs: Sequence[Pair],
        config: TrainingConfig,
        folder: Path,
        sink: MessageSink,
        peft_config: Any = None,
    ) -> None:
        self.pairs, self.plan = pairs, Plan(pairs, config)
        self.packing, self.micro_batch = config.packing, config.micro_batch  # in use: either may fall back
        self.reference: Tensor | None = None
        self.held_out: HeldOut | None = None
        self.metadata: dict[str, Any] = {}
        self.last_values: dict[str, Any] = {}
        self._figures: dict[str, Any] = {}
        self._losses: list[float] = []  # since the last checkpoint
        self._loss_is_finite = True
        self._skips = 0
        self._tree_tokens = lru_cache(maxsize=65536)(lambda part: tree_tokens([pairs[i] for i in part]))
        super().__init__(model, tokenizer, config, self.plan.total_steps, folder, sink, peft_config)
        loading.disable_base_dropout(self.model)
        loading.hold_trained_in_float32(self.model)
        add_scoring(self.model)
        self.checkpoint_bytes, self.result_bytes = loading.written_bytes(self.model, config)
        if self.sharding:
            sharding.shard(self.accelerator, self.model, self.sharding)

    def config_in_use(self) -> TrainingConfig:
        """The configuration with the packing and the micro-batch that the run fell back to."""
        return self.config.model_copy(update={"packing": self.packing, "micro_batch": self.micro_batch})

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:  # noqa: ARG002
        """Forward and backward over one optimizer batch. Returns its loss (scalar; 0 where it is not finite).

        Out of memory, the batch is done again with half the micro-batch. Raises CannotTrain when that is not possible.
        """
        model.train()
        indices = self.plan.batch(inputs["step"])
        while True:
            try:
                return self._step(model, indices)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Of several processes one alone ran out: the others are in the middle of a collective.
                if self.micro_batch == 1 or self.accelerator.num_processes > 1:
                    raise CannotTrain(f"out of memory at a micro-batch of {self.micro_batch}: {error}") from error
            # Behind the except block: the error holds the frames of the failed pass, and they its tensors.
            self.micro_batch //= 2
            model.zero_grad(set_to_none=True)  # what the failed attempt added
            gc.collect()
            torch.cuda.empty_cache()
            self.sink.send("shrunk", step=self.state.global_step + 1, micro_batch=self.micro_batch)

    def _step(self, model: Any, indices: Sequence[int]) -> Tensor:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        config, counts = self.config_in_use(), count([self.pairs[i] for i in indices], self.config)
        passes = passes_of_rank(indices, world, rank, self._micro_batches, equal=bool(self.sharding))
        total, tokens = torch.zeros((), device=self.args.device), 0
        rows: list[FigureRow] = []
        for at, (part, weight) in enumerate(passes):
            is_last = at == len(passes) - 1
            # Sharded, gradients that wait for the last pass would be whole in every process.
            with contextlib.nullcontext() if is_last or self.sharding else self.accelerator.no_sync(model):
                reference = None if self.reference is None else self.reference[list(part)]
                pairs = [self.pairs[i] for i in part]
                loss, part_rows, part_tokens = micro_batch_loss(model, pairs, reference, counts, config)
                self.accelerator.backward(loss * weight)
            total = total + loss.detach() * weight
            if weight:
                rows, tokens = rows + part_rows, tokens + part_tokens
        if world > 1:  # every process saw its part of the batch; the figures are of the whole
            rows, tokens = gather_object(rows), sum(gather_object([tokens]))
            total = self.accelerator.reduce(total, "mean")
        self._loss_is_finite = bool(torch.isfinite(total))
        if self._loss_is_finite:
            self._losses.append(float(total))
        self._figures = {**summarize(rows), "tokens": tokens, "micro_batch": self.micro_batch}
        # One that is not finite must not enter the sum of losses that transformers keeps; ``log`` reports it.
        return total if self._loss_is_finite else torch.zeros_like(total)

    def _micro_batches(self, indices: Sequence[int]) -> list[list[int]]:
        whole = self.packing == "tree"
        sizes = self._tree_tokens if whole else None
        padding = CPU_PADDING if self.args.device.type == "cpu" else MAX_PADDING
        return micro_batches(indices, self.pairs, self.micro_batch, whole=whole, tokens_of=sizes, max_padding=padding)

    def checked_grad_norm(self, model: Any, norm: Any) -> Any:
        """``norm`` as it is. Drops the gradients of a batch whose loss or gradient is not finite, and reports it.

        Raises CannotTrain at the third such batch in a row.
        """
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
        self.sink.send("skipped", step=step + 1, why=f"non-finite {why}", pairs=ids)
        if self._skips >= MAX_SKIPS:
            raise CannotTrain(
                f"{MAX_SKIPS} batches in a row without a finite loss and gradient; the last, step {step + 1}:"
                f" pairs {', '.join(ids[:16])}{' ...' if len(ids) > 16 else ''}"
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Send the step's figures to the supervisor, and to TRL's integrations."""
        if "learning_rate" in logs:
            step = self.state.global_step
            logs = {**logs, **self._figures, "epoch": step / self.plan.steps_per_epoch}
            if not self._loss_is_finite:
                logs["loss"] = math.nan
            self.sink.send("metrics", step=step, values=dict(logs))
            self.last_values = dict(logs)
        super().log(logs, start_time)

    def save_checkpoint(self) -> None:
        """Gather the state of all processes and write it (a collective). Raises DiskFull in the first process."""
        step, processes = self.state.global_step, self.accelerator.num_processes
        self.state.log_history.clear()  # the supervisor has it; a checkpoint must not grow with the run
        score = self._score(step)
        states = [checkpoints.random_state()]
        if processes > 1:
            states = gather_object(states)
        is_main = self.accelerator.is_main_process
        weights, optimizer = self.gathered_weights(), checkpoints.optimizer_state(self.optimizer, keep=is_main)

        def fill(folder: Path) -> None:
            whole: Any = self.model
            whole.save_pretrained(folder, state_dict=weights)
            checkpoints.save_optimizer(folder, optimizer, self.lr_scheduler)
            checkpoints.save_random(folder, states)
            self.state.save_to_json(str(folder / "trainer_state.json"))

        if is_main:
            metadata = {**self.metadata, "step": step, "processes": processes, "score": score}
            checkpoints.write_checkpoint(self.folder, self.config, fill, metadata, self.checkpoint_bytes, self.sink)
        self.accelerator.wait_for_everyone()

    def _score(self, step: int) -> float | None:
        """What the best checkpoint is chosen by, lower is better. None: this one cannot be the best."""
        losses, self._losses = self._losses, []
        if self.config.best == "train_loss":
            return sum(losses) / len(losses) if losses else None
        if self.held_out is None:
            return None
        on_progress = progress(self.sink, "training")
        figures = held_out_figures(self.model, self.held_out, self.config_in_use(), on_progress)
        self.sink.send("metrics", step=step, phase="eval", values=figures)
        score: float = figures["loss"]
        return score if math.isfinite(score) else None

    def gathered_weights(self) -> dict[str, Tensor] | None:
        """The weights of a sharded model, made whole (a collective); None where they are whole already."""
        return sharding.gathered_weights(self.model) if self.sharding else None
