"""The arms of ``bench.reproduce``: each a way of making a model of a miniature, as /v1/studies takes it.

Every arm that trains gets two trials, which the study chooses between on validation problems. The fallback of the
preset ``errata`` is off in every arm: each edit is by the editor that the arm names. ``fine-tuning`` is the control:
the model's own correct samples, as many optimizer steps of the same batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Overrides = dict[str, Any]
CONTROL = "fine-tuning"
SAMPLING: Overrides = {"samples": 4, "adaptive": False, "temperature": 1.0, "max_tokens": 160}
_WORDS: Overrides = {"temperature": 0.8, "attempts": 4, "fallback": []}
_CONTINUED: Overrides = {"k": 8, "max_tokens": 160}
#: Step pairs alone, and three times an ungated likelihood term on the chosen step.
_STEPS: Overrides = {"beta": 1.0, "nll_weight": 3.0, "nll_gate": False, "full_weight": 0.0}
_RATES: list[Overrides] = [{"learning_rate": 1e-4}, {"learning_rate": 1.5e-4}]


def _injection(preset: str, editing: Overrides | None = None, **more: Any) -> Overrides:
    config = {"shard_size": 32, "sampling": SAMPLING, "editing": _WORDS if editing is None else editing, **more}
    return {"preset": preset, "config": config}


def _arm(injection: Overrides, training_preset: str = "errata", trials: Any = None, **training: Any) -> Overrides:
    return {**injection, "training_preset": training_preset, "training": training, "trials": trials or _RATES}


_ERRATA = _injection("errata")
_MINED = _injection("mined", {"fallback": []}, proof={"continuations": {"when": "unproven", **_CONTINUED}})
_SLIP = _injection("slip", {"fallback": []})
_PAPER_RATES: list[Overrides] = [{"learning_rate": 5e-5}, {"learning_rate": 1e-4}]

ARMS: dict[str, Overrides] = {
    "base": {"trains": False},
    CONTROL: _arm(_ERRATA, "sft"),
    "step-NLL": _arm(_ERRATA, "step-nll"),
    "errata": _arm(_ERRATA, **_STEPS),
    "mined": _arm(_MINED, **_STEPS),
    "mined-NLL": _arm(_MINED, "step-nll", weight_by="error_rate"),
    "mined-weighted": _arm(_MINED, **_STEPS, weight_by="error_rate"),
    "differing-span": _arm(_ERRATA, **_STEPS, score="differing"),
    "slip": _arm(_SLIP, **_STEPS),
    "full-only": _arm(_injection("full-only"), beta=0.3),
    "step-only": _arm(_injection("step-only"), beta=0.3, nll_weight=0.0),
    "random-token": _arm(_injection("random-token", {}), **_STEPS),
    "rules": _arm(_injection("rules", {}), **_STEPS),
    "consistent": _arm(_injection("errata", {**_WORDS, "form": {"consistent": 1.0}}), **_STEPS),
    "paper": _arm(_injection("paper", {}), "paper", _PAPER_RATES, dtype="float32", gradient_checkpointing=False),
    "scripts": _arm(_injection("scripts", {}), "scripts", _PAPER_RATES, dtype="float32", gradient_checkpointing=False),
    "two-rounds": {**_arm(_ERRATA, **_STEPS), "rounds": 2},
}
QUICK = ("base", CONTROL, "step-NLL", "errata", "mined")


def arms_of(names: tuple[str, ...], presets: Mapping[str, Any]) -> tuple[list[Overrides], list[str]]:
    """The arms of these names, and those left out because the service has no such preset. Raises ValueError."""
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise ValueError(f"there is no arm '{unknown[0]}'; the arms are {', '.join(ARMS)}")
    left_out = [name for name in names if ARMS[name].get("preset", "errata") not in presets]
    return [{"name": name, **ARMS[name]} for name in names if name not in left_out], left_out
