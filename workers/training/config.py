"""The configuration of a training run: every choice named, sourced and bounded. Free of torch.

``resolve`` gives the full configuration that is stored with the run. Field descriptions give each default's source:
paper (arXiv 2410.06638), scripts (the authors' released ones), or ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Objective = Literal["dpo", "sft", "step-nll"]
#: The configuration of a dataset that each objective trains on.
TABLES: dict[Objective, str] = {"dpo": "steps_and_full", "sft": "sft", "step-nll": "steps_and_full"}
Weight = Annotated[float, Field(ge=0.0, le=1000.0)]


class Strict(BaseModel):
    """Unknown fields are refused: a misspelt setting must never be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraConfig(Strict):
    """Low-rank adapters instead of full fine-tuning. The result is merged into full weights unless ``merge`` is off."""

    r: int = Field(16, ge=1, le=512)
    alpha: int = Field(32, gt=0, le=4096)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: Annotated[list[str], Field(max_length=64)] | Literal["all-linear"] = "all-linear"
    quantize_4bit: bool = Field(False, description="QLoRA: base weights in 4 bits (needs bitsandbytes).")
    merge: bool = Field(True, description="Merge the adapter into the base weights at the end.")


class TrainingConfig(Strict):
    """One training run, fully resolved."""

    preset: str = "errata"
    objective: Objective = Field(
        "dpo",
        description="sft: the control, its own correct samples. step-nll: the control without a negative, the"
        " likelihood of the chosen steps alone.",
    )

    loss: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge"] = "sigmoid"
    beta: float = Field(0.4, gt=0, le=100, description="scripts: 0.4.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Of sigmoid and sigmoid_norm.")
    score: Literal["all", "differing"] = Field(
        "all",
        description="Which tokens of a step pair are scored: all of both sides (paper), or the runs of token ids in"
        " which they differ (ours). Full pairs are scored whole.",
    )
    weight_by: Literal["equal", "error_rate"] = Field(
        "equal",
        description="error_rate: a step pair weighs as its step's error rate, over the mean of the training pairs, 4 at"
        " most (ours). A pair without a rate weighs 1.",
    )
    step_weight: Weight = 1.0
    full_weight: Weight = 1.0
    mean: Literal["per-term", "all-pairs"] = Field("per-term", description="scripts: one mean over all pairs.")
    nll_weight: Weight = Field(0.05, description="lambda (paper: undisclosed).")
    nll_gate: bool = Field(True, description="Only where the chosen side is less likely than at the start (paper).")
    nll_normalization: Literal["token", "sum", "batch"] = Field("token", description="paper: undisclosed.")
    nll_scope: Literal["step", "full", "all"] = Field("step", description="paper: undisclosed.")

    eos: Literal["full", "none"] = Field("full", description="EOS after full solutions only (scripts: none).")
    max_length: int = Field(1024, ge=8, le=131072, description="Tokens of prompt and completion together.")
    ineffective: Literal["refuse", "drop", "keep"] = Field(
        "refuse", description="Pairs without a gradient: identical, or their error beyond max_length."
    )

    learning_rate: float = Field(5e-7, gt=0, le=1.0)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.1, ge=0, le=1, description="Share of all steps.")
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, ge=0, le=1e6, description="0: gradients are not clipped.")
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    epochs: int = Field(1, ge=1, le=1000)
    max_steps: int | None = Field(None, ge=1, le=10_000_000, description="Stop here, whatever the epochs.")
    batch_size: int = Field(32, ge=1, le=65536, description="Pairs per optimizer step (solutions for sft).")
    micro_batch: int = Field(8, ge=1, le=4096, description="Pairs per forward pass.")
    grouping: Literal["problem", "none"] = Field("problem", description="Pairs of a problem stand together in a batch.")
    packing: Literal["tree", "pairs"] = Field(
        "tree", description="Shared prefixes computed once, or TRL's plain pairs."
    )
    row_tokens: int | None = Field(None, ge=8, description="Tokens per packed row; null: as short as the longest tree.")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the computation; full weights stay float32."
    )
    attention: Literal["sdpa", "flex"] = Field(
        "sdpa", description="flex: FlexAttention with block masks, which skip what a tree hides; needs a GPU."
    )
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None

    checkpoint_every: int = Field(100, ge=1, le=1_000_000, description="Optimizer steps.")
    keep: int = Field(2, ge=1, le=100, description="Newest checkpoints kept.")
    best: Literal["none", "train_loss", "eval_loss"] = Field(
        "train_loss",
        description="The best checkpoint is kept too: by the mean loss since the one before, or by the loss on the"
        " dataset's held-out split, measured at every checkpoint.",
    )
    report_to: list[Literal["wandb", "tensorboard", "mlflow"]] = Field([], max_length=3)

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.objective == "dpo" and self.step_weight == 0 and self.full_weight == 0 and self.nll_weight == 0:
            raise ValueError("step_weight, full_weight and nll_weight are all 0: nothing would be trained")
        if self.micro_batch > self.batch_size:
            raise ValueError("micro_batch is larger than batch_size")
        return self


_SCRIPTS: dict[str, Any] = {
    "beta": 0.4,
    "nll_weight": 0.0,
    "mean": "all-pairs",
    "eos": "none",
    "learning_rate": 5e-7,
    "scheduler": "cosine",
    "warmup": 0.1,
    "epochs": 8,
    "batch_size": 128,
    "max_length": 1024,
    "grouping": "none",
    "seed": 42,
    "dtype": "bfloat16",
    "gradient_checkpointing": True,
}
PRESETS: dict[str, dict[str, Any]] = {
    "errata": {},
    "paper": {**_SCRIPTS, "nll_weight": 0.05, "mean": "per-term", "eos": "full"},
    "scripts": _SCRIPTS,
    "sft": {"objective": "sft", "learning_rate": 1e-5},
    "step-nll": {"objective": "step-nll", "learning_rate": 1e-5},
}


def resolve(preset: str, overrides: Mapping[str, Any] | None = None) -> TrainingConfig:
    """The full configuration of ``preset`` with ``overrides`` laid over it.

    A batch smaller than the preset's micro-batch shrinks the latter, unless the request names it. Raises KeyError for
    an unknown preset and pydantic.ValidationError for a bad or unknown field.
    """
    given = dict(overrides or {})
    values = {**PRESETS[preset], **given, "preset": preset}
    batch = values.get("batch_size")
    if "micro_batch" not in given and isinstance(batch, int) and batch > 0:
        values["micro_batch"] = min(
            batch, values.get("micro_batch", TrainingConfig.model_fields["micro_batch"].default)
        )
    return TrainingConfig.model_validate(values)
