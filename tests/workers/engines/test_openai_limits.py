"""What a server does not tell beforehand: how long a context may be, that it is another one now, when to ask again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from workers.engines import openai_backend
from workers.engines.base import Completion, EngineError, GenerationRequest, Journal, ModelSpec
from workers.engines.openai_http import Server
from workers.engines.pool import EnginePool

MINIATURE = Path(__file__).resolve().parents[3] / "demo" / "model"
SHORT = GenerationRequest(solve_prompt("Tom has 3 apples and buys 4 more."), max_tokens=12)
LONG = GenerationRequest(solve_prompt("Tom has 3 apples and buys 4 more. " * 200), max_tokens=12)
Ask = Callable[..., list[list[Completion]]]


@pytest.fixture
def ask(server: OpenAIServer, pool: EnginePool) -> Ask:
    """Ask the server with these settings."""

    def ask(*requests: GenerationRequest, journal: Journal | None = None, **settings: Any) -> list[list[Completion]]:
        return pool.generate(ModelSpec("m", "openai", server.config(**settings)), requests, journal=journal)

    return ask


ROADS = [("vllm", None), ("llamacpp", None), ("vllm", MINIATURE), ("llamacpp", MINIATURE), ("someone", MINIATURE)]


@pytest.mark.parametrize(("owner", "folder"), ROADS)
def test_a_context_that_is_not_told_is_found_out(
    server: OpenAIServer, ask: Ask, owner: str, folder: Path | None
) -> None:
    """One prompt is longer than the context, another leaves less room than is asked for; neither fails its batch."""
    server.owner, tokenizer = owner, None if folder is None else str(folder)
    room = server.engine.max_context
    greedy = GenerationRequest(SHORT.prompt, max_tokens=2 * room)
    told = ask(SHORT, greedy, tokenizer=tokenizer)
    server.tells_context = False
    [short], [cut], [empty] = ask(SHORT, greedy, LONG, tokenizer=tokenizer, concurrency=2)
    assert (short.text, cut.text) == (told[0][0].text, told[1][0].text)
    assert (empty.text, empty.finish_reason, empty.completion_tokens) == ("", "length", 0)


def test_llama_cpp_tells_its_context_on_a_page_of_its_own(server: OpenAIServer, ask: Ask) -> None:
    server.owner, server.tells_context = "llamacpp", False
    server.props = {"build_info": "b9000", "default_generation_settings": {"n_ctx": server.engine.max_context}}
    journal = Journal()
    [[_], [empty]] = ask(SHORT, LONG, journal=journal, tokenizer=str(MINIATURE))
    assert empty.finish_reason == "length"
    assert len(server.seen) == 1, "the long prompt was not sent"
    assert journal.version == "llamacpp b9000"


def test_a_server_replaced_while_idle_is_found_out(
    server: OpenAIServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_backend, "_ASK_AGAIN_SECONDS", -1.0)
    journals = [Journal(), Journal()]
    ask(SHORT, journal=journals[0])
    server.version = "2.0.0"
    ask(SHORT, journal=journals[1])
    assert [journal.version for journal in journals] == ["vllm 1.2.3", "vllm 2.0.0"]


def test_a_server_that_was_away_when_asked_is_asked_again(
    server: OpenAIServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(SHORT)
    server.faults.append("cut")
    ask(SHORT)  # trouble: asked anew at the next batch
    with monkeypatch.context() as patch:

        async def away(*_: object, **__: object) -> None:
            raise EngineError("away", retryable=True)

        patch.setattr(Server, "get", away)
        with pytest.raises(EngineError, match="away"):
            ask(SHORT)
    server.version = "3.0.0"
    journal = Journal()
    ask(SHORT, journal=journal)
    assert journal.version == "vllm 3.0.0"


def test_a_server_that_asks_to_be_left_alone_is(server: OpenAIServer, ask: Ask) -> None:
    server.faults.append("429 7200")
    with pytest.raises(EngineError, match="asks to wait for 7200 s") as first:
        ask(SHORT)
    with pytest.raises(EngineError, match="wants to be left alone") as second:
        ask(SHORT)
    assert len(server.seen) == 1
    for caught in (first, second):
        assert caught.value.retryable
        assert 7100 < caught.value.wait_seconds <= 7200
