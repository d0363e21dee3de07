"""What the daemon hands to the process it starts: one JSON file, everything resolved. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workers.training.config import TrainingConfig


class RunSpec(BaseModel):
    """One training run as its process sees it: local folders only, no database."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    config: TrainingConfig
    model_path: str = Field(description="Folder, or hub id where the operator registered one.")
    model_revision: str | None = None
    dataset_folder: Path
    checkpoints: Path
    output: Path
    reference: Path = Field(description="Folder of stored reference log-probabilities, by fingerprint.")
    last_step: int = Field(0, ge=0, description="Newest checkpoint the store knows of; 0: none was ever written.")
    lease_seconds: float = Field(120.0, gt=0, description="Without a word of the daemon for this long, end.")
    lineage: dict[str, Any] = Field(default_factory=dict, description="For the model card.")
