"""Pieces of texts as OpenAI's chunks, and whole texts as its answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.completions.schemas import (
    CachedTokens,
    ChatChoiceOut,
    ChatOut,
    MessageOut,
    TextChoiceOut,
    TextOut,
    UsageOut,
)
from models.completions import Piece


@dataclass
class Whole:
    """The texts put together from their pieces."""

    texts: dict[int, str] = field(default_factory=dict)
    ends: dict[int, Any] = field(default_factory=dict)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Some more pieces."""
        for index, text, end in pieces:
            self.texts[index] = self.texts.get(index, "") + text
            if end is not None:
                self.ends[index] = end


@dataclass
class Shape:
    """One request's answer: a chat's where ``chat``, else a text's. ``counted``: its stream ends with the usage."""

    id: str
    model: str
    created: int
    chat: bool
    counted: bool = False
    _begun: set[int] = field(default_factory=set)

    def chunks(self, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
        """The chunks of some pieces; a chat's choice begins with its role, and each ends with how it ended."""
        for index, text, end in pieces:
            if self.chat and index not in self._begun:
                self._begun.add(index)
                yield self._chunk(index, {"delta": {"role": "assistant", "content": ""}})
            if text:
                yield self._chunk(index, {"delta": {"content": text}} if self.chat else {"text": text})
            if end is not None:
                yield self._chunk(index, {"delta": {}} if self.chat else {"text": ""}, end)

    def usage_chunk(self, usage: dict[str, Any] | None) -> dict[str, Any]:
        """The chunk with the counts, which has no choices."""
        return {**self._head(), "choices": [], "usage": _usage(usage).model_dump()}

    def answer(self, whole: Whole, usage: dict[str, Any] | None) -> ChatOut | TextOut:
        """The answer of a request that is not streamed."""
        about: dict[str, Any] = {"id": self.id, "created": self.created, "model": self.model, "usage": _usage(usage)}
        if self.chat:
            return ChatOut(
                **about,
                choices=[
                    ChatChoiceOut(index=at, message=MessageOut(content=text), finish_reason=whole.ends[at])
                    for at, text in sorted(whole.texts.items())
                ],
            )
        return TextOut(
            **about,
            choices=[
                TextChoiceOut(index=at, text=text, finish_reason=whole.ends[at])
                for at, text in sorted(whole.texts.items())
            ],
        )

    def _chunk(self, index: int, added: dict[str, Any], end: str | None = None) -> dict[str, Any]:
        choice = {"index": index, **added, "logprobs": None, "finish_reason": end}
        return {**self._head(), "choices": [choice], **({"usage": None} if self.counted else {})}

    def _head(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        about = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**about, "system_fingerprint": None}


def _usage(usage: dict[str, Any] | None) -> UsageOut:
    told = usage or {}
    prompt, completion = int(told.get("prompt", 0)), int(told.get("completion", 0))
    return UsageOut(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=CachedTokens(cached_tokens=int(told.get("cached", 0))),
    )
