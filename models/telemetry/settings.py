"""Settings of what is measured, shared by the roles. Mixed into their own settings."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr, field_validator

_SHORTEST_TOKEN = 16


class MetricsRules(BaseModel):
    """Who may read metrics. They count rows of every workspace, so no API key opens them."""

    metrics_token: SecretStr | None = Field(
        None, description="What Prometheus sends as a bearer token; without it the API has no /metrics."
    )

    @field_validator("metrics_token")
    @classmethod
    def _long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < _SHORTEST_TOKEN:
            raise ValueError(f"give at least {_SHORTEST_TOKEN} characters, such as from `openssl rand -hex 24`")
        return value


class PortRules(BaseModel):
    """Where a worker or sweeper, which has no API, shows its metrics."""

    metrics_host: str = Field("127.0.0.1", description="Address of a worker's metrics.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of a worker's metrics, each process its own; without it there are none."
    )
