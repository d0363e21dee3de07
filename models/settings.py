"""Where things are: database, broker, files. Read from the environment, once, by the composition root."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import fsspec
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from errata.kinds import replace_custom
from errata.kinds.custom import load_kinds

_BROKERS = ("memory", "redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps")


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

    statement_seconds: float = Field(
        60.0,
        alias="ERRATA_STATEMENT_SECONDS",
        ge=1,
        description="Longest that PostgreSQL takes over a statement; a quarter later its connection is given up.",
    )
    kinds_file: Path | None = Field(
        None, alias="ERRATA_KINDS_FILE", description="JSON file with error kinds of the operator's own."
    )

    @field_validator("kinds_file")
    @classmethod
    def _kinds(cls, value: Path | None) -> Path | None:
        if value is not None:
            load_kinds(value)  # its ValueError says what is wrong in the file
        return value

    @field_validator("database_url_given")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        try:
            known = not value or make_url(_psycopg(value)).drivername in ("sqlite", "postgresql+psycopg")
        except ArgumentError:
            known = False
        if not known:
            raise ValueError("give postgresql://user@host:5432/name or sqlite:////folder/errata.db")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        scheme, colon, _ = value.partition(":")
        if not colon or scheme not in _BROKERS:
            raise ValueError("give redis://host:6379/0 or amqp://user@host:5672//; memory:// stays in one process")
        return value

    @field_validator("files_url")
    @classmethod
    def _files(cls, value: str | None) -> str | None:
        try:
            fsspec.get_filesystem_class(fsspec.utils.get_protocol(value or ""))
        except ImportError as error:
            raise ValueError(str(error)) from None
        return value

    @cached_property
    def database_url(self) -> str:
        """The SQLAlchemy URL; ``postgresql://`` means psycopg 3."""
        if self.database_url_given:
            return _psycopg(self.database_url_given)
        return f"sqlite:///{self.home.resolve() / 'errata.db'}"

    def register_kinds(self) -> None:
        """Make the file's kinds known to this process. Raises ValueError for a name that a built-in kind has."""
        kinds = load_kinds(self.kinds_file) if self.kinds_file is not None else []
        replace_custom(entry.kind() for entry in kinds)

    @property
    def embedded(self) -> bool:
        """Whether messages stay inside this process."""
        return self.broker_url.startswith("memory:")

    @property
    def workers_folder(self) -> Path:
        """Where this machine's workers tell how they are."""
        return self.home.resolve() / "workers"

    @property
    def gpu_folder(self) -> Path:
        """Where those who share this machine's GPU meet."""
        return self.home.resolve() / "gpu"

    @property
    def cache(self) -> Path:
        """Local copies of what a remote file store holds, and the checkpoints of runs there."""
        return self.home.resolve() / "cache"

    @property
    def files(self) -> str:
        """Root of dataset, checkpoint and model files, as an fsspec URL or a local path."""
        return self.files_url or str(self.home.resolve() / "files")


def _psycopg(url: str) -> str:
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url
