"""The openai engine against a server that misbehaves: what passes is asked again, what does not is named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from workers.engines.base import Completion, EngineError, GenerationRequest, Journal, ModelSpec
from workers.engines.entry_settings import OpenAISettings
from workers.engines.openai_http import Server, _retry_after, wait_seconds
from workers.engines.openai_wire import Choices, Unit, read_choices
from workers.engines.pool import EnginePool
from workers.engines.transformers_engine import TransformersEngine

MINIATURE = Path(__file__).resolve().parents[3] / "demo" / "model"
REQUESTS = [GenerationRequest(solve_prompt(f"Tom has {n} apples and buys 4 more."), max_tokens=12) for n in range(6)]


@pytest.fixture(scope="module")
def loaded() -> Iterator[OpenAIServer]:
    server = OpenAIServer(MINIATURE)
    yield server
    server.close()


@pytest.fixture
def server(loaded: OpenAIServer) -> OpenAIServer:
    """The server as new."""
    loaded.faults.clear()
    loaded.seen.clear()
    loaded.owner, loaded.version = "vllm", "1.2.3"
    loaded.prompt_tokens = loaded.completion_tokens = loaded.most = 0
    return loaded


@pytest.fixture
def ask(server: OpenAIServer, pool: EnginePool) -> Callable[..., list[list[Completion]]]:
    """Ask the server with these settings."""

    def ask(journal: Journal | None = None, requests: Any = None, **settings: Any) -> list[list[Completion]]:
        model = ModelSpec("m", "openai", server.config(**settings))
        return pool.generate(model, REQUESTS if requests is None else requests, journal=journal)

    return ask


Ask = Callable[..., list[list[Completion]]]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("429", "HTTP 429"),
        ("500", "HTTP 500"),
        ("503", "HTTP 503"),
        ("cut", "a cut connection"),
        ("junk", "an unusable answer"),
        ("junk text", "an unusable answer"),
    ],
)
def test_what_passes_is_asked_again_and_told(server: OpenAIServer, ask: Ask, fault: str, name: str) -> None:
    calm = ask()
    server.seen.clear()
    server.faults.extend([fault, fault])
    journal = Journal()
    assert ask(journal) == calm
    assert journal.retried == {name: 2}
    assert len(server.seen) == len(REQUESTS) + 2
    bodies = [body for _, _, body in server.seen]
    assert sum(bodies.count(body) > 1 for body in bodies) >= 2  # the same body, the same seed


def test_what_no_database_stores_is_replaced_in_a_text(server: OpenAIServer, ask: Ask) -> None:
    server.faults.append("nul")
    [[completion]] = ask(requests=REQUESTS[:1], tokenizer=str(MINIATURE))
    assert completion.text == "a\ufffdb\ufffd"


def test_a_stalled_answer_is_given_up_and_asked_again(server: OpenAIServer, ask: Ask) -> None:
    calm = ask()
    server.faults.append("stall")
    journal = Journal()
    assert ask(journal, timeout_seconds=5) == calm
    assert journal.retried == {"no answer within 5 s": 1}


def test_retry_after_decides_the_wait(server: OpenAIServer, ask: Ask) -> None:
    """With an hour of back-off of its own, the answer only comes because the server asked for no wait."""
    calm = ask()
    server.faults.append("429 0")
    assert ask(backoff_seconds=3600.0, backoff_limit_seconds=3600.0) == calm


def test_asked_to_wait_too_long_the_shard_is_given_back(server: OpenAIServer, ask: Ask) -> None:
    server.faults.append("429 7200")
    with pytest.raises(EngineError, match="asks to wait for 7200 s") as caught:
        ask(requests=REQUESTS[:1])  # of several, some would arrive after all, and in the next test
    assert caught.value.retryable


def test_waits_grow_vary_and_are_bounded() -> None:
    settings = OpenAISettings(base_url="http://h/v1", model="m", backoff_seconds=1, backoff_limit_seconds=8)
    for attempt, ceiling in ((1, 2), (2, 4), (3, 8), (4, 8), (4000, 8)):
        waits = {wait_seconds(settings, attempt, None) for _ in range(50)}
        assert all(wait is not None and ceiling / 2 <= wait <= ceiling for wait in waits)
        assert len(waits) > 1
    waits = {wait_seconds(settings, 1, 20.0) for _ in range(50)}
    assert all(wait is not None and 20 <= wait <= 22 for wait in waits)
    assert wait_seconds(settings, 1, 121.0) is None


def test_retry_after_is_read_as_seconds_or_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)

    def read(value: str) -> float | None:
        return _retry_after({"retry-after": value})

    assert read("17") == 17
    assert 3500 < (read(later) or 0) <= 3600
    assert read(past) == 0
    assert read("soon") is None
    assert read("") is None


def test_attempts_are_bounded_and_then_the_engine_is_away(server: OpenAIServer, ask: Ask) -> None:
    server.faults.extend(["500"] * 100)
    with pytest.raises(EngineError, match="HTTP 500") as caught:
        ask(retries=2, requests=REQUESTS[:1])
    assert caught.value.retryable
    assert len(server.seen) == 3


def test_a_server_that_is_not_there_is_away(pool: EnginePool) -> None:
    gone = OpenAIServer(MINIATURE)
    gone.close()
    journal = Journal()
    with pytest.raises(EngineError, match="no connection") as caught:
        pool.generate(ModelSpec("m", "openai", gone.config(retries=1)), REQUESTS, journal=journal)
    assert caught.value.retryable
    assert journal.retried == {"no connection": 2}


def test_a_refusal_is_not_asked_again(server: OpenAIServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything else of its batch: counted where requests leave, since a hung-up one may not arrive."""
    sent: list[str] = []
    post = Server.post

    async def counted(self: Server, path: str, *rest: Any, **named: Any) -> dict[str, Any]:
        sent.append(path)
        return await post(self, path, *rest, **named)

    monkeypatch.setattr(Server, "post", counted)
    with pytest.raises(EngineError, match=r"'m'.*does not exist") as caught:
        ask(model="other", concurrency=1)
    assert not caught.value.retryable
    assert len(sent) == len(server.seen) == 1


