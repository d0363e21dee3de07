"""The engines there are: one registration each, and the only place that knows them by name.

A registration says which settings a registry entry may have (checked when the entry is made, so that no job finds out),
which class runs the engine and where, and how a model trained on one of its models is served. Loads no torch and no
HTTP: the class is named, and imported where it runs. To add an engine, write its class and one more ``EngineKind``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from errata.prices import StagePrice
from workers.engines.entry_settings import PRICED, PROMPTED, OpenAISettings, TransformersSettings, VllmSettings
from workers.engines.openai_wire import SERVER_KINDS

Config = dict[str, Any]
DEFAULT_ENGINE = "transformers"
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


def _serve_by_transformers(base: Config, trained: Trained) -> Config:
    """Full weights and adapters alike: transformers loads an adapter's base along with it."""
    kept = ("device", "max_context", "batch_size", "dtype", *sorted(PROMPTED))
    return {**{name: base[name] for name in kept if name in base}, "path": trained.path}


def _serve_by_vllm(base: Config, trained: Trained) -> Config:
    """Full weights take the place of the base's; an adapter is loaded beside its base."""
    if trained.adapter_rank is None:
        # The base's revision names nothing in the run's folder.
        return {**{k: v for k, v in base.items() if k not in ("path", "revision")}, "path": trained.path}
    room = next((size for size in _VLLM_RANKS if size >= trained.adapter_rank), trained.adapter_rank)
    return {**base, "max_lora_rank": max(int(base.get("max_lora_rank") or 0), room), "adapter": trained.path}


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
        known = sorted(settings.model_fields, key=lambda field: field in PROMPTED | PRICED)  # an engine's own first
        return f"engine '{engine}' has no setting {name}; known are {', '.join(known)}"
    return f"{name}: {message.removeprefix('Value error, ')}"
