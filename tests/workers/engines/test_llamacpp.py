"""The engine ``openai`` against a real llama.cpp server, of a small real model: texts, counts, seeds, stops, limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from errata.prompts import solve_prompt
from errata.types import Message, Prompt
from tests.llamacpp_server import LlamaServer, need_llamacpp
from tests.workers.engines.conftest import Served
from workers.engines.base import EngineError, GenerationRequest, Journal, ModelSpec, ScoreRequest
from workers.engines.pool import EnginePool
from workers.engines.rendering import LocalTokenizer

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(600)]
CONTEXT = 512
QUESTIONS = ("Ann has 3 pears and buys 4 more. How many has she?", "What is 12 / 4?", "Say hello.")


def _model() -> tuple[Path, Path]:
    """The GGUF file and the tokenizer's folder that `make test-llamacpp` names."""
    gguf, folder = Path(os.environ.get("ERRATA_GGUF", "")), Path(os.environ.get("ERRATA_REAL_MODEL", ""))
    if not gguf.is_file() or not (folder / "tokenizer.json").is_file():
        pytest.skip("no model: run these tests with `make test-llamacpp`")
    return gguf, folder


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    need_llamacpp()
    with LlamaServer(_model()[0], context=CONTEXT) as server:
        yield server


@pytest.fixture(scope="module", params=["ids", "chat"])
def served(request: pytest.FixtureRequest, server: LlamaServer) -> Iterator[Served]:
    """The server asked by token ids, and by turns."""
    more = {"tokenizer": str(_model()[1])} if request.param == "ids" else {}
    pool = EnginePool()
    yield Served(ModelSpec("m", "openai", server.config(**more)), pool)
    pool.close()


def solving(**values: object) -> list[GenerationRequest]:
    asked = {"max_tokens": 40, **values}
    return [GenerationRequest(solve_prompt(text), seed=7 * at, **asked) for at, text in enumerate(QUESTIONS)]  # type: ignore[arg-type]


def test_the_server_says_what_it_is(served: Served) -> None:
    journal = Journal()
    served.generate(solving()[:1], journal=journal)
    assert journal.version is not None
    assert journal.version.startswith("llamacpp ")
    able = journal.capabilities
    assert able is not None
    assert (able.assistant_prefix, able.per_request_seed, able.prefix_cache) == (True, True, True)
    assert not able.prompt_logprobs, "it tells log-probabilities of what it generates, and none of the prompt"


def test_it_scores_no_text_and_says_so(served: Served) -> None:
    with pytest.raises(EngineError, match="capability prompt_logprobs"):
        served.pool.score(served.model, [ScoreRequest(solve_prompt(QUESTIONS[0]), "3 + 4 = 7")])


def test_an_opening_is_continued_and_not_repeated(served: Served) -> None:
    prompt = Prompt((Message("user", "Count from one to five."),), "One, two, three,", "v")
    [[found]] = served.generate([GenerationRequest(prompt, max_tokens=8)])
    assert found.text
    assert not found.text.lstrip().startswith("One, two")


def test_ids_and_turns_are_the_same_prompt(server: LlamaServer) -> None:
    """An opening that ends in a space is left out here: by turns the server makes a token of that space."""
    pool, folder = EnginePool(), str(_model()[1])
    prompts = [
        replace(solve_prompt(text), assistant_prefix=opening) for text in QUESTIONS for opening in ("", "Step 1:")
    ]
    by_ids, by_turns = (
        pool.generate(
            ModelSpec("m", "openai", server.config(concurrency=1, **more)),
            [GenerationRequest(prompt, max_tokens=12) for prompt in prompts],
        )
        for more in ({"tokenizer": folder}, {})
    )
    pool.close()
    assert [c.prompt_tokens for [c] in by_ids] == [c.prompt_tokens for [c] in by_turns]
    assert all(c.cached_tokens for [c] in by_turns), "and the server finds it in its cache"


def test_each_sample_counts_its_own_tokens(served: Served) -> None:
    """The server's total is that of the first sample alone: of several in one request the others would cost nothing."""
    tokenizer = LocalTokenizer(str(_model()[1]), None)
    [samples] = served.generate([replace(solving(temperature=1.0)[0], n=6)])
    assert len(samples) == 6
    assert len({sample.text for sample in samples}) > 1
    for sample in samples:
        written = len(tokenizer(sample.text, add_special_tokens=False)["input_ids"])
        ended = sample.finish_reason == "stop"  # by the token that ends the turn, which is no text
        # A sampled text may be made of other tokens than its own spelling; a total shared out would be far off.
        assert abs(sample.completion_tokens - written - ended) <= 4
        assert sample.completion_tokens <= 40


def test_sample_i_has_the_seed_of_the_first_plus_i(server: LlamaServer) -> None:
    """One request at a time: beside others, and behind another prefix in the cache, the server computes otherwise."""
    pool = EnginePool()
    model = ModelSpec("m", "openai", server.config(concurrency=1))
    request = replace(solving(temperature=1.0)[0], n=3)
    pool.generate(model, [request])  # from here on the prompt is in the cache
    [together] = pool.generate(model, [request])
    alone = [pool.generate(model, [replace(request, n=1, seed=request.seed + at)])[0][0] for at in range(3)]
    pool.close()
    assert [each.text for each in together] == [each.text for each in alone]
    assert len({each.text for each in together}) == 3


def test_a_stop_string_ends_the_text_before_it(served: Served) -> None:
    [[whole]] = served.generate(solving()[:1])
    stop = whole.text[len(whole.text) // 2 :][:3]
    [[cut]] = served.generate([replace(solving()[0], stop=(stop,))])
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


def test_limits_bound_the_text(served: Served) -> None:
    prompt = solve_prompt(QUESTIONS[0])
    short = GenerationRequest(prompt, max_tokens=5)
    long = GenerationRequest(Prompt((Message("user", "7 " * CONTEXT),), "", "v"), max_tokens=5)
    wide = GenerationRequest(prompt, max_tokens=100_000)
    [[cut], [none], [free]] = served.generate([short, long, wide])
    assert (cut.completion_tokens, cut.finish_reason) == (5, "length")
    assert (none.text, none.finish_reason, none.completion_tokens) == ("", "length", 0)
    assert 0 < free.completion_tokens < CONTEXT
