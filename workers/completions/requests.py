"""A completion's stored request as an engine takes it."""

from __future__ import annotations

from typing import Any

from errata.types import Message, Prompt
from workers.engines.base import GenerationRequest

_VERSION = "completion"


def requests_of(stored: dict[str, Any]) -> list[GenerationRequest]:
    """One request per prompt: chat turns (``messages``), or a ``text`` that the model goes on with as it stands."""
    return [
        GenerationRequest(
            _prompt(prompt),
            n=stored["n"],
            temperature=stored["temperature"],
            top_p=stored["top_p"],
            max_tokens=stored["max_tokens"],
            stop=tuple(stored["stop"]),
            seed=stored["seed"],
        )
        for prompt in stored["prompts"]
    ]


def _prompt(prompt: dict[str, Any]) -> Prompt:
    if "text" in prompt:
        return Prompt((), prompt["text"], _VERSION)
    return Prompt(tuple(Message(each["role"], each["content"]) for each in prompt["messages"]), "", _VERSION)
