"""The ``openai`` engine: any OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted), many requests in flight.

Runs in the worker process, on one event loop for all servers (workers.engines.openai_loop); loads no torch. With the
setting ``tokenizer`` prompts travel as token ids to ``/v1/completions``, exactly those of the other engines; without it
as turns to ``/v1/chat/completions``, the reply opened by a last turn that the server continues.

Requests leave in the order given, at most ``concurrency`` at once over all shards and all entries of one server:
neighbours that share a prefix meet in the server's cache, and a shard's tail overlaps the next one's head. Requests
that somebody listens to have a few places of their own beyond that limit, and are asked for as streams.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
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
)
from workers.engines.entry_settings import PROMPTED, OpenAISettings
from workers.engines.follow_ups import FollowUp
from workers.engines.kept import Keep, Parked
from workers.engines.meter import Meter
from workers.engines.openai_about import About
from workers.engines.openai_backend import Backend
from workers.engines.openai_batched import BatchedCalls
from workers.engines.openai_batches import BatchClient
from workers.engines.openai_call import Call
from workers.engines.openai_fleet import Fleet
from workers.engines.openai_http import RequestRejected
from workers.engines.openai_loop import ServerLoop, all_or_none
from workers.engines.openai_scoring import ServerScorer
from workers.engines.openai_wire import HOSTED, Unit, units
from workers.engines.rendering import LocalTokenizer
from workers.engines.scoring import TextScorer
from workers.engines.templates import with_template_values

T = TypeVar("T")


class OpenAIEngine:
    """One served language model. Thread-safe: several shards share its connections and its servers' limits."""

    def __init__(self, name: str, config: dict[str, Any], loop: ServerLoop) -> None:
        try:
            self._settings = OpenAISettings.model_validate(config)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
            raise EngineError(f"language model {name!r}: {told}") from None
        settings = self._settings
        self._name = name
        self._tokenizer = _tokenizer(settings)
        self._loop = loop
        # One server is asked again by itself; of several another one is asked.
        each = settings if len(settings.urls) == 1 else settings.model_copy(update={"retries": 0})
        self._fleet = Fleet([Backend(name, each.at(url), loop, self._tokenizer) for url in settings.urls])
        for backend in self._fleet.backends:
            loop.run(backend.gate.limit(name, settings.concurrency))
        self.batches: BatchedCalls | None = None
        if settings.batch is not None:
            client = BatchClient(self._fleet.backends[0].server)
            self.batches = BatchedCalls(name, settings.url, settings.batch, settings.retries, client, loop)
        self._scorer: TextScorer | None = None
        self._closed_until = -math.inf  # by the monotonic clock

    @property
    def _known(self) -> list[About]:
        """What those servers told that were asked."""
        return [each.asker.about for each in self._fleet.backends if each.asker.about is not None]

    @property
    def version(self) -> str:
        """The servers' kind and version, as they tell them; "unknown" before the first call."""
        told = dict.fromkeys(f"{about.kind.name} {about.version}" for about in self._known)
        return ", ".join(told) or "unknown"

    @property
    def mark(self) -> str | None:
        """What tells these servers from others; None where another may stand there since one of them was asked."""
        if any(each.asker.about is None or each.stale for each in self._fleet.backends):
            return None
        return ", ".join(dict.fromkeys(about.mark for about in self._known))

    @property
    def capabilities(self) -> Capabilities:
        """By the servers' kind: what all of them can do. A hosted server of no known kind promises nothing."""
        kinds = [about.kind for about in self._known] or [HOSTED]
        return Capabilities(
            assistant_prefix=self._tokenizer is not None or all(kind.continuation is not None for kind in kinds),
            per_request_seed=all(kind.per_request_seed for kind in kinds),
            prefix_cache=all(kind.prefix_cache for kind in kinds),
            prompt_logprobs=self._tokenizer is not None and all(kind.prompt_logprobs for kind in kinds),
            structured=self._tokenizer is None or all(kind is not HOSTED for kind in kinds),
        )

    def connect(self, cancelled: Callable[[], bool], retried: Counter[str]) -> None:
        """Ask the servers what they are, again after trouble and from time to time: others may stand there by now.

        Raises EngineError at once while a single server wants to be left alone.
        """
        now = time.monotonic()
        if now < self._closed_until:
            left = self._closed_until - now
            raise EngineError(f"{self._name!r}: its server wants to be left alone", retryable=True, wait_seconds=left)
        if any(each.is_new for each in self._fleet.backends):
            self._loop.run(self._fleet.introduce(retried), cancelled)

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

    def generate_in_batches(
        self,
        batches: BatchedCalls,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        call: Call,
        keep: Keep,
    ) -> list[list[Completion]]:
        """The same by ``batches`` of this engine, whose answers are kept. Raises Parked while some are outstanding."""
        asker = self._fleet.backends[0].asker

        def ask() -> list[list[Completion]]:
            return batches.generate(requests, self._planned(requests), asker, call, keep)

        return self._noted(ask, cancelled, call.retried)

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
        scorer = ServerScorer(self._scorer, self._fleet, self._settings, meter or Meter())
        return self._answered(lambda: scorer.all(requests, counts), cancelled, counts)

    def _answered(
        self, work: Callable[[], Coroutine[Any, Any, T]], cancelled: Callable[[], bool], counts: Counter[str]
    ) -> T:
        return self._noted(lambda: self._loop.run(work(), cancelled), cancelled, counts)

    def _noted(self, work: Callable[[], T], cancelled: Callable[[], bool], counts: Counter[str]) -> T:
        """What the work gives, and notes of the trouble it met."""
        before = counts.total()
        try:
            self.connect(cancelled, counts)
            before = counts.total()
            return work()
        except Parked:
            raise
        except RequestRejected as refusal:
            self._is_stale()
            raise self._refusal(refusal) from None
        except EngineError as error:
            self._is_stale()
            if error.wait_seconds and self._fleet.is_one:
                self._closed_until = max(self._closed_until, time.monotonic() + error.wait_seconds)
            raise
        finally:
            # Retried, even with success: a server that restarted may be another version with another context.
            if counts.total() > before:
                self._is_stale()

    def _is_stale(self) -> None:
        for each in self._fleet.backends:
            each.stale = True

    async def close(self) -> None:
        """Close the connections."""
        for each in self._fleet.backends:
            await each.server.close()

    def _planned(self, requests: Sequence[GenerationRequest]) -> list[Unit]:
        limits = [self._settings.samples_per_request, *(about.kind.most_samples for about in self._known)]
        most = min((limit for limit in limits if limit), default=None)
        return [unit for at, request in enumerate(requests) for unit in units(at, request, most)]

    async def _all(self, requests: Sequence[GenerationRequest], call: Call) -> list[list[Completion]]:
        planned = self._planned(requests)
        answers = await all_or_none(self._one(unit, call) for unit in planned)
        results: list[list[Completion]] = [[] for _ in requests]
        for unit, answer in zip(planned, answers, strict=True):
            results[unit.index] += answer
        return results

    async def _one(self, unit: Unit, call: Call) -> list[Completion]:
        # A place is held while waiting to ask again: a server in trouble gets fewer requests, not more. And from an
        # answer to what follows from it: that is the longest way to the batch's end, and the server knows its prompt.
        attempt = 0
        while True:
            async with self._fleet.place(unit.request.prompt, urgent=call.hear is not None) as backend:
                if call.failed.is_set():
                    return []
                try:
                    while True:
                        answer = await self._asked(unit, call, backend)
                        attempt = 0
                        following = None if call.follow_up is None else call.follow_up(unit.index, answer[0])
                        if following is None:
                            return answer
                        [unit] = units(unit.index, following, None)  # one completion each, so one unit
                except EngineError as error:
                    attempt += 1
                    if not self._fleet.goes_on(backend, error, attempt, self._settings.retries):
                        call.failed.set()
                        raise
                except BaseException:
                    call.failed.set()  # before the gate opens: the next in line would ask for a batch that is given up
                    raise

    async def _asked(self, unit: Unit, call: Call, backend: Backend) -> list[Completion]:
        asker = backend.asker
        watched = asker.kind.streams or call.hear is not None
        asked = call.watched(unit, asker.held_back(unit)) if watched else unit
        try:
            answer = await asker.ask(asked, backend.line(call.retried))
        finally:
            call.streaming = call.streaming and asked.tell is None
        backend.answered()
        call.ended(unit, answer)
        return answer

    def _refusal(self, refusal: RequestRejected) -> EngineError:
        if refusal.status == 404 and self._settings.adapter:  # restarted since: the next batch loads it again
            return EngineError(f"language model {self._name!r}: the server no longer has the adapter", retryable=True)
        hint = f" (key from {self._settings.api_key_env})" if refusal.status in (401, 403) else ""
        if refusal.status in (400, 422):
            return PromptRefused(f"language model {self._name!r}: {refusal}")
        return EngineError(f"language model {self._name!r}: {refusal}{hint}")


def _tokenizer(settings: OpenAISettings) -> LocalTokenizer | None:
    if settings.tokenizer is None:
        return None
    local: LocalTokenizer = with_template_values(
        LocalTokenizer(settings.tokenizer, settings.revision), settings.model_dump(mode="json", include=set(PROMPTED))
    )
    return local
