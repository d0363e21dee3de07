"""What a registry entry may set, by engine: checked when it is made, so that no job finds out. Loads no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from workers.engines.openai_http import OpenAISettings


class TransformersSettings(BaseModel):
    """Settings of engine ``transformers``; see docs/engines.md."""

    model_config = ConfigDict(extra="forbid")

    path: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    device: str | None = None
    max_context: PositiveInt | None = None
    batch_size: PositiveInt = 64


class VllmSettings(BaseModel):
    """Settings of engine ``vllm``, most of them vLLM's own; see docs/engines.md."""

    model_config = ConfigDict(extra="forbid")

    path: str
    revision: str | None = None
    dtype: str | None = None
    tensor_parallel: PositiveInt | None = None
    pipeline_parallel: PositiveInt | None = None
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    quantization: str | None = None
    max_context: PositiveInt | None = None
    max_sequences: PositiveInt | None = None
    block_size: PositiveInt | None = None
    kv_cache_memory_bytes: PositiveInt | None = None
    enforce_eager: bool | None = None
    max_lora_rank: PositiveInt | None = None
    max_loras: PositiveInt | None = None
    adapter: str | None = None


SETTINGS: dict[str, type[BaseModel]] = {
    "transformers": TransformersSettings,
    "openai": OpenAISettings,
    "vllm": VllmSettings,
}


def checked(engine: str, given: dict[str, Any]) -> dict[str, Any]:
    """The settings given, numbers read from text. Raises ValueError naming each that is missing, unknown or wrong."""
    settings = SETTINGS[engine]
    try:
        return settings.model_validate(given).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        told = [_told(engine, settings, e["type"], ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        raise ValueError("; ".join(told)) from None


def _told(engine: str, settings: type[BaseModel], kind: str, name: str, message: str) -> str:
    if kind == "missing":
        return f"engine '{engine}' needs {name}"
    if kind == "extra_forbidden":
        return f"engine '{engine}' has no setting {name}; known are {', '.join(settings.model_fields)}"
    return f"{name}: {message.removeprefix('Value error, ')}"
