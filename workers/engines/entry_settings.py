"""The settings that a registry entry may have, by engine (docs/engines.md). Loads no torch and no HTTP."""

from __future__ import annotations

import datetime
import json
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from errata.prices import Price
from errata.prompt_config import MOST_EXAMPLES

_MOST_SERVERS = 64


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Prompted(_Settings):
    """How a model is prompted, whatever engine serves it; see docs/engines.md.

    ``few_shot``: the examples that its edits get where a job leaves that open; 0 for a model that was trained on the
    bare prompts. ``template_kwargs``: variables of its chat template, as JSON. ``date``: what the template takes for
    today; the same one for ever where it is left out.
    """

    few_shot: int | None = Field(None, ge=0, le=MOST_EXAMPLES)
    template_kwargs: dict[str, Any] | None = None
    date: datetime.date | None = None

    @field_validator("template_kwargs", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('give a JSON object, such as {"enable_thinking": false}') from None
        taken = sorted(_TAKEN & set(found)) if isinstance(found, dict) else []
        if taken:
            raise ValueError(f"'{taken[0]}' is set by Errata itself")
        return found


class _Priced(_Settings):
    """What a million tokens cost, read and generated, in a currency that is a label (errata.prices)."""

    price_prompt: Price | None = None
    price_completion: Price | None = None
    currency: str = Field("USD", min_length=1, max_length=20)


#: What an entry says of its model's prices; no engine sees it.
PRICED = frozenset(_Priced.model_fields)
#: What an entry says of its model's prompts; carried on to models that are trained from it.
PROMPTED = frozenset(_Prompted.model_fields)
_TAKEN = frozenset({"messages", "conversation", "tools", "documents", "add_generation_prompt", "chat_template"}) | {
    "continue_final_message", "tokenize", "return_dict", "return_tensors", "padding", "truncation", "max_length",
}  # fmt: skip


class TransformersSettings(_Prompted, _Priced):
    """Settings of engine ``transformers``; see docs/engines.md."""

    path: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    device: str | None = None
    max_context: PositiveInt | None = None
    batch_size: PositiveInt = 64


class VllmSettings(_Prompted, _Priced):
    """Settings of engine ``vllm``; see docs/engines.md. Dumped by alias they are vLLM's own arguments."""

    path: str = Field(serialization_alias="model")
    revision: str | None = None
    dtype: str | None = None
    tensor_parallel: PositiveInt | None = Field(None, serialization_alias="tensor_parallel_size")
    pipeline_parallel: PositiveInt | None = Field(None, serialization_alias="pipeline_parallel_size")
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    quantization: str | None = None
    max_context: PositiveInt | None = Field(None, serialization_alias="max_model_len")
    max_sequences: PositiveInt | None = Field(None, serialization_alias="max_num_seqs")
    block_size: PositiveInt | None = None
    kv_cache_memory_bytes: PositiveInt | None = None
    enforce_eager: bool | None = None
    max_lora_rank: PositiveInt | None = None  # room for adapters of up to this rank; none without it
    max_loras: PositiveInt | None = None
    adapter: str | None = None


class BatchSettings(_Settings):
    """How an entry asks in batches; see docs/engines.md. Times in seconds, but ``window`` as the provider reads it."""

    window: str = Field("24h", pattern=r"^\d{1,4}[mhd]$")
    poll_seconds: float = Field(30.0, gt=0)
    max_requests: PositiveInt = 50_000
    max_bytes: PositiveInt = 100_000_000
    max_open: PositiveInt = 500


class OpenAISettings(_Prompted, _Priced):
    """A registry entry's settings for engine ``openai``. Times in seconds.

    ``path`` names the weights the server was started with, where they are to be trained. ``adapter``: a folder of the
    server's own disk, loaded under the name ``model`` when the server does not have it.

    ``timeout_seconds`` bounds one attempt, so it must outlast the longest completion; ``concurrency`` bounds the
    requests in flight per worker process, over all shards and all entries of one server. ``samples_per_request`` 1
    suits servers without ``n``. ``limit_field``: by which name it is first told how long a completion may be.
    """

    base_url: str | list[str]
    model: str
    api_key_env: str | None = None
    server: Literal["auto", "vllm", "sglang", "llamacpp", "openai"] = "auto"
    tokenizer: str | None = None
    path: str | None = None
    adapter: str | None = None
    revision: str | None = None
    max_context: int | None = Field(None, gt=0)
    concurrency: int = Field(64, gt=0, le=4096)
    samples_per_request: int | None = Field(None, gt=0)
    timeout_seconds: float = Field(600.0, gt=0)
    connect_seconds: float = Field(5.0, gt=0)
    retries: int = Field(5, ge=0)
    backoff_seconds: float = Field(0.5, ge=0)
    backoff_limit_seconds: float = Field(30.0, ge=0)
    retry_after_limit_seconds: float = Field(120.0, ge=0)
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    batch: BatchSettings | None = None

    @field_validator("batch", mode="before")
    @classmethod
    def _read_batch(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('give a JSON object, such as {"window": "24h"}') from None

    @model_validator(mode="after")
    def _one_provider(self) -> Self:
        if self.batch is not None and len(self.urls) > 1:
            raise ValueError("batch: a batch is one provider's; give one base_url")
        return self

    @field_validator("base_url", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        given = addresses(value)
        if not given:
            raise ValueError(
                "give http://host:port/v1 or https://...; of several servers all, with commas between them"
            )
        if len(given) > _MOST_SERVERS or len(set(given)) < len(given):
            raise ValueError(f"name each server once, and at most {_MOST_SERVERS}")
        plain = [_plain_address(each) for each in given]
        return plain[0] if len(plain) == 1 else plain

    @property
    def urls(self) -> list[str]:
        """Where the entry's servers listen."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url

    @property
    def url(self) -> str:
        """Where the first of them listens."""
        return self.urls[0]

    def at(self, url: str) -> OpenAISettings:
        """The same settings for one of the servers alone."""
        return self.model_copy(update={"base_url": url})


def addresses(value: Any) -> list[str]:
    """The addresses that ``base_url`` names: one, a list of them, or several in one text with commas between them."""
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(each).strip() for each in listed if str(each).strip()]


def _plain_address(value: str) -> str:
    """The address as it is used. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give http://host:port/v1 or https://...")
    if parts.username or parts.password or parts.query:
        raise ValueError("no credentials in the address: name the key's environment variable in api_key_env")
    return value.rstrip("/")
