"""Streams as they happen: the first words before the last, beside a job, a client that leaves, a worker that dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import openai
import pytest
from sqlalchemy import func, select, update

from errata.prompts import solve_prompt
from models.base import db_now
from models.completions import CompletionRow
from tests.api.completions.conftest import MODEL, Live
from tests.processes import until
from workers.engines.base import Cancelled, GenerationRequest, ModelSpec

ASKED = [{"role": "user", "content": "What is 3 + 4?"}]
CHAT = {"model": "served", "messages": ASKED, "max_tokens": 12, "temperature": 0}


@pytest.fixture
def held(live: Live) -> Iterator[Live]:
    """The model's server stops behind the first piece of each stream until the test lets it go on."""
    live.server.go_on.clear()
    yield live
    live.server.go_on.set()


def open_rows(live: Live) -> int:
    with live.database.read() as session:
        return session.scalar(select(func.count()).select_from(CompletionRow)) or 0


def test_the_first_words_come_before_the_last(held: Live) -> None:
    with held.openai() as client, client.chat.completions.create(**CHAT, stream=True) as stream:
        chunks = iter(stream)
        first = [next(chunks), next(chunks)]
        assert first[0].choices[0].delta.role == "assistant"
        assert first[1].choices[0].delta.content
        assert not held.server.go_on.is_set()
        held.server.go_on.set()
        rest = list(chunks)
    assert rest[-1].choices[0].finish_reason in ("stop", "length")
    until(lambda: open_rows(held) == 0, "the row to be deleted")


def test_the_wire_is_what_openai_sends(live: Live) -> None:
    headers = {"authorization": f"Bearer {live.key}"}
    body = {**CHAT, "stream": True}
    answer = httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.headers["content-type"].startswith("text/event-stream")
    messages = answer.text.split("\n\n")
    assert messages[-2:] == ["data: [DONE]", ""]
    first = json.loads(messages[0].removeprefix("data: "))
    assert first["object"] == "chat.completion.chunk"
    assert first["id"].startswith("chatcmpl-")
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]


def test_a_completion_does_not_wait_for_a_jobs_requests(live: Live) -> None:
    """The entry allows one request at a time, and a job's has it: it hangs until the completion is answered."""
    model = ModelSpec("busy", "openai", live.server.config(tokenizer=str(MODEL), concurrency=1))
    over = threading.Event()
    request = GenerationRequest(solve_prompt("1 + 1?"), max_tokens=4)
    live.engines.generate(model, [request], lambda: False)  # the server is known by now
    live.server.faults.append("stall")
    job = threading.Thread(target=lambda: _job(live, model, request, over))
    job.start()
    until(lambda: live.server.in_flight == 1, "the job's request")
    with live.openai() as client:
        answer = client.chat.completions.create(**{**CHAT, "model": "busy"})
    assert answer.choices[0].message.content
    assert live.server.in_flight == 1, "the job's request is still there"
    over.set()
    job.join(60)


def _job(live: Live, model: ModelSpec, request: GenerationRequest, over: threading.Event) -> None:
    with suppress(Cancelled):
        live.engines.generate(model, [request], over.is_set)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_generation(live: Live, stream: bool) -> None:
    live.server.faults.append("stall")  # until its own client has hung up
    left: list[type[Exception]] = []

    def ask() -> None:
        with live.openai(timeout=httpx.Timeout(60, read=1.0)) as client:
            try:
                client.chat.completions.create(**CHAT, stream=stream)
            except openai.APITimeoutError as error:
                left.append(type(error))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: live.server.in_flight == 1, "the request at the model's server")
    asking.join(60)
    until(lambda: live.server.in_flight == 0, "the end of the generation")
    assert open_rows(live) == 0
    assert left or stream


def test_a_stream_that_is_closed_is_forgotten(held: Live) -> None:
    with held.openai() as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        next(iter(stream))
        assert open_rows(held) == 1
        stream.close()
        until(lambda: open_rows(held) == 0, "the row to be deleted")


def test_a_dead_worker_is_an_error_and_no_hang(held: Live) -> None:
    with held.openai() as client, client.chat.completions.create(**CHAT, stream=True) as stream:
        chunks = iter(stream)
        next(chunks)
        with held.database.begin() as session:  # as its rows stand when it has not been heard for some seconds
            session.execute(update(CompletionRow).values(holder="dead", lease_until=db_now(-1)))
        with pytest.raises(openai.APIError, match="has died"):
            list(chunks)
    until(lambda: open_rows(held) == 0, "the row to be deleted")
