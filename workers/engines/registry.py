"""The engines there are: one registration each, and the only place that knows them by name.

A registration says which settings a registry entry may have (checked when the entry is made, so that no job finds out),
which class runs the engine and where, and how a model trained on one of its models is served. Loads no torch and no
HTTP: the class is named, and imported where it runs. To add an engine, write its class and one more ``EngineKind``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from errata.prices import Price, StagePrice
from errata.prompt_config import MOST_EXAMPLES
from workers.engines.openai_wire import SERVER_KINDS

Config = dict[str, Any]
DEFAULT_ENGINE = "transformers"
_MOST_SERVERS = 64
# An adapter of rank r needs a vLLM that was started with room for one of these ranks: its choices of max_lora_rank.
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Trained:
    """What a training run leaves: the folder ``path`` with full weights, or with an adapter of ``adapter_rank``."""

    run_id: str
    path: str
    adapter_rank: int | None


Serve = Callable[[Config, Trained], Config | None]
"""From the base's configuration, the trained model's on the same engine; None where that engine cannot serve it."""


@dataclass(frozen=True)
class EngineKind:
    """One engine. ``implementation`` is ``module:Class``; the class takes an entry's configuration.

    ``in_child``: the class is an ``Engine`` or a ``ContinuousEngine`` (workers.engines.base) and runs in a child
    process, in the interpreter that the worker's setting ``python_setting`` names; otherwise it speaks HTTP from the
    worker, and is made like ``OpenAIEngine``.
    ``batches``: how many at once a child takes; 1 where a child's death must be told of one batch alone.
    ``environment``: variables of its child, where ours does not set them.
    ``scores``: whether it has the capability ``prompt_logprobs`` with an entry's configuration; None: known when asked.
    ``indifferent``: settings that change no answer.
    """

    name: str
    settings: type[BaseModel]
    implementation: str
    serve: Serve
    in_child: bool = True
    batches: int = 1
    python_setting: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    scores: Callable[[Config], bool | None] = lambda _config: None
    indifferent: frozenset[str] = frozenset({"few_shot"})  # whose examples stand in the prompts


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


def _serve_by_transformers(base: Config, trained: Trained) -> Config:
    """Full weights and adapters alike: transformers loads an adapter's base along with it."""
    kept = ("device", "max_context", "batch_size", "dtype", *sorted(PROMPTED))
    return {**{name: base[name] for name in kept if name in base}, "path": trained.path}


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


def _serve_by_vllm(base: Config, trained: Trained) -> Config:
    """Full weights take the place of the base's; an adapter is loaded beside its base."""
    if trained.adapter_rank is None:
        # The base's revision names nothing in the run's folder.
        return {**{k: v for k, v in base.items() if k not in ("path", "revision")}, "path": trained.path}
    room = next((size for size in _VLLM_RANKS if size >= trained.adapter_rank), trained.adapter_rank)
    return {**base, "max_lora_rank": max(int(base.get("max_lora_rank") or 0), room), "adapter": trained.path}


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


def _serve_by_server(base: Config, trained: Trained) -> Config | None:
    """A running server takes an adapter under a name of its own; it does not change its weights."""
    if trained.adapter_rank is None:
        return None
    return {**base, "model": trained.run_id, "adapter": trained.path}


_OF_TRAVEL = frozenset(OpenAISettings.model_fields) & {
    "api_key_env", "concurrency", "samples_per_request", "timeout_seconds", "connect_seconds", "retries",
    "backoff_seconds", "backoff_limit_seconds", "retry_after_limit_seconds",
}  # fmt: skip


def _server_scores(config: Config) -> bool | None:
    """By its make, where the entry says it; the server itself is not asked."""
    if not config.get("tokenizer"):
        return False
    kind = SERVER_KINDS.get(config.get("server", "auto"))
    return None if kind is None else kind.prompt_logprobs


ENGINES: dict[str, EngineKind] = {
    kind.name: kind
    for kind in (
        EngineKind(
            "transformers",
            TransformersSettings,
            "workers.engines.transformers_engine:TransformersEngine",
            _serve_by_transformers,
            scores=lambda _config: True,
        ),
        EngineKind(
            "openai",
            OpenAISettings,
            "workers.engines.openai_engine:OpenAIEngine",
            _serve_by_server,
            in_child=False,
            scores=_server_scores,
            indifferent=frozenset({"few_shot", *_OF_TRAVEL}),
        ),
        EngineKind(
            "vllm",
            VllmSettings,
            "workers.engines.vllm_engine:VllmEngine",
            _serve_by_vllm,
            batches=64,
            python_setting="vllm_python",
            # The engine's core in the child itself: nothing else answers for it, and its end is the child's end.
            environment={"VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
            scores=lambda _config: True,
            indifferent=frozenset({"few_shot", "gpu_memory_utilization", "kv_cache_memory_bytes", "max_loras"}),
        ),
    )
}


def price_of(config: Config) -> tuple[StagePrice, str] | None:
    """What an entry's tokens cost, and in which currency; None where it does not say both prices."""
    prompt, completion = config.get("price_prompt"), config.get("price_completion")
    if prompt is None or completion is None:
        return None
    return StagePrice(prompt=prompt, completion=completion), str(config.get("currency", "USD"))


def interpreters(settings: object) -> dict[str, str]:
    """The interpreter of each engine's child that the worker's settings name."""
    named = {kind.name: getattr(settings, kind.python_setting) for kind in ENGINES.values() if kind.python_setting}
    return {name: python for name, python in named.items() if python is not None}


def asks_in_batches(engine: str, config: Config) -> bool:
    """Whether a registry entry's requests go in batches where nobody waits for each answer."""
    return engine == "openai" and config.get("batch") is not None


def can_score(engine: str, config: Config) -> bool | None:
    """Whether a registry entry's engine tells log-probabilities of a given text, as far as its settings say."""
    kind = ENGINES.get(engine)
    return None if kind is None else kind.scores(config)


def served_as(engine: str, base: Config, trained: Trained) -> tuple[str, Config]:
    """Engine and configuration of a trained model: its base's engine where that can serve it, else the default one."""
    kind = ENGINES.get(engine)
    config = None if kind is None else kind.serve(base, trained)
    return (DEFAULT_ENGINE, _serve_by_transformers(base, trained)) if config is None else (engine, config)


def checked(engine: str, given: Config) -> Config:
    """The settings given, numbers read from text. Raises ValueError naming each that is missing, unknown or wrong."""
    settings = ENGINES[engine].settings
    try:
        return settings.model_validate(given).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        told = [_fault(engine, settings, e["type"], ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        raise ValueError("; ".join(told)) from None


def _fault(engine: str, settings: type[BaseModel], kind: str, name: str, message: str) -> str:
    if kind == "missing":
        return f"engine '{engine}' needs {name}"
    if kind == "extra_forbidden":
        known = sorted(settings.model_fields, key=lambda field: field in PROMPTED)  # an engine's own first
        return f"engine '{engine}' has no setting {name}; known are {', '.join(known)}"
    return f"{name}: {message.removeprefix('Value error, ')}"
