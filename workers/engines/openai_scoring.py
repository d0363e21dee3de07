"""Log-probabilities of given texts from a server: one request a text, as many in flight as the gate lets through."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence

from workers.engines.base import EngineError, ScoreRequest, Scores
from workers.engines.entry_settings import OpenAISettings
from workers.engines.meter import Meter
from workers.engines.openai_backend import Backend
from workers.engines.openai_fleet import Fleet
from workers.engines.openai_loop import all_or_none
from workers.engines.openai_wire import read_prompt_logprobs, scoring_body
from workers.engines.scoring import ScoredText, TextScorer, TokenLogprobs, unscored
from workers.engines.sglang_scores import PATH, native_body, read_native


class ServerScorer:
    """Scores texts on one server. Belongs to the servers' event loop."""

    def __init__(self, scorer: TextScorer, fleet: Fleet, settings: OpenAISettings, meter: Meter) -> None:
        self._scorer, self._fleet, self._settings = scorer, fleet, settings
        self._meter = meter

    async def all(self, requests: Sequence[ScoreRequest], retried: Counter[str]) -> list[Scores]:
        """Scores per request. Raises EngineError, or RequestRejected."""
        failed = asyncio.Event()
        done = itertools.count(1)

        async def one(request: ScoreRequest) -> Scores:
            scores = await self._one(request, retried, failed)
            self._meter.tell_scored(next(done) / len(requests))
            return scores

        found = await all_or_none(one(request) for request in requests)
        self._meter.add_scores(found)
        return found

    async def _one(self, request: ScoreRequest, retried: Counter[str], failed: asyncio.Event) -> Scores:
        attempt = 0
        while True:
            async with self._fleet.place(request.prompt) as backend:
                text = self._scorer.encode(request)
                context = backend.asker.max_context
                # The token that a server generates needs a place too.
                if failed.is_set() or not text.spans or (context is not None and len(text.ids) >= context):
                    return unscored(text)
                try:
                    return await self._scored(request, text, backend, retried)
                except EngineError as error:
                    attempt += 1
                    if not self._fleet.goes_on(backend, error, attempt, self._settings.retries):
                        failed.set()
                        raise
                except BaseException:
                    failed.set()  # before the gate opens: the next in line would ask for a batch that is given up
                    raise

    async def _scored(self, request: ScoreRequest, text: ScoredText, backend: Backend, retried: Counter[str]) -> Scores:
        for _ in range(self._settings.retries + 1):
            told = await self._told(request, text, backend, retried)
            if told is not None:
                backend.answered()
                return self._scorer.scores(request, text, *told)
            retried["an unusable answer"] += 1
        raise EngineError("the server's answers lack the prompt's log-probabilities", retryable=True)

    async def _told(
        self, request: ScoreRequest, text: ScoredText, backend: Backend, retried: Counter[str]
    ) -> tuple[list[TokenLogprobs], int] | None:
        """What the server tells of the text's tokens, and the tokens from its cache; None: nothing that can be read."""
        kind, server = backend.asker.kind, backend.server
        if kind.native_scores:
            body = native_body(text.ids, text.first, request.alternatives)
            return read_native(await server.post(PATH, body, retried, root=True), text.ids, text.first)
        body = scoring_body(self._settings.model, kind, text.ids, request.alternatives)
        told = read_prompt_logprobs(await server.post("/completions", body, retried), text.ids, text.first)
        return None if told is None else (told, 0)
