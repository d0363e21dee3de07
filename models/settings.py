"""Where things are: database, broker, files. Read from the environment, once, by the composition root."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """``DATABASE_URL``, ``BROKER_URL`` and ``ERRATA_HOME``; without them everything is local and embedded."""

    # Not populate_by_name: it would read a field from the variable of its own name too, `home` from HOME.
    model_config = SettingsConfigDict(extra="ignore")

    home: Path = Field(Path("data"), alias="ERRATA_HOME", description="Folder of everything Errata writes.")
    database_url_given: str | None = Field(None, alias="DATABASE_URL")
    broker_url: str = Field("memory://", alias="BROKER_URL")
    gpu_turns: Literal["auto", "on", "off"] = Field(
        "auto",
        alias="ERRATA_GPU_TURNS",
        description="Generation and training lend the GPU to each other; auto: where the machine has exactly one.",
    )
    files_url: str | None = Field(None, alias="ERRATA_FILES_URL", description="fsspec URL; default: a folder of home.")

    @cached_property
    def database_url(self) -> str:
        """The SQLAlchemy URL; ``postgresql://`` means psycopg 3."""
        if self.database_url_given:
            url = self.database_url_given
            for old in ("postgres://", "postgresql://"):
                if url.startswith(old):
                    return "postgresql+psycopg://" + url.removeprefix(old)
            return url
        return f"sqlite:///{self.home.resolve() / 'errata.db'}"

    @property
    def embedded(self) -> bool:
        """Whether messages stay inside this process."""
        return self.broker_url.startswith("memory:")

    @property
    def gpu_folder(self) -> Path:
        """Where those who share this machine's GPU meet."""
        return self.home.resolve() / "gpu"

    @property
    def files(self) -> str:
        """Root of dataset, checkpoint and model files, as an fsspec URL or a local path."""
        return self.files_url or str(self.home.resolve() / "files")
