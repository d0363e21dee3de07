"""One completion from beginning to end: it is added for the workers, followed, and deleted, whatever happens."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool

from api.completions.errors import Refusal
from api.http.routing import Api
from api.language_models import find_model
from api.quotas import admit_completion
from models.base import new_id
from models.completions import News, add, look, open_completions, remove, want
from models.heartbeats import heard
from workers.dispatch import GENERATION_ROLE, knows_chat_template

_WANT_SECONDS = 5.0
_STATUSES = {"refused": 400, "unavailable": 503, "engine": 500}
NO_WORKER = "no generation worker is running: start one (`errata worker`), or wait until one is back"
Prompts = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How choices are drawn: ``n`` of each prompt, of at most ``max_tokens``. Without a seed one is drawn."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def stored(self, prompts: Prompts) -> dict[str, Any]:
        """The request as workers read it (workers.completions.requests)."""
        # A generator takes no negative seed, and some servers none of more than 31 bits.
        seed = secrets.randbits(31) if self.seed is None else self.seed % 2**31
        return {
            "prompts": list(prompts),
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            "seed": seed,
        }


def begin(api: Api, workspace_id: str, model: str, prompts: Prompts, sampling: Sampling, prefix: str) -> str:
    """Add a completion for the workers to answer, and return its id, which begins with ``prefix``.

    Raises Refusal for a model that is not there or takes no chats, where too many are open, and while no worker lives;
    TooManyRequests for a quota that is used up.
    """
    row_id = new_id(prefix).replace("_", "-", 1)
    with api.db.begin() as session:
        row = find_model(session, model, workspace_id)
        if row is None:
            told = f"the model '{model[:100]}' does not exist; GET /v1/models lists those that do"
            raise Refusal(404, told, param="model", code="model_not_found")
        if "messages" in prompts[0] and not knows_chat_template(row.engine, row.config):
            told = f"the model '{model}' has no chat template, so it takes no chats; ask POST /v1/completions"
            raise Refusal(400, told, param="messages", code="no_chat_template")
        if not any(beat.role == GENERATION_ROLE for beat in heard(session)):
            raise Refusal(503, NO_WORKER, code="no_worker", headers={"Retry-After": "10"})
        admit_completion(session, workspace_id)
        if (used := open_completions(session, workspace_id)) >= api.settings.open_completions:
            told = f"{used} completions of this workspace are being answered; wait until one has ended"
            raise Refusal(429, told, headers={"Retry-After": "1"})
        add(session, row_id, workspace_id, row.id, sampling.stored(prompts))
    return row_id


async def follow(api: Api, row_id: str) -> AsyncGenerator[News, None]:
    """What is new at each look, also where that is nothing, until all is told.

    Raises Refusal where the completion fails, its worker dies or it takes longer than ``completion_seconds``. However
    it ends, the completion is deleted, so that its worker stops: close the iterator when the client has left.
    """
    started = wanted = time.monotonic()
    after = 0
    try:
        while True:
            news = await run_in_threadpool(_look, api, row_id, after)
            after = news.number
            yield news
            if news.state == "done":
                return
            _raise_failure(news)
            now = time.monotonic()
            if now - started > api.settings.completion_seconds:
                told = f"no end within {api.settings.completion_seconds:g} s (ERRATA_COMPLETION_SECONDS)"
                raise Refusal(503, told, code="timeout")
            if now - wanted > _WANT_SECONDS:
                wanted = now
                await run_in_threadpool(_want, api, row_id, news)
            await anyio.sleep(api.settings.completion_look_seconds)
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(_remove, api, row_id)


def _look(api: Api, row_id: str, after: int) -> News:
    with api.db.look() as session:
        return look(session, row_id, after)


def _want(api: Api, row_id: str, news: News) -> None:
    """Say that the client still waits. Raises Refusal where nobody is left who could answer."""
    with api.db.begin() as session:
        want(session, row_id)
        if news.state == "waiting" and not any(beat.role == GENERATION_ROLE for beat in heard(session)):
            raise Refusal(503, NO_WORKER, code="no_worker", headers={"Retry-After": "10"})


def _remove(api: Api, row_id: str) -> None:
    with api.db.begin() as session:
        remove(session, row_id)


def _raise_failure(news: News) -> None:
    if news.state is None:
        raise Refusal(503, "the completion was given up", code="given_up")
    if news.lost:
        raise Refusal(503, "the worker that answered has died; try again", code="worker_died")
    if news.state == "failed":
        error = news.error or {}
        kind, wait = str(error.get("kind")), float(error.get("wait_seconds") or 0)
        headers = {"Retry-After": str(max(1, round(wait)))} if kind == "unavailable" else {}
        raise Refusal(_STATUSES.get(kind, 500), str(error.get("message")), code=f"model_{kind}", headers=headers)
