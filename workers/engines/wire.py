"""How requests and completions travel between a worker and its engine child: JSON lines, no pickles."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from errata.types import Message, Prompt
from workers.engines.base import Completion, GenerationRequest


def request_to_json(request: GenerationRequest) -> dict[str, Any]:
    """A request as JSON values."""
    return asdict(request)


def request_from_json(data: dict[str, Any]) -> GenerationRequest:
    """The request that ``request_to_json`` wrote."""
    prompt = data["prompt"]
    messages = tuple(Message(**m) for m in prompt["messages"])
    parsed = Prompt(messages, prompt["assistant_prefix"], prompt["version"], tuple(prompt["stop"]))
    return GenerationRequest(**{**data, "prompt": parsed, "stop": tuple(data["stop"])})


def completion_to_json(completion: Completion) -> dict[str, Any]:
    """A completion as JSON values."""
    return asdict(completion)


def completion_from_json(data: dict[str, Any]) -> Completion:
    """The completion that ``completion_to_json`` wrote."""
    return Completion(**data)
