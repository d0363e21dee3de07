"""Settings of the trainer daemon, read from ``ERRATA_TRAINER_*`` environment variables. Times in seconds."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from workers.training.supervise import launch


class TrainerSettings(BaseSettings):
    """How runs are claimed and watched. The lease must outlive a few missed heartbeats."""

    model_config = SettingsConfigDict(env_prefix="ERRATA_TRAINER_", extra="ignore")

    heartbeat_seconds: float = Field(15.0, gt=0)
    lease_seconds: float = Field(120.0, gt=0)
    poll_seconds: float = Field(1.0, gt=0, description="How often waiting runs and requests to stop are looked for.")
    stall_seconds: float = Field(900.0, gt=0, description="A process that has not advanced for this long is killed.")
    loading_seconds: float = Field(1800.0, gt=0, description="The same, while imports and weights are loaded.")
    stop_seconds: float = Field(120.0, gt=0, description="A process asked to stop is killed after this long.")
    backoff_seconds: float = Field(2.0, ge=0, description="Wait before a failed run is tried again; doubles.")
    gather_seconds: float = Field(
        300.0, gt=0, description="How long a run waits for its other hosts; then it waits as long for its next turn."
    )
    address: str | None = Field(
        None, max_length=253, description="Under which other hosts reach this one; none: by the route to the database."
    )
    port: int = Field(0, ge=0, le=65535, description="Where the hosts of a run meet at this one; 0: any free port.")
    accelerate_config: Path | None = Field(
        None, description="Start runs with `accelerate launch` and this file, or the shipped one of this name."
    )
    threads: int = Field(0, ge=0, description="CPU threads of a run; 0: torch decides.")

    @field_validator("accelerate_config", mode="before")
    @classmethod
    def _launchable(cls, value: object) -> Path | None:
        if value is None or value == "":
            return None
        path = launch.config_file(str(value))
        launch.check(path, launch.visible_gpus())
        return path
