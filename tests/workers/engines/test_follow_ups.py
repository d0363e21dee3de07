"""Requests that follow from an answer: in its place at a server, as the next batch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from workers.engines.base import Completion, GenerationRequest, ModelSpec
from workers.engines.follow_ups import FollowUp, in_rounds
from workers.engines.pool import EnginePool


def request(name: str) -> GenerationRequest:
    return GenerationRequest(solve_prompt(name), max_tokens=4)


Ask = Callable[[list[GenerationRequest], FollowUp], list[list[Completion]]]


@pytest.fixture
def ask(server: OpenAIServer, pool: EnginePool) -> Ask:
    """Ask the server, one request at a time."""
    model = ModelSpec("m", "openai", server.config(concurrency=1))
    return lambda requests, follow_up: pool.generate(model, requests, follow_up=follow_up)


def test_a_server_is_asked_at_once_while_others_of_the_batch_wait(server: OpenAIServer, ask: Ask) -> None:
    """In rounds, the last few of a batch would have the server to themselves, again and again."""
    told: list[tuple[int, Completion]] = []

    def follow_up(at: int, completion: Completion) -> GenerationRequest | None:
        told.append((at, completion))
        return request(f"again {len(told)}") if len(told) in (1, 2, 5) else None

    results = ask([request("a"), request("b"), request("c")], follow_up)
    asked = [body["messages"][0]["content"].split("\n")[0] for _, _, body in server.seen]
    assert asked == ["a", "again 1", "again 2", "b", "c", "again 5"]
    assert [at for at, _ in told] == [0, 0, 0, 1, 2, 2]
    assert results == [[told[2][1]], [told[3][1]], [told[5][1]]]


def test_an_error_in_what_follows_is_the_batchs_and_nothing_more_is_asked(server: OpenAIServer, ask: Ask) -> None:
    def broken(_at: int, _completion: Completion) -> GenerationRequest | None:
        raise KeyError("no such draft")

    with pytest.raises(KeyError, match="no such draft"):
        ask([request("a"), request("b")], broken)
    assert len(server.seen) == 1
    assert len(ask([request("a")], lambda _at, _completion: None)) == 1


def test_elsewhere_what_follows_makes_the_next_batch() -> None:
    batches: list[list[str]] = []

    def answers(requests: Sequence[GenerationRequest]) -> list[list[Completion]]:
        names = [r.prompt.messages[0].content.split("\n")[0] for r in requests]
        batches.append(names)
        return [[Completion(f"<{name}>", "stop", 1, 1)] for name in names]

    def follow_up(at: int, completion: Completion) -> GenerationRequest | None:
        return request(f"{at}{completion.text}") if at and len(completion.text) < 1 + 3 * at else None

    results = in_rounds(answers, [request("a"), request("b"), request("c")], follow_up)
    assert batches == [["a", "b", "c"], ["1<b>", "2<c>"], ["2<2<c>>"]]
    assert [result[0].text for result in results] == ["<a>", "<1<b>>", "<2<2<c>>>"]
    assert in_rounds(answers, [request("a")], None) == [[Completion("<a>", "stop", 1, 1)]]
