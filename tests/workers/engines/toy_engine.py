"""The smallest engine there can be: it answers every request with its last message, in capitals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workers.engines.base import Cancelled, Capabilities, Completion, GenerationRequest, Text


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


class SlowToyEngine(ToyEngine):
    """A StreamingEngine: writes its answer word by word, for as long as a file named by ``hold`` is there."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._hold = Path(config["hold"])
        self._words = ""

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """As the toy, once it may end."""
        self._words = requests[0].prompt.messages[-1].content.upper()[:3]
        while self._hold.exists():
            if cancelled():
                raise Cancelled
            time.sleep(0.01)
        return super().generate(requests)

    def texts(self, number: int) -> list[Text]:
        """The first letters of the first request's answer."""
        return [(0, 0, self._words)]
