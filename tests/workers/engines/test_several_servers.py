"""Several servers behind one entry: who is asked, by load and by earlier prompts, and what a dead one costs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from tests.processes import until
from tests.workers.engines.conftest import MODEL as SERVED
from workers.engines.base import Cancelled, Completion, EngineError, GenerationRequest, Journal, ModelSpec
from workers.engines.pool import EnginePool
from workers.engines.registry import checked

# No two begin alike: an affinity to what only the instructions share would hide which server is chosen by load.
QUESTIONS = [f"{name} has {len(name)} apples and buys 4 more. " * 20 for name in ("Ada", "Boris", "Cleopatra", "Dan")]


def ask_for(question: str, n: int = 1, tokens: int = 8) -> GenerationRequest:
    return GenerationRequest(solve_prompt(question), n=n, temperature=float(n > 1), max_tokens=tokens, seed=3)


@pytest.fixture
def two() -> Iterator[list[OpenAIServer]]:
    servers = [OpenAIServer(SERVED), OpenAIServer(SERVED)]
    yield servers
    for server in servers:
        server.close()


def entry(servers: list[OpenAIServer], **more: Any) -> ModelSpec:
    urls = [server.url for server in servers]
    config = servers[0].config(**{"base_url": urls, "samples_per_request": 1, "concurrency": 8, **more})
    return ModelSpec("m", "openai", config)


def asked(server: OpenAIServer) -> list[str]:
    """The questions of the completions that a server was asked for."""
    return [body["messages"][-2]["content"] for path, _, body in server.seen if path.endswith("/chat/completions")]


@contextmanager
def held(server: OpenAIServer, pool: EnginePool, model: ModelSpec, count: int) -> Iterator[None]:
    """So many requests stand still at the server while the block runs."""
    server.faults.extend(["stall"] * count)
    alone = ModelSpec("held", "openai", {**model.config, "base_url": server.url})
    done = threading.Event()

    def hold() -> None:
        with pytest.raises(Cancelled):
            pool.generate(alone, [ask_for("hold")] * count, done.is_set)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        until(lambda: server.in_flight == count, "the server to be busy")
        yield
    finally:
        done.set()
        thread.join()
        until(lambda: server.in_flight == 0, "the server to be idle")


def test_several_servers_answer_as_one_does_and_share_the_work(two: list[OpenAIServer], pool: EnginePool) -> None:
    requests = [ask_for(question, n=4) for question in QUESTIONS]
    alone = pool.generate(ModelSpec("one", "openai", two[0].config()), requests)
    two[0].seen.clear()
    journal = Journal()
    assert texts(pool.generate(entry(two, concurrency=2), requests, journal=journal)) == texts(alone)
    counts = [len(asked(server)) for server in two]
    assert sum(counts) == 16
    assert min(counts) >= 4
    assert two[1].most == 2
    assert (journal.version, journal.retried) == ("vllm 1.2.3", {})


def texts(answers: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in answer] for answer in answers]


def test_the_least_busy_server_is_asked_and_then_keeps_the_prompts_that_begin_so(
    two: list[OpenAIServer], pool: EnginePool
) -> None:
    model = entry(two)
    busy, idle = two
    with held(busy, pool, model, 6):  # further apart than prompts that begin alike are kept together for
        busy.seen.clear()
        pool.generate(model, [ask_for(QUESTIONS[0])])
    assert [len(asked(server)) for server in two] == [0, 1]
    # Neither is busy now. Longer beginnings of this prompt are known at the second server, whoever is named first.
    for n in (3, 4):
        pool.generate(model, [ask_for(QUESTIONS[0], n=n)])
    assert [len(asked(server)) for server in two] == [0, 8]
    with held(idle, pool, model, 6):
        idle.seen.clear()
        pool.generate(model, [ask_for(QUESTIONS[0], n=2)])
    assert [len(asked(server)) for server in two] == [2, 0]


def test_a_server_without_work_takes_over_from_a_slow_ones_queue(two: list[OpenAIServer], pool: EnginePool) -> None:
    """One request each at once: the first server never answers its own, and the second gets all the others."""
    two[0].faults.append("stall")
    journal = Journal()
    model = entry(two, concurrency=1, timeout_seconds=5)
    found = pool.generate(model, [ask_for(question, n=2) for question in QUESTIONS], journal=journal)
    assert all(len(answer) == 2 for answer in found)
    assert (len(asked(two[0])), len(asked(two[1]))) == (1, 8)
    assert journal.retried == {"no answer within 5 s": 1}


@pytest.mark.parametrize("trouble", ["dead", "500", "429 1"])
def test_a_server_in_trouble_is_left_out_and_its_requests_go_to_the_others(
    trouble: str, two: list[OpenAIServer], pool: EnginePool
) -> None:
    model = entry(two, concurrency=2)
    requests = [ask_for(question, n=4) for question in QUESTIONS]
    calm = pool.generate(model, requests)
    two[0].seen.clear()
    two[1].seen.clear()
    if trouble == "dead":
        two[0].dead = True
    else:
        two[0].faults.extend([trouble] * 99)
    assert texts(pool.generate(model, requests)) == texts(calm)
    assert len(asked(two[1])) == 16
    assert len(two[0].seen) <= 6  # those in flight when it went, and no more


def test_a_server_that_is_back_gets_requests_again(two: list[OpenAIServer], pool: EnginePool) -> None:
    model = entry(two, backoff_seconds=0.05, backoff_limit_seconds=0.2)
    two[0].dead = True
    assert pool.generate(model, [ask_for(QUESTIONS[0])])
    two[0].seen.clear()
    two[0].dead = False

    def is_asked() -> bool:
        with held(two[1], pool, model, 6):
            pool.generate(model, [ask_for(QUESTIONS[1])])
        return bool(asked(two[0]))

    until(is_asked, "the server that is back to be asked", seconds=60)


def test_servers_that_are_all_away_give_the_shard_back(two: list[OpenAIServer], pool: EnginePool) -> None:
    model = entry(two, retries=2)
    two[0].dead = two[1].dead = True
    with pytest.raises(EngineError) as away:
        pool.generate(model, [ask_for(QUESTIONS[0])])
    assert away.value.retryable
    two[1].dead = False
    until(answers(pool, model), "the one that is back to answer", seconds=60)


def answers(pool: EnginePool, model: ModelSpec) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return bool(pool.generate(model, [ask_for(QUESTIONS[0])]))
        except EngineError:
            return False

    return ask


def test_an_address_where_nobody_listens_costs_nothing_but_its_share(two: list[OpenAIServer], pool: EnginePool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        model = ModelSpec("m", "openai", {**two[0].config(), "base_url": [nobody, two[0].url]})
        journal = Journal()
        assert pool.generate(model, [ask_for(question, n=2) for question in QUESTIONS], journal=journal)
    assert len(asked(two[0])) == len(QUESTIONS)
    assert set(journal.retried) == {"no connection"}


def test_what_follows_an_answer_is_asked_once_though_a_server_dies_between(
    two: list[OpenAIServer], pool: EnginePool
) -> None:
    """The follow-up of an answer that was given is not made again from the beginning."""
    followed: list[str] = []

    def follow(_: int, completion: Completion) -> GenerationRequest | None:
        followed.append(completion.text)
        if len(followed) > 1:
            return None
        two[0].dead = bool(asked(two[0]))
        two[1].dead = bool(asked(two[1]))
        return ask_for(QUESTIONS[1])

    found = pool.generate(entry(two), [ask_for(QUESTIONS[0])], follow_up=follow)
    assert followed == [followed[0], found[0][0].text]
    assert sorted(len(set(asked(server))) for server in two) == [1, 2]


def test_addresses_are_given_as_a_list_or_with_commas() -> None:
    given = {"model": "m", "base_url": "http://a:1/v1/, http://b:1/v1"}
    assert checked("openai", given)["base_url"] == ["http://a:1/v1", "http://b:1/v1"]
    assert checked("openai", {"model": "m", "base_url": ["http://a:1/v1/"]})["base_url"] == "http://a:1/v1"
    for wrong, told in (
        ("http://a/v1,http://a/v1", "once"),
        ("http://a/v1,ftp://b", "http"),
        ("", "http"),
        (7, "http"),
    ):
        with pytest.raises(ValueError, match=f"base_url: .*{told}"):
            checked("openai", {"model": "m", "base_url": wrong})
