"""The ``openai`` engine: any OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted), many requests in flight.

Runs in the worker process, on one event loop for all servers (workers.engines.openai_http); loads no torch. With the
setting ``tokenizer`` prompts travel as token ids to ``/v1/completions``, exactly those of the other engines; without it
as turns to ``/v1/chat/completions``, the reply opened by a last turn that the server continues.

Requests leave in the order given, at most ``concurrency`` at once over all shards and all entries of one server:
neighbours that share a prefix meet in the server's cache, and a shard's tail overlaps the next one's head. Requests
that somebody listens to have a few places of their own beyond that limit, and are asked for as streams.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from workers.engines.base import (
    Capabilities,
    Completion,
    EngineError,
    GenerationRequest,
    Hear,
    PromptRefused,
    ScoreRequest,
    Scores,
    storable,
)
from workers.engines.follow_ups import FollowUp
from workers.engines.grammars import frame_body, from_json
from workers.engines.joints import held_back_of, without_held_back
from workers.engines.meter import Meter
from workers.engines.openai_about import About, ask_about
from workers.engines.openai_call import Call
from workers.engines.openai_dialect import Dialect
from workers.engines.openai_http import RequestRejected, Server, ServerLoop, all_or_none
from workers.engines.openai_scoring import ServerScorer
from workers.engines.openai_wire import (
    HOSTED,
    Choices,
    ServerKind,
    Unit,
    read_choices,
    request_body,
    units,
)
from workers.engines.registry import PROMPTED, OpenAISettings
from workers.engines.rendering import LocalTokenizer, prompt_ids
from workers.engines.scoring import TextScorer
from workers.engines.templates import sent_values, with_template_values

T = TypeVar("T")
_ASK_AGAIN_SECONDS = 60.0
_CONTEXT = re.compile(r"context (?:length|size|window)\D{0,40}(\d+)", re.IGNORECASE)


class OpenAIEngine:
    """One served language model. Thread-safe: several shards share its connections and its server's limit."""

    def __init__(self, name: str, config: dict[str, Any], loop: ServerLoop) -> None:
        try:
            self._settings = OpenAISettings.model_validate(config)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
            raise EngineError(f"language model {name!r}: {told}") from None
        settings = self._settings
        self._name = name
        self._tokenizer = _tokenizer(settings)
        self._dialect = Dialect()
        self._server = Server(settings)
        self._loop = loop
        self._gate, self._urgent = loop.gate(settings.base_url), loop.urgent_gate(settings.base_url)
        loop.run(self._gate.limit(name, settings.concurrency))
        self._about: About | None = None
        self._scorer: TextScorer | None = None
        self._stale = False  # something went wrong: ask anew what stands there, it may have been replaced
        self._asked = self._closed_until = -math.inf  # by the monotonic clock

    @property
    def version(self) -> str:
        """The server's kind and version, as it tells them; "unknown" before the first call."""
        return "unknown" if self._about is None else f"{self._about.kind.name} {self._about.version}"

    @property
    def mark(self) -> str | None:
        """What tells this server from another one; None where another may stand there since it was asked."""
        return None if self._about is None or self._stale else self._about.mark

    @property
    def capabilities(self) -> Capabilities:
        """By the server's kind; a hosted server of no known kind promises nothing."""
        return Capabilities(
            assistant_prefix=self._kind.continuation is not None or self._tokenizer is not None,
            per_request_seed=self._kind.per_request_seed,
            prefix_cache=self._kind.prefix_cache,
            prompt_logprobs=self._kind.prompt_logprobs and self._tokenizer is not None,
            structured=self._kind is not HOSTED or self._tokenizer is None,
        )

    def connect(self, cancelled: Callable[[], bool], retried: Counter[str]) -> None:
        """Ask the server what it is, again after trouble and from time to time: another may stand there by now.

        Raises EngineError at once while the server wants to be left alone.
        """
        now = time.monotonic()
        if now < self._closed_until:
            left = self._closed_until - now
            raise EngineError(f"{self._name!r}: its server wants to be left alone", retryable=True, wait_seconds=left)
        if self._about is None or self._stale or now - self._asked > _ASK_AGAIN_SECONDS:
            self._stale, self._asked = False, now
            try:
                self._about = self._loop.run(ask_about(self._name, self._settings, self._server, retried), cancelled)
            except BaseException:
                self._stale = True
                raise

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        retried: Counter[str] | None = None,
        follow_up: FollowUp | None = None,
        meter: Meter | None = None,
        hear: Hear | None = None,
    ) -> list[list[Completion]]:
        """Completions per request; see workers.engines.base. Cancelling closes the connections, so servers stop too.

        What follows from an answer leaves at once, in its place. ``meter`` is told of every answer, ``hear`` of every
        piece of one.
        """
        call = Call(Counter() if retried is None else retried, follow_up, meter or Meter(), hear=hear)
        return self._answered(lambda: self._all(requests, call), cancelled, call.retried)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        cancelled: Callable[[], bool] = lambda: False,
        retried: Counter[str] | None = None,
        meter: Meter | None = None,
    ) -> list[Scores]:
        """Scores per request; see workers.engines.base. Needs the capability ``prompt_logprobs``."""
        counts: Counter[str] = Counter() if retried is None else retried
        if self._scorer is None:
            self._scorer = TextScorer(self._tokenizer)
        scorer = ServerScorer(self._scorer, self._server, self._gate, self._settings, meter or Meter())
        return self._answered(lambda: scorer.all(requests, self._kind, self._max_context(), counts), cancelled, counts)

    def _answered(
        self, work: Callable[[], Coroutine[Any, Any, T]], cancelled: Callable[[], bool], counts: Counter[str]
    ) -> T:
        """What the work gives, and notes of the trouble it met."""
        before = counts.total()
        try:
            self.connect(cancelled, counts)
            before = counts.total()
            return self._loop.run(work(), cancelled)
        except RequestRejected as refusal:
            self._stale = True
            raise self._refusal(refusal) from None
        except EngineError as error:
            self._stale = True
            if error.wait_seconds:
                self._closed_until = max(self._closed_until, time.monotonic() + error.wait_seconds)
            raise
        finally:
            # Retried, even with success: a server that restarted may be another version with another context.
            if counts.total() > before:
                self._stale = True

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _all(self, requests: Sequence[GenerationRequest], call: Call) -> list[list[Completion]]:
        limits = [most for most in (self._settings.samples_per_request, self._kind.most_samples) if most]
        planned = [u for at, r in enumerate(requests) for u in units(at, r, min(limits, default=None))]
        answers = await all_or_none(self._one(unit, call) for unit in planned)
        results: list[list[Completion]] = [[] for _ in requests]
        for unit, answer in zip(planned, answers, strict=True):
            results[unit.index] += answer
        return results

    async def _one(self, unit: Unit, call: Call) -> list[Completion]:
        # Held while waiting to ask again: a server in trouble gets fewer requests, not more. And from an answer to
        # what follows from it: that is the longest way to the batch's end, and the server knows its prompt.
        async with self._gate if call.hear is None else self._urgent:
            if call.failed.is_set():
                return []
            try:
                while True:
                    watched = self._kind.streams or call.hear is not None
                    asked = call.watched(unit, self._held_back(unit)) if watched else unit
                    answer = await (self._chat if self._tokenizer is None else self._ids)(asked, call.retried)
                    call.streaming = call.streaming and asked.tell is None
                    call.ended(unit, answer)
                    following = None if call.follow_up is None else call.follow_up(unit.index, answer[0])
                    if following is None:
                        return answer
                    [unit] = units(unit.index, following, None)  # one completion each, so one unit
            except BaseException:
                call.failed.set()  # before the gate opens: the next in line would ask for a batch that is given up
                raise

    def _refusal(self, refusal: RequestRejected) -> EngineError:
        if refusal.status == 404 and self._settings.adapter:  # restarted since: the next batch loads it again
            self._stale = True
            return EngineError(f"language model {self._name!r}: the server no longer has the adapter", retryable=True)
        hint = f" (key from {self._settings.api_key_env})" if refusal.status in (401, 403) else ""
        if refusal.status in (400, 422):
            return PromptRefused(f"language model {self._name!r}: {refusal}")
        return EngineError(f"language model {self._name!r}: {refusal}{hint}")

    async def _ids(self, unit: Unit, retried: Counter[str]) -> list[Completion]:
        ids = prompt_ids(self._tokenizer, unit.request.prompt)
        limit, context = unit.request.max_tokens, self._max_context()
        if context is not None:
            # vLLM refuses a request that could outgrow the context, though it would most likely end before.
            limit = min(limit, context - len(ids))
        if limit <= 0:
            return [Completion("", "length", len(ids) * (at == 0), 0) for at in range(unit.count)]
        body = request_body(self._settings.model, self._kind, unit, limit) | {"prompt": ids}
        held = self._held_back(unit)
        found = await self._fitting("/completions", body, unit, retried)
        return [replace(completion, text=without_held_back(completion.text, held)) for completion in found]

    def _held_back(self, unit: Unit) -> str:
        return "" if self._tokenizer is None else held_back_of(self._tokenizer, unit.request.prompt)

    async def _text(self, unit: Unit, retried: Counter[str]) -> list[Completion]:
        """What goes on from a text that is no chat, which the server makes tokens of."""
        limit = min(unit.request.max_tokens, self._max_context() or unit.request.max_tokens)
        body = request_body(self._settings.model, self._kind, unit, limit)
        body["prompt"] = unit.request.prompt.assistant_prefix
        return await self._fitting("/completions", body, unit, retried)

    async def _chat(self, unit: Unit, retried: Counter[str]) -> list[Completion]:
        if not unit.request.prompt.messages:
            return await self._text(unit, retried)
        frame = unit.request.frame
        if frame is not None and self._kind is HOSTED:
            return await self._as_json(unit, frame, retried)
        return await self._turns(unit, {}, retried)

    async def _as_json(self, unit: Unit, frame: str, retried: Counter[str]) -> list[Completion]:
        """The reply as the one field of an object: it has no opening, and no string ends it."""
        bare = replace(unit.request.prompt, assistant_prefix="", stop=())
        asked = replace(unit, request=replace(unit.request, prompt=bare, stop=()))
        found = await self._turns(asked, frame_body(self._kind.frame, frame), retried)
        return [replace(completion, text=from_json(completion.text)) for completion in found]

    async def _turns(self, unit: Unit, more: dict[str, Any], retried: Counter[str]) -> list[Completion]:
        prompt = unit.request.prompt
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        limit = min(unit.request.max_tokens, self._max_context() or unit.request.max_tokens)
        body = request_body(self._settings.model, self._kind, unit, limit) | more
        if values := sent_values(self._settings.model_dump(mode="json", include=set(PROMPTED))):
            body["chat_template_kwargs"] = values
        if prompt.assistant_prefix:
            messages.append({"role": "assistant", "content": prompt.assistant_prefix})
            body |= self._kind.continuation or {}
        body["messages"] = messages
        found = await self._fitting("/chat/completions", self._dialect.spoken(body), unit, retried)
        if not self._kind.repeats_opening:
            return found
        return [replace(each, text=each.text.removeprefix(prompt.assistant_prefix)) for each in found]

    async def _fitting(self, path: str, body: dict[str, Any], unit: Unit, retried: Counter[str]) -> list[Completion]:
        """What is too long by a limit that was not known is refused: asked again with the room there is, then given up.

        A server that tells no limit in its refusal takes a chat without one; of token ids it would make 16.
        """
        none = [Completion("", "length", 0, 0) for _ in range(unit.count)]
        try:
            return await self._completions(path, body, unit, retried)
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
            return await self._completions(path, body, unit, retried)
        except RequestRejected as refusal:
            if not _too_long(refusal):
                raise
            return none

    async def _completions(
        self, path: str, body: dict[str, Any], unit: Unit, retried: Counter[str]
    ) -> list[Completion]:
        for _ in range(self._settings.retries + 1):
            answer = Choices.of(await self._posted(path, body, unit, retried))
            if answer is not None:
                return [storable(completion) for completion in read_choices(self._name, answer, unit)]
            retried["an unusable answer"] += 1
        raise EngineError(f"language model {self._name!r}: the server's answers lack what was asked", retryable=True)

    async def _posted(self, path: str, body: dict[str, Any], unit: Unit, retried: Counter[str]) -> dict[str, Any]:
        """The answer; a server that wants something said otherwise, and tells what, is asked again so."""
        while True:
            try:
                return await self._server.post(path, body, retried, tell=unit.tell, hear=unit.hear)
            except RequestRejected as refusal:
                if unit.tell is not None and refusal.status in (400, 422) and "stream" in refusal.message.lower():
                    unit = replace(unit, tell=None, hear=None)  # it makes none
                elif not self._dialect.learn(refusal, body):
                    raise

    @property
    def _kind(self) -> ServerKind:
        return HOSTED if self._about is None else self._about.kind

    def _max_context(self) -> int | None:
        told = None if self._about is None else self._about.max_context
        limits = [limit for limit in (self._settings.max_context, told) if limit]
        return min(limits, default=None)


def _tokenizer(settings: OpenAISettings) -> LocalTokenizer | None:
    if settings.tokenizer is None:
        return None
    local: LocalTokenizer = with_template_values(
        LocalTokenizer(settings.tokenizer, settings.revision), settings.model_dump(mode="json", include=set(PROMPTED))
    )
    return local


def _too_long(refusal: RequestRejected) -> bool:
    text = refusal.message.lower()
    return refusal.status == 400 and "context" in text and ("length" in text or "size" in text)
