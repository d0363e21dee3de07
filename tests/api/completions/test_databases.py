"""A completion from request to answer on both databases, by a worker's answerer whose engine repeats in capitals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import func, select

from models.completions import CompletionPieceRow, CompletionRow
from models.heartbeats import beat
from models.session import Database
from models.usage import usage_of
from tests.api.completions.conftest import add_model
from tests.api.plain_clients import client
from workers.app import GENERATION
from workers.completions.answerer import start_answering
from workers.engines.base import Completion, GenerationRequest, Hear, Journal, ModelSpec
from workers.settings import WorkerSettings

__all__ = ["client"]


class Capitals:
    """Tells the first letters before the whole."""

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal,
        follow_up: None = None,
        hear: Hear = lambda _: None,
    ) -> list[list[Completion]]:
        """As the answerer asks for it."""
        said = [request.prompt.messages[-1].content.upper() for request in requests]
        hear([(0, 0, said[0][:2])])
        found = [[Completion(text, "stop", 3, 2)] * request.n for text, request in zip(said, requests, strict=True)]
        journal.meter.add([completion for each in found for completion in each])
        return found


def test_a_completion_from_request_to_answer(client: TestClient, database: Database) -> None:
    assert client.get("/v1/models").status_code == 200  # the default workspace is there
    add_model(database, "spoken", "transformers", {"path": "/x"})
    with database.begin() as session:
        beat(session, "host:1", GENERATION, 60)
    settings = WorkerSettings(completion_poll_seconds=0.02)
    stopping = threading.Event()
    services: Any = SimpleNamespace(
        db=database, engines=Capitals(), name="host:1", settings=settings, stopping=stopping
    )
    answering = start_answering(services)
    body = {"model": "spoken", "messages": [{"role": "user", "content": "hello"}], "n": 2}
    try:
        whole = client.post("/v1/chat/completions", json=body).json()
        streamed = client.post("/v1/chat/completions", json={**body, "n": 1, "stream": True}).text
    finally:
        stopping.set()
        answering.join(60)
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["HELLO", "HELLO"]
    assert whole["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 4,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert streamed.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "HELLO"
    with database.read() as session:
        assert usage_of(session, "ws_default").tokens_today == 6
        left = [session.scalar(select(func.count()).select_from(t)) for t in (CompletionRow, CompletionPieceRow)]
    assert left == [0, 0], "neither prompt nor answer is kept"
