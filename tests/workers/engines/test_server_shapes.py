"""Answers in the shapes that servers give, as SGLang's protocol and a llama.cpp server have them: texts and counts."""

from __future__ import annotations

from typing import Any

import pytest

from errata.types import Prompt
from workers.engines.base import GenerationRequest
from workers.engines.openai_wire import SERVER_KINDS, Choices, Unit, read_choices, request_body, units

REQUEST = GenerationRequest(Prompt((), "", "v"), n=2, temperature=1.0, max_tokens=8, seed=5)


def sglang(**usage: Any) -> dict[str, Any]:
    """Two samples. ``matched_stop`` is a token or a string; without a cache report the prompt has no details."""
    choices = [
        {"index": 0, "text": "hi.", "logprobs": None, "finish_reason": "stop", "matched_stop": 2},
        {"index": 1, "text": " there is more", "logprobs": None, "finish_reason": "length", "matched_stop": None},
    ]
    counts = {"prompt_tokens": 13, "completion_tokens": 11, "total_tokens": 24, "prompt_tokens_details": None}
    return {"id": "a", "object": "text_completion", "choices": choices, "usage": {**counts, **usage}}


def llamacpp(text: str, reason: str, tokens: int) -> dict[str, Any]:
    """One sample; of several its usage would be the first one's alone."""
    usage = {"completion_tokens": tokens, "prompt_tokens": 13, "prompt_tokens_details": {"cached_tokens": 12}}
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
    return {"choices": [choice], "usage": usage, "timings": {"predicted_n": tokens}}


def read(answer: dict[str, Any], count: int) -> list[tuple[str, str, int, int, int]]:
    choices = Choices.of(answer)
    assert choices is not None
    found = read_choices("m", choices, Unit(0, REQUEST, 0, count))
    return [(c.text, c.finish_reason, c.prompt_tokens, c.completion_tokens, c.cached_tokens) for c in found]


def test_sglang_counts_by_ids_where_it_gives_them_and_shares_its_total_out_elsewhere() -> None:
    answer = sglang()
    shared = read(answer, 2)
    assert sum(tokens for _, _, _, tokens, _ in shared) == 11
    for choice, ids in zip(answer["choices"], ([9, 8, 2], [1, 2, 3, 4, 5, 6, 7, 8]), strict=True):
        choice["token_ids"] = ids
    assert read(answer, 2) == [("hi.", "stop", 13, 3, 0), (" there is more", "length", 0, 8, 0)]


def test_sglang_tells_its_cache_where_it_reports_it() -> None:
    [first, second] = read(sglang(prompt_tokens_details={"cached_tokens": 6}), 2)
    assert (first[4], second[4]) == (6, 0)


def test_an_aborted_sample_is_no_answer() -> None:
    answer = sglang()
    answer["choices"][1]["finish_reason"] = "abort"
    assert Choices.of(answer) is None


def test_llamacpp_is_asked_for_one_sample_at_a_time_with_the_seed_of_each() -> None:
    kind = SERVER_KINDS["llamacpp"]
    bodies = [request_body("m", kind, unit, 8) for unit in units(0, REQUEST, kind.most_samples)]
    assert [(body["n"], body["seed"]) for body in bodies] == [(1, 5), (1, 6)]
    assert read(llamacpp("hi.", "stop", 3), 1) == [("hi.", "stop", 13, 3, 12)]


@pytest.mark.parametrize("name", ["sglang", "vllm"])
def test_servers_that_tell_ids_are_asked_for_them_and_for_all_samples_at_once(name: str) -> None:
    kind = SERVER_KINDS[name]
    [unit] = units(0, REQUEST, kind.most_samples)
    body = request_body("m", kind, unit, 8)
    assert (body["n"], body["return_token_ids"]) == (2, True)
