"""The smallest engine there can be: it answers every request with its last message, in capitals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workers.engines.base import Capabilities, Completion, GenerationRequest


class ToyEngine:
    """An Engine (workers.engines.base) without a model."""

    capabilities = Capabilities(assistant_prefix=True, per_request_seed=True, prefix_cache=False)
    version = "toy 1"

    def __init__(self, config: dict[str, Any]) -> None:
        self._end = config.get("end", "")

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """One completion per sample asked for."""
        texts = [request.prompt.messages[-1].content.upper() + self._end for request in requests]
        return [[Completion(text, "stop", 1, 1)] * request.n for text, request in zip(texts, requests, strict=True)]

    def close(self) -> None:
        """Nothing is held."""
