"""From OpenAI's hyperparameters to a training configuration, and to the name of the model to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from api.http.errors import Invalid, invalid_below
from api.openai.schemas import DpoHyperparameters, FineTuningJobIn, Hyperparameters
from models.base import new_id
from workers.dispatch import TrainingConfig, resolve_training

MethodName = Literal["dpo", "supervised"]
PRESETS: dict[str, str] = {"dpo": "errata", "supervised": "sft"}
#: Fields of a configuration that the hyperparameters and the body say.
_SAID = {
    "epochs": "n_epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate_multiplier",
    "beta": "beta",
    "seed": "seed",
    "objective": "method.type",
    "preset": "method.type",
}
_MOST_STEPS = 100  # between two checkpoints
_KEPT = 3
_LONGEST_NAME = 100
_STEP_ENDING = ":ckpt-step-9999999"
_UNIQUE = 8


@dataclass(frozen=True)
class Settings:
    """How a job trains: the method, the hyperparameters as resolved, and the whole configuration."""

    method: MethodName
    hyperparameters: dict[str, Any]
    config: TrainingConfig


def resolve(body: FineTuningJobIn, rows: int) -> Settings:
    """The settings of a job over ``rows`` rows. Raises Invalid naming the field."""
    method: MethodName = body.method.type if body.method else "supervised"
    given = body.method.chosen if body.method else body.hyperparameters or Hyperparameters()
    preset = PRESETS[method]
    base = resolve_training(preset, {})
    overrides: dict[str, Any] = {
        "epochs": given.n_epochs,
        "batch_size": given.batch_size,
        "learning_rate": _times(base.learning_rate, given.learning_rate_multiplier),
        "beta": given.beta if isinstance(given, DpoHyperparameters) else None,
        "seed": body.seed,
    }
    chosen = {name: value for name, value in overrides.items() if value is not None}
    batch = given.batch_size or base.batch_size
    usual: dict[str, Any] = {
        # What OpenAI keeps: a checkpoint at the end of each epoch, the last three.
        "checkpoint_every": min(_MOST_STEPS, max(1, -(-rows // batch))),
        "keep": _KEPT,
        # OpenAI's client has no word for the longest row, and cuts it: here its pair is left out, and counted.
        "ineffective": "drop",
    }
    if body.validation_file is not None:
        usual["best"] = "eval_loss"
    for name, said in _SAID.items():
        if name in body.config:
            raise Invalid.field(f"config.{name}", "it is said elsewhere in the body", f"give it as `{said}`")
    with invalid_below("config"):
        config = resolve_training(preset, {**usual, **body.config, **chosen})
    return Settings(method, _resolved(method, config, given.learning_rate_multiplier), config)


def _times(rate: float, multiplier: float | None) -> float | None:
    return None if multiplier is None else min(1.0, rate * multiplier)


def _resolved(method: MethodName, config: TrainingConfig, multiplier: float | None) -> dict[str, Any]:
    found = {
        "n_epochs": config.epochs,
        "batch_size": config.batch_size,
        "learning_rate_multiplier": 1.0 if multiplier is None else multiplier,
    }
    return {**found, "beta": config.beta} if method == "dpo" else found


def model_name(base: str, suffix: str | None) -> str:
    """A name that no model has yet, as OpenAI builds them: ``ft:BASE:errata:SUFFIX:UNIQUE``."""
    unique = new_id("x")[-_UNIQUE:]
    rest = f":errata:{suffix or ''}:{unique}"
    # The names of checkpoints are longer, and are names of models too.
    room = _LONGEST_NAME - len("ft:") - len(rest) - len(_STEP_ENDING)
    return f"ft:{base[:room]}{rest}"


def suffix_of(name: str) -> str | None:
    """The suffix that a name was built with."""
    parts = name.split(":")
    return (parts[3] or None) if len(parts) == 5 and parts[0] == "ft" else None
