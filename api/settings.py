"""Settings of the API process, read from ``ERRATA_*`` environment variables by the composition root."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.telemetry.settings import MetricsRules
from models.webhook_urls import WebhookRules

MEBIBYTE = 1024 * 1024


class ApiSettings(WebhookRules, MetricsRules, BaseSettings):
    """Where the API listens and what it accepts. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="ERRATA_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address to bind; anything but loopback needs API keys.")
    port: int = Field(8000, ge=0, le=65535)
    require_key: Literal["auto", "always"] = Field(
        "auto", description="auto: on loopback, until the first key exists, requests need none."
    )
    request_limit: int = Field(MEBIBYTE, ge=1024, description="Largest body that holds neither problems nor solutions.")
    body_limit: int = Field(
        16 * MEBIBYTE, ge=1024, description="Largest JSON document of problems or solutions; more goes as JSON lines."
    )
    upload_limit: int = Field(
        1024 * MEBIBYTE, ge=1024, description="Largest uploaded file, as sent and unfolded. It takes disk, not memory."
    )
    upload_rows: int = Field(2_000_000, ge=1, description="Most rows of one uploaded file.")
    body_seconds: float = Field(1800.0, gt=0, description="Longest time that a body may take to come in.")
    body_idle_seconds: float = Field(20.0, gt=0, description="Longest pause while a body comes in.")
    open_bodies: int = Field(64, ge=1, description="Most bodies that are coming in at once; more are answered 503.")
    field_limit: int = Field(100_000, ge=1, description="Most characters of one question, answer or solution.")
    reported_rows: int = Field(
        1_000, ge=1, description="Most different complaints listed by one answer; all rows are counted."
    )
    event_poll_seconds: float = Field(0.5, gt=0, description="How often an event stream looks for news.")
    event_heartbeat_seconds: int = Field(15, ge=1)
    idempotency_wait_seconds: float = Field(
        5.0, gt=0, description="How long a repeated request waits for the first one, before 409 (PostgreSQL)."
    )

    previews: int = Field(2, ge=1, description="Previews of training jobs made at once; each is a process.")
    preview_seconds: float = Field(60.0, gt=0, description="A preview that takes longer is killed.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"
