"""``POST /v1/chat/completions`` and ``POST /v1/completions``: what OpenAI's clients ask, of any registered model."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.completions.errors import OpenAIRoute, document, documented
from api.completions.following import Sampling, begin, follow
from api.completions.schemas import ChatIn, ChatOut, TextIn, TextOut
from api.completions.shapes import Shape, Whole
from api.http.auth import Writer
from api.http.routing import Api, ApiDep
from models.completions import News

_FIRST_SECONDS = 2.0  # a stream that fails sooner is answered by its status
_CLIENT_LEFT = 499
_EVENTS: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
router = APIRouter(
    prefix="/v1",
    tags=["completions"],
    route_class=OpenAIRoute,
    responses={**documented(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503), 200: _EVENTS},
)


@router.post("/chat/completions", response_model=ChatOut)
async def create_chat_completion(request: Request, caller: Writer, api: ApiDep, body: ChatIn) -> Any:
    """Answer a chat by a registered language model; with ``stream`` by server-sent events as the answer grows.

    A client that leaves stops the generation. The tokens count towards the quota `tokens_per_day`.
    """
    return await _answer(request, api, caller.workspace_id, body, "chatcmpl")


@router.post("/completions", response_model=TextOut)
async def create_completion(request: Request, caller: Writer, api: ApiDep, body: TextIn) -> Any:
    """Go on with texts as they stand, without a chat template; otherwise as a chat is answered."""
    return await _answer(request, api, caller.workspace_id, body, "cmpl")


async def _answer(request: Request, api: Api, workspace_id: str, body: ChatIn | TextIn, prefix: str) -> Any:
    sampling = Sampling(
        n=body.n or 1,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        max_tokens=body.limit,
        stop=tuple(body.stops),
        seed=body.seed,
    )
    row_id = await run_in_threadpool(begin, api, workspace_id, body.model, body.prompts, sampling, prefix)
    counted = bool(body.stream_options and body.stream_options.include_usage)
    shape = Shape(row_id, body.model, int(time.time()), isinstance(body, ChatIn), counted)
    found = follow(api, row_id)
    if not body.stream:
        return await _collected(request, found, shape)
    begun = await _begun(request, found)
    if begun is None:
        return Response(status_code=_CLIENT_LEFT)
    stream = _chunks(begun, found, shape)
    return EventSourceResponse(stream, ping=api.settings.event_heartbeat_seconds, sep="\n")


async def _collected(request: Request, found: AsyncGenerator[News, None], shape: Shape) -> Any:
    """The whole answer, unless the client leaves before it is there."""
    whole = Whole()
    async with aclosing(found):
        async for news in found:
            whole.add(news.pieces)
            if news.state == "done":
                return shape.answer(whole, news.usage)
            if await request.is_disconnected():
                break
    return Response(status_code=_CLIENT_LEFT)


async def _begun(request: Request, found: AsyncGenerator[News, None]) -> News | None:
    """The first news with a text, or what there is after a moment: an error before that has a status of its own."""
    until = time.monotonic() + _FIRST_SECONDS
    async for news in found:
        if news.pieces or news.state == "done" or time.monotonic() > until:
            return news
        if await request.is_disconnected():
            break
    await found.aclose()
    return None


async def _chunks(begun: News, found: AsyncGenerator[News, None], shape: Shape) -> AsyncIterator[dict[str, str]]:
    """The stream's messages. An error in its midst is told in it, and ends it without ``[DONE]``."""
    async with aclosing(found):
        try:
            news = begun
            while True:
                for chunk in shape.chunks(news.pieces):
                    yield _message(chunk)
                if news.state == "done":
                    break
                news = await anext(found)
        except Exception as error:
            yield _message(document(error)[1])
            return
    if shape.counted:
        yield _message(shape.usage_chunk(news.usage))
    yield {"data": "[DONE]"}


def _message(value: dict[str, Any]) -> dict[str, str]:
    return {"data": json.dumps(value, separators=(",", ":"))}