def test_a_restarted_server_is_asked_anew_what_it_is(server: OpenAIServer, ask: Ask) -> None:
    journals = [Journal() for _ in range(3)]
    ask(journals[0])
    server.version = "1.3.0"
    server.faults.append("cut")
    for journal in journals[1:]:
        ask(journal)
    assert [journal.version for journal in journals] == ["vllm 1.2.3", "vllm 1.2.3", "vllm 1.3.0"]


def test_the_key_comes_from_the_environment_and_is_never_written(
    server: OpenAIServer, ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(EngineError, match="ERRATA_TEST_KEY"):
        ask(api_key_env="ERRATA_TEST_KEY")
    monkeypatch.setenv("ERRATA_TEST_KEY", "sk-very-secret")
    server.faults.extend(["401", "500"])
    with pytest.raises(EngineError, match=r"HTTP 401.*ERRATA_TEST_KEY") as caught:
        ask(api_key_env="ERRATA_TEST_KEY", requests=REQUESTS[:1])
    ask(api_key_env="ERRATA_TEST_KEY")
    assert {headers["Authorization"] for _, headers, _ in server.seen} == {"Bearer sk-very-secret"}
    assert "sk-very-secret" not in str(caught.value)
    assert "sk-very-secret" not in caplog.text


@pytest.mark.parametrize(
    "settings",
    [{"base_url": "ftp://h/v1"}, {"base_url": "http://user:pw@h/v1"}, {"concurrency": 0}, {"temprature": 1}],
)
def test_settings_are_checked_before_anything_is_sent(server: OpenAIServer, ask: Ask, settings: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(settings))) as caught:
        ask(**settings)
    assert "pw" not in str(caught.value)
    assert server.seen == []


def test_a_server_of_no_known_kind_continues_no_prefix_unless_it_is_given_ids(server: OpenAIServer, ask: Ask) -> None:
    calm = ask()
    server.owner = "someone"
    with pytest.raises(EngineError, match="assistant_prefix"):
        ask(retries=4)
    assert ask(tokenizer=str(MINIATURE)) == calm
    journal = Journal()
    sampled = [GenerationRequest(REQUESTS[0].prompt, temperature=1.0, max_tokens=5)]
    ask(journal, requests=sampled, tokenizer=str(MINIATURE))
    assert journal.fallbacks == {"per_request_seed"}
    assert "top_k" not in server.seen[-1][2]


def test_sampling_is_the_jobs_own_whatever_the_model_recommends(server: OpenAIServer, ask: Ask) -> None:
    ask()
    for _, _, body in server.seen:
        assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0.0, 1.0)


def test_both_roads_send_the_same_prompt(server: OpenAIServer, ask: Ask) -> None:
    assert ask() == ask(tokenizer=str(MINIATURE), concurrency=1)
    reference = TransformersEngine({"path": str(MINIATURE), "device": "cpu"})
    sent = [body["prompt"] for path, _, body in server.seen if path == "/v1/completions"]
    assert sent == [reference.prompt_ids(request) for request in REQUESTS]


def test_tokens_add_up_to_the_servers_own_count(server: OpenAIServer, ask: Ask) -> None:
    requests = [GenerationRequest(r.prompt, n=3, temperature=1.0, max_tokens=9, seed=5) for r in REQUESTS]
    for most in (None, 2):
        server.prompt_tokens = server.completion_tokens = 0
        done = [c for result in ask(requests=requests, samples_per_request=most) for c in result]
        assert len(done) == 18
        assert sum(c.prompt_tokens for c in done) == server.prompt_tokens
        assert sum(c.completion_tokens for c in done) == server.completion_tokens
        assert sum(c.cached_tokens for c in done) == 7 * len(REQUESTS) * (1 if most is None else 2)


def test_tokens_per_sample_are_the_servers_ids_where_it_gives_them() -> None:
    choices = [
        {"index": 1, "text": "bb", "finish_reason": "length", "token_ids": [1, 2]},
        {"index": 0, "text": "a", "finish_reason": "stop", "token_ids": [1, 2, 3]},
    ]
    answer = Choices.of({"choices": choices, "usage": {"prompt_tokens": 4, "completion_tokens": 5}})
    assert answer is not None
    unit = Unit(0, GenerationRequest(solve_prompt("q"), n=2, temperature=1.0), 0, 2)
    assert read_choices("m", answer, unit) == [Completion("a", "stop", 4, 3), Completion("bb", "length", 0, 2)]
    with pytest.raises(EngineError, match="samples_per_request"):
        read_choices("m", answer, Unit(0, unit.request, 0, 3))
