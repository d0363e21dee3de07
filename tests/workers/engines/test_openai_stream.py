"""One request of a batch comes as a stream: its answer is what it would be at once, and the meter moves meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.problems import generate
from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from tests.processes import until
from tests.workers.engines.conftest import MODEL
from workers.engines.base import Completion, GenerationRequest, Journal, ModelSpec, Text
from workers.engines.openai_stream import StreamedAnswer
from workers.engines.pool import EnginePool

PROBLEMS = generate(count=4, seed=5)
REQUESTS = [
    GenerationRequest(solve_prompt(p.question), n=2, temperature=1.0, max_tokens=60, seed=at)
    for at, p in enumerate(PROBLEMS)
]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer(MODEL)
    yield server
    server.go_on.set()
    server.close()


@pytest.mark.parametrize("by_ids", [True, False])
def test_a_streamed_answer_is_the_whole_answer(server: OpenAIServer, pool: EnginePool, by_ids: bool) -> None:
    model = ModelSpec("m", "openai", server.config(**({"tokenizer": str(MODEL)} if by_ids else {})))
    whole = pool.generate(model, REQUESTS)
    assert not server.streams
    server.streams = True
    journal = Journal()
    assert pool.generate(model, REQUESTS, journal=journal) == whole
    assert sum(bool(body.get("stream")) for _, _, body in server.seen) >= 2, "at least one of each call"
    told = journal.meter.snapshot()
    assert told is not None
    spent = [completion for result in whole for completion in result]
    assert told["made"] == len(spent)
    assert told["prompt"] == sum(completion.prompt_tokens for completion in spent)


def test_who_listens_hears_every_answer_and_waits_for_no_place(server: OpenAIServer, pool: EnginePool) -> None:
    model = ModelSpec("m", "openai", server.config(tokenizer=str(MODEL), concurrency=1))
    whole = pool.generate(model, REQUESTS)
    assert server.most == 1
    server.streams = True
    heard: list[Text] = []
    assert pool.generate(model, REQUESTS, hear=heard.extend) == whole
    assert server.most > 1, "the limit is the jobs'"
    assert {(request, sample) for request, sample, _ in heard} == {(at, n) for at in range(4) for n in range(2)}
    assert all(whole[request][sample].text.startswith(text) for request, sample, text in heard)


def test_the_meter_moves_while_every_answer_is_still_on_its_way(server: OpenAIServer, pool: EnginePool) -> None:
    model = ModelSpec("m", "openai", server.config(concurrency=1))
    expected = pool.generate(model, REQUESTS[:1])
    server.streams = True
    server.go_on.clear()
    journal, found = Journal(), list[list[list[Completion]]]()
    journal.meter.expect(2)
    asking = threading.Thread(target=lambda: found.append(pool.generate(model, REQUESTS[:1], journal=journal)))
    asking.start()
    until(lambda: (journal.meter.snapshot() or {}).get("completion"), "the first tokens")
    told = journal.meter.snapshot()
    assert told is not None
    assert (told["made"], 0 < told["share"] < 1) == (0, True)
    assert not found
    server.go_on.set()
    asking.join(60)
    assert found == [expected]


def test_a_hosted_server_is_not_asked_for_streams(pool: EnginePool) -> None:
    server = OpenAIServer(MODEL, owner="someone")
    pool.generate(ModelSpec("m", "openai", server.config(tokenizer=str(MODEL))), REQUESTS[:1])
    server.close()
    assert not any("stream" in body for _, _, body in server.seen)


def stream(*messages: dict[str, Any]) -> bytes:
    lines = [
        b": a comment",
        *(b"data: " + json.dumps(m, ensure_ascii=False).encode() for m in messages),
        b"data: [DONE]",
    ]
    return b"\r\n\r\n".join(lines) + b"\r\n\r\n"


MESSAGES = [
    {"choices": [{"index": 1, "text": "é", "token_ids": [7]}]},
    {"choices": [{"index": 0, "text": "a", "token_ids": [1, 2], "finish_reason": None}]},
    {"choices": [{"index": 1, "text": "🙂", "token_ids": [8, 9], "finish_reason": "stop"}], "usage": None},
    {"choices": [{"index": 0, "text": "", "token_ids": [3], "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 6}},
]


@given(st.lists(st.integers(0, 600), max_size=8))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int]) -> None:
    data, told = stream(*MESSAGES), list[int]()
    made = StreamedAnswer(told.append)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(edges):
        made.feed(data[start:stop])
    assert made.answer() == {
        "choices": [
            {"index": 0, "text": "a", "token_ids": [1, 2, 3], "finish_reason": "length"},
            {"index": 1, "text": "é🙂", "token_ids": [7, 8, 9], "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 6},
    }
    assert told == sorted(told)
    assert told[-1] == 6


def test_a_thought_told_apart_stays_apart_and_an_error_is_kept() -> None:
    made = StreamedAnswer(lambda _: None)
    made.feed(
        stream(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None, "reasoning_content": "hm"}}]},
            {"choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": "stop"}]},
            {"error": {"message": "the engine died"}},
        )
    )
    [choice] = made.answer()["choices"]
    assert choice["message"] == {"reasoning_content": "hm", "content": "4"}
    assert made.answer()["error"] == {"message": "the engine died"}
    with pytest.raises(ValueError):
        made.feed(b"data: not json\n")
