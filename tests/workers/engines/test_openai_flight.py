"""The openai engine's requests in flight: how many, in which order, and what becomes of them when nobody waits."""

from __future__ import annotations

import threading

from errata.prompts import solve_prompt
from tests.openai_server import MODEL, OpenAIServer
from tests.processes import until
from tests.workers.engines.conftest import MODEL as SERVED
from workers.engines.base import Cancelled, Completion, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool

REQUESTS = [GenerationRequest(solve_prompt(f"Tom has {n} apples and buys 4 more."), max_tokens=12) for n in range(6)]


def test_in_flight_is_bounded_over_all_shards(server: OpenAIServer, pool: EnginePool) -> None:
    model = ModelSpec("m", "openai", server.config(concurrency=3))
    calm = pool.generate(model, REQUESTS)
    results: dict[int, list[list[Completion]]] = {}

    def shard(at: int) -> None:
        results[at] = pool.generate(model, REQUESTS)

    threads = [threading.Thread(target=shard, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[at] for at in range(4)] == [calm] * 4
    assert server.most == 3


def test_entries_of_one_server_share_the_smallest_of_their_limits(server: OpenAIServer, pool: EnginePool) -> None:
    models = [ModelSpec(name, "openai", server.config(concurrency=most)) for name, most in (("a", 5), ("b", 2))]
    calm = [pool.generate(model, REQUESTS) for model in models]
    server.most = 0
    results: dict[str, list[list[Completion]]] = {}

    def shard(model: ModelSpec) -> None:
        results[model.name] = pool.generate(model, REQUESTS)

    threads = [threading.Thread(target=shard, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results["a"], results["b"]] == calm
    assert server.most == 2
    raised = ModelSpec("b", "openai", server.config(concurrency=4))
    pool.generate(raised, REQUESTS)
    assert server.most == 4


def test_cancelling_hangs_up_so_that_the_server_stops_too(server: OpenAIServer, pool: EnginePool) -> None:
    server.faults.extend(["stall"] * len(REQUESTS))
    stop = threading.Event()
    model = ModelSpec("m", "openai", server.config())
    ended: list[type[BaseException]] = []

    def shard() -> None:
        try:
            pool.generate(model, REQUESTS, stop.is_set)
        except Cancelled as cancelled:
            ended.append(type(cancelled))

    thread = threading.Thread(target=shard)
    thread.start()
    until(lambda: server.in_flight == len(REQUESTS), "every request in flight")
    stop.set()
    thread.join(120)
    assert ended == [Cancelled]
    until(lambda: server.in_flight == 0, "the server to notice", seconds=30)
    assert pool.generate(model, REQUESTS[:1])[0][0].completion_tokens > 0


def test_requests_leave_in_the_order_given(server: OpenAIServer, pool: EnginePool) -> None:
    pool.generate(ModelSpec("m", "openai", server.config(concurrency=1, tokenizer=str(SERVED))), REQUESTS)
    asked = [body["prompt"] for _, _, body in server.seen]
    assert [body["model"] for _, _, body in server.seen] == [MODEL] * len(REQUESTS)
    assert asked == [server.engine.prompt_ids(request) for request in REQUESTS]
