"""How one server is asked for a request's completions: what is sent, and what its refusals are taken for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from workers.engines.base import Completion, EngineError, storable
from workers.engines.entry_settings import PROMPTED, OpenAISettings
from workers.engines.grammars import frame_body, from_json
from workers.engines.joints import held_back_of, without_held_back
from workers.engines.openai_about import About
from workers.engines.openai_dialect import Dialect
from workers.engines.openai_http import RequestRejected
from workers.engines.openai_wire import HOSTED, Choices, ServerKind, Unit, read_choices, request_body
from workers.engines.rendering import LocalTokenizer, prompt_ids
from workers.engines.templates import sent_values

_CONTEXT = re.compile(r"context (?:length|size|window)\D{0,40}(\d+)", re.IGNORECASE)
Post = Callable[[str, dict[str, Any], Unit], Awaitable[dict[str, Any]]]
"""Sends the body of a unit to a path below ``/v1``, and gives the answer. Raises RequestRejected or EngineError."""


@dataclass(frozen=True)
class Line:
    """The way to the server for one request: how it is sent, and where it is counted what had to be asked again."""

    post: Post
    retried: Counter[str]


class Asker:
    """Makes a unit's body for one server and its answer completions. ``about`` is what the server said of itself."""

    def __init__(self, name: str, settings: OpenAISettings, tokenizer: LocalTokenizer | None) -> None:
        self._name, self._settings, self._tokenizer = name, settings, tokenizer
        self._dialect = Dialect(limit=settings.limit_field)
        self.about: About | None = None

    @property
    def kind(self) -> ServerKind:
        """The server's make; a hosted one's before it was asked."""
        return HOSTED if self.about is None else self.about.kind

    @property
    def max_context(self) -> int | None:
        """Tokens of prompt and completion together; None where nobody told."""
        told = None if self.about is None else self.about.max_context
        limits = [limit for limit in (self._settings.max_context, told) if limit]
        return min(limits, default=None)

    async def ask(self, unit: Unit, line: Line) -> list[Completion]:
        """The unit's completions. Raises RequestRejected or EngineError."""
        return await (self._chat if self._tokenizer is None else self._ids)(unit, line)

    def held_back(self, unit: Unit) -> str:
        """The spaces that the model writes itself at the unit's joint (workers.engines.joints)."""
        return "" if self._tokenizer is None else held_back_of(self._tokenizer, unit.request.prompt)

    async def _ids(self, unit: Unit, line: Line) -> list[Completion]:
        ids = prompt_ids(self._tokenizer, unit.request.prompt)
        limit, context = unit.request.max_tokens, self.max_context
        if context is not None:
            # vLLM refuses a request that could outgrow the context, though it would most likely end before.
            limit = min(limit, context - len(ids))
        if limit <= 0:
            return [Completion("", "length", len(ids) * (at == 0), 0) for at in range(unit.count)]
        body = request_body(self._settings.model, self.kind, unit, limit) | {"prompt": ids}
        held = self.held_back(unit)
        found = await self._fitting("/completions", body, unit, line)
        return [replace(completion, text=without_held_back(completion.text, held)) for completion in found]

    async def _text(self, unit: Unit, line: Line) -> list[Completion]:
        """What goes on from a text that is no chat, which the server makes tokens of."""
        limit = min(unit.request.max_tokens, self.max_context or unit.request.max_tokens)
        body = request_body(self._settings.model, self.kind, unit, limit)
        body["prompt"] = unit.request.prompt.assistant_prefix
        return await self._fitting("/completions", body, unit, line)

    async def _chat(self, unit: Unit, line: Line) -> list[Completion]:
        if not unit.request.prompt.messages:
            return await self._text(unit, line)
        frame = unit.request.frame
        if frame is not None and self.kind is HOSTED:
            return await self._as_json(unit, frame, line)
        return await self._turns(unit, {}, line)

    async def _as_json(self, unit: Unit, frame: str, line: Line) -> list[Completion]:
        """The reply as the one field of an object: it has no opening, and no string ends it."""
        bare = replace(unit.request.prompt, assistant_prefix="", stop=())
        asked = replace(unit, request=replace(unit.request, prompt=bare, stop=()))
        found = await self._turns(asked, frame_body(self.kind.frame, frame), line)
        return [replace(completion, text=from_json(completion.text)) for completion in found]

    async def _turns(self, unit: Unit, more: dict[str, Any], line: Line) -> list[Completion]:
        prompt = unit.request.prompt
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        limit = min(unit.request.max_tokens, self.max_context or unit.request.max_tokens)
        body = request_body(self._settings.model, self.kind, unit, limit) | more
        if values := sent_values(self._settings.model_dump(mode="json", include=set(PROMPTED))):
            body["chat_template_kwargs"] = values
        if prompt.assistant_prefix:
            messages.append({"role": "assistant", "content": prompt.assistant_prefix})
            body |= self.kind.continuation or {}
        body["messages"] = messages
        found = await self._fitting("/chat/completions", self._dialect.spoken(body), unit, line)
        if not self.kind.repeats_opening:
            return found
        return [replace(each, text=each.text.removeprefix(prompt.assistant_prefix)) for each in found]

    async def _fitting(self, path: str, body: dict[str, Any], unit: Unit, line: Line) -> list[Completion]:
        """What is too long by a limit that was not known is refused: asked again with the room there is, then given up.

        A server that tells no limit in its refusal takes a chat without one; of token ids it would make 16.
        """
        none = [Completion("", "length", 0, 0) for _ in range(unit.count)]
        try:
            return await self._completions(path, body, unit, line)
        except RequestRejected as refusal:
            # How many tokens a text is, only the server knows: it has to say what is too long.
            if not _too_long(refusal) or isinstance(body.get("prompt"), str):
                raise
            told = _CONTEXT.search(refusal.message)
        if "prompt" not in body:
            body.pop(self._dialect.limit, None)
        else:
            room = int(told[1]) - len(body["prompt"]) if told else 0
            if not 0 < room < body["max_tokens"]:
                return none
            body["max_tokens"] = room
        try:
            return await self._completions(path, body, unit, line)
        except RequestRejected as refusal:
            if not _too_long(refusal):
                raise
            return none

    async def _completions(self, path: str, body: dict[str, Any], unit: Unit, line: Line) -> list[Completion]:
        for _ in range(self._settings.retries + 1):
            answer = Choices.of(await self._posted(path, body, unit, line))
            if answer is not None:
                return [storable(completion) for completion in read_choices(self._name, answer, unit)]
            line.retried["an unusable answer"] += 1
        raise EngineError(f"language model {self._name!r}: the server's answers lack what was asked", retryable=True)

    async def _posted(self, path: str, body: dict[str, Any], unit: Unit, line: Line) -> dict[str, Any]:
        """The answer; a server that wants something said otherwise, and tells what, is asked again so."""
        while True:
            try:
                return await line.post(path, body, unit)
            except RequestRejected as refusal:
                if unit.tell is not None and refusal.status in (400, 422) and "stream" in refusal.message.lower():
                    unit = replace(unit, tell=None, hear=None)  # it makes none
                elif not self._dialect.learn(refusal, body):
                    raise


def _too_long(refusal: RequestRejected) -> bool:
    text = refusal.message.lower()
    return refusal.status == 400 and "context" in text and ("length" in text or "size" in text)
