"""Settings of workers and sweeper, read from ``ERRATA_*`` environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.telemetry.settings import MetricsRules, PortRules
from models.webhook_urls import WebhookRules


class WorkerSettings(WebhookRules, PortRules, MetricsRules, BaseSettings):
    """Times in seconds. Leases must outlive a few missed heartbeats: expiry is at least three of them."""

    model_config = SettingsConfigDict(env_prefix="ERRATA_", extra="ignore")

    heartbeat_seconds: float = Field(10.0, gt=0)
    lease_seconds: float = Field(60.0, gt=0)
    progress_seconds: float = Field(2.0, gt=0, description="How often a running stage writes how far it is.")
    cancel_poll_seconds: float = Field(0.5, gt=0, description="How often a running stage asks whether to stop.")
    sweep_seconds: float = Field(15.0, gt=0)
    resend_after_seconds: float = Field(15.0, gt=0, description="A hint not taken up for this long is sent again.")
    resend_limit: int = Field(256, gt=0, description="Hints re-sent per sweep, and into a queue no longer than this.")
    ask_seconds: float = Field(15.0, gt=0, description="How often an idle worker asks the database for a shard itself.")
    idempotency_days: float = Field(7.0, gt=0, description="How long a repeated POST is recognized by its key.")
    event_days: float | None = Field(None, gt=0, description="How long events of what has ended are kept.")
    sample_days: float | None = Field(
        None, gt=0, description="How long samples that are not correct, and edits without a pair, outlive their job."
    )
    audit_days: float = Field(365.0, ge=0, description="How long the audit log keeps its entries; 0: for good.")
    cache_answers: bool = Field(True, description="Keep generated answers for the same requests of later jobs.")
    cache_days: float | None = Field(30.0, gt=0, description="How long an answer is kept that is not used again.")
    cache_megabytes: float = Field(2048.0, ge=0, description="Texts kept at most; those used longest ago go first.")
    cache_unknown_revisions: bool = Field(
        False, description="Keep answers of models of no known revision too: one that changes is then answered for."
    )
    failure_backoff_seconds: float = Field(1.0, ge=0)
    engine_retry_seconds: float = Field(5.0, ge=0, description="Wait before asking an unreachable engine again.")
    engine_stall_seconds: float = Field(
        3600.0, gt=0, description="An engine child that has work and is silent for so long, loading included, is ended."
    )
    judge_processes: int = Field(1, gt=0)
    allow_code: bool = Field(False, description="Run candidate code in the guarded child (code domain).")
    generation_threads: int = Field(
        4, gt=0, description="Shards in flight per generation worker: one's tail overlaps the next one's head."
    )
    grading_threads: int = Field(1, gt=0)
    completion_threads: int = Field(4, gt=0, description="Completions that a generation worker answers at once.")
    completion_poll_seconds: float = Field(
        0.2, gt=0, description="How often a generation worker looks for completions to answer."
    )
    batch_poll_seconds: float = Field(
        2.0,
        gt=0,
        description="How often a generation worker looks for batches that are to be looked at.",
    )
    loaded_models: int = Field(1, gt=0, description="Language models an engine child keeps loaded at once.")
    vllm_python: str | None = Field(None, description="Interpreter of the environment that has vllm; unset: this one.")
    torch_threads: int = Field(0, ge=0, description="Threads of an engine child; 0: torch decides.")
    webhook_poll_seconds: float = Field(2.0, gt=0, description="How often webhooks to be sent are looked for.")
    webhook_timeout_seconds: float = Field(10.0, gt=0, description="Longest time that one attempt may take.")
    webhook_disable_days: float = Field(5.0, gt=0, description="A webhook that fails for so long is disabled.")
    webhook_keep_days: float = Field(30.0, gt=0, description="How long deliveries that ended are listed.")

    @property
    def retention(self) -> dict[str, float | None]:
        """After how many days old rows go, by the setting of each rule of models.retention; null: never."""
        days = self.model_dump(include={"idempotency_days", "event_days", "sample_days", "cache_days"})
        return {**days, "audit_days": self.audit_days or None}

    @property
    def cache_bytes(self) -> int:
        """How many bytes of answers' texts are kept."""
        return round(self.cache_megabytes * 2**20)
