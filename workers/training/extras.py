"""Optional packages a configuration needs: asked for before a run starts, so that a missing one is named."""

from __future__ import annotations

from importlib.util import find_spec

from workers.training.config import TrainingConfig
from workers.training.protocol import Refused


def require_packages(config: TrainingConfig) -> None:
    """Raise Refused naming the first package of ``config`` that this environment lacks."""
    wanted: dict[str, str] = {f"report_to {name!r}": name for name in config.report_to}
    if config.lora is not None and config.lora.quantize_4bit:
        wanted["lora.quantize_4bit"] = "bitsandbytes"
    for setting, package in wanted.items():
        if find_spec(package) is None:
            raise Refused(f"{setting} needs the package {package} where the trainer runs: install it, or leave it out")
