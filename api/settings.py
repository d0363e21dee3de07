"""Settings of the API process, read from ``ERRATA_*`` environment variables by the composition root."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.oidc.rules import Rule, load_rules
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

    open_completions: int = Field(32, ge=1, description="Most completions of one workspace at once; more are 429.")
    completion_look_seconds: float = Field(
        0.1, gt=0, description="How often a completion that is being answered is looked at."
    )
    completion_seconds: float = Field(600.0, gt=0, description="Longest time that a completion may take.")

    hub_intake: bool = Field(False, description="Whether problem sets may be taken from the hub by name.")
    hub_endpoint: str | None = Field(
        None, pattern=r"^https?://", description="The hub's address; default: HF_ENDPOINT, else huggingface.co."
    )
    hub_token: SecretStr | None = Field(
        None, description="The token for the hub: every key with the scope `write` reads what it opens."
    )

    model_sources: str = Field(
        "",
        description="Where models that are added over HTTP may lie, with commas between: folders, hub:owner or"
        " hub:owner/name, addresses of model servers; empty: none.",
    )

    previews: int = Field(2, ge=1, description="Previews of training jobs made at once; each is a process.")
    preview_seconds: float = Field(60.0, gt=0, description="A preview that takes longer is killed.")

    trusted_proxies: str = Field(
        "127.0.0.1", description="Addresses and networks, with commas, whose X-Forwarded-For and -Proto are believed."
    )
    public_url: str | None = Field(None, description="Address of this service as browsers see it; default: as asked.")
    session_hours: float = Field(12.0, gt=0, description="How long a browser stays signed in by OpenID Connect.")
    oidc_issuer: str | None = Field(None, description="OpenID Connect provider that people sign in with.")
    oidc_client_id: str | None = Field(None, validate_default=True)
    oidc_client_secret_file: Path | None = Field(None, description="File with the client secret; none: public client.")
    oidc_rules_file: Path | None = Field(
        None, validate_default=True, description="JSON: who may sign in, to which workspace, with which scopes."
    )
    oidc_scope: str = Field("openid email profile", description="Scopes that the provider is asked for.")
    oidc_groups_claim: str = Field("groups", description="The claim that lists a person's groups.")

    @field_validator("public_url", "oidc_issuer")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("give an address such as https://login.example.org")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("give an https:// address; http is for this machine only")
        return value.rstrip("/")

    @field_validator("model_sources")
    @classmethod
    def _sources(cls, value: str) -> str:
        for source in filter(None, (part.strip() for part in value.split(","))):
            if not source.startswith(("/", "hub:", "http://", "https://")):
                raise ValueError(f"{source}: give absolute folders, hub:owner, hub:owner/name, or http(s):// addresses")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _client(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("missing, while ERRATA_OIDC_ISSUER is set; give the id that the provider knows this by")
        return value

    @field_validator("oidc_client_secret_file")
    @classmethod
    def _secret(cls, value: Path | None) -> Path | None:
        if value is not None and not _read(value):
            raise ValueError(f"{value}: the file is empty")
        return value

    @field_validator("oidc_rules_file")
    @classmethod
    def _rules(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("oidc_issuer") and value is None:
            raise ValueError("missing, while ERRATA_OIDC_ISSUER is set; give a JSON file that says who may sign in")
        if value is not None:
            load_rules(value)
        return value

    @cached_property
    def oidc_client_secret(self) -> str | None:
        """The client secret; it stands in no environment variable and no log."""
        return _read(self.oidc_client_secret_file) if self.oidc_client_secret_file else None

    @cached_property
    def oidc_rules(self) -> tuple[Rule, ...]:
        """Who may sign in."""
        return load_rules(self.oidc_rules_file) if self.oidc_rules_file else ()

    @cached_property
    def allowed_model_sources(self) -> tuple[str, ...]:
        """The entries of ``model_sources``."""
        return tuple(source.strip() for source in self.model_sources.split(",") if source.strip())

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        return _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
