"""The engine protocol: a list of requests in, completions with finish reason and token counts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from errata.types import Prompt

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A registry entry as an engine needs it: which engine, and that engine's ``config`` (models.language_models)."""

    name: str
    engine: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt, ``n`` completions. ``temperature`` 0 is greedy (then ``n`` must be 1); ``max_tokens`` bounds each.

    ``seed`` seeds the first completion, ``seed + i`` the i-th: on CPU float32 the same request gives the same text,
    whatever else is in the batch.
    """

    prompt: Prompt
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What followed the prompt's assistant prefix, without it and without the stop string.

    ``prompt_tokens`` counts the prompt once per completion's request (on its first completion; 0 on the others);
    ``cached_tokens`` are those of them served from a prefix cache.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class EngineError(Exception):
    """An engine could not answer. ``retryable`` tells whether the same request may succeed later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class Cancelled(Exception):
    """The caller asked to stop, or lost its lease."""


class Engine(Protocol):
    """Generates for one language model."""

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request, in request order. Raises EngineError, or Cancelled soon after ``cancelled()``."""
        ...

    def close(self) -> None:
        """Free the engine's memory and processes."""
        ...
