"""How big the demo is and which settings it uses: everything that is tuned stands here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Config = dict[str, Any]


def _injection(shard_size: int = 32) -> Config:
    return {
        "shard_size": shard_size,
        # All four samples: the control is fine-tuned on every correct one.
        "sampling": {"samples": 4, "adaptive": False, "temperature": 1.0, "max_tokens": 160},
        "editing": {"temperature": 0.8, "attempts": 4},
        "seed": 1,
    }


def _dpo() -> Config:
    """DPO on step pairs, a little on full pairs, with an ungated likelihood term on the chosen step.

    Found by trying: on 600 held-out problems two epochs at 1e-4 and beta 0.1 gave 4 points more sampled but cost 4
    greedy, a full weight of 0.3 cost 6; this one costs about none.
    """
    return {
        "beta": 0.3,
        "nll_weight": 3.0,
        "nll_gate": False,
        "full_weight": 0.1,
        "learning_rate": 5e-5,
        "epochs": 1,
        "batch_size": 32,
        "seed": 1,
    }


def _control() -> Config:
    """Fine-tuning on the model's own correct samples; as many optimizer steps of the same batch as the DPO run."""
    return {"learning_rate": 1e-4, "batch_size": 32, "seed": 1}


@dataclass(frozen=True)
class DemoPlan:
    """One size of the demo. Problems are made from the seeds; held-out ones never share numbers with the others."""

    train_problems: int = 500
    heldout_problems: int = 1000
    train_seed: int = 1
    heldout_seed: int = 2  # the settings below were chosen on other held-out problems (seed 1): these are fresh
    injection: Config = field(default_factory=_injection)
    dpo: Config = field(default_factory=_dpo)
    control: Config = field(default_factory=_control)
    answer_tokens: int = 256
    evaluation_seed: int = 7


PLANS = {
    "full": DemoPlan(),
    "small": DemoPlan(train_problems=24, heldout_problems=24, injection=_injection(shard_size=6)),
}
