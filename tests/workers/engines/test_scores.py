"""Scores of given texts: the same on every engine, with offsets into the text, and refused where an engine has none."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from errata.prompts import solve_prompt
from errata.types import Prompt
from tests.openai_server import OpenAIServer
from tests.workers.engines.conftest import MODEL, START_SECONDS, Served
from workers.engines.base import Cancelled, EngineError, Journal, ModelSpec, ScoreRequest
from workers.engines.pool import EnginePool
from workers.engines.rendering import prompt_ids
from workers.engines.sglang_scores import read_native
from workers.engines.transformers_engine import TransformersEngine

pytestmark = pytest.mark.timeout(START_SECONDS)
SCORED = ["transformers", "openai-ids"]
VLLM = [pytest.param(kind, marks=pytest.mark.vllm) for kind in ("vllm-served-ids", "vllm-in-process")]
QUESTION = "Tom has 3 apples and buys 4 more. How many apples does he have?"
TEXT = "Let's think step by step.\nStep 1: 3 + 4 = 7\nStep 2: So the answer is 7. 🙂 café — 3,000"


def asked(text: str = TEXT, opening: str = "", alternatives: int = 15) -> ScoreRequest:
    """A request to score a text as the reply to one question, behind its opening."""
    return ScoreRequest(Prompt(solve_prompt(QUESTION).messages, opening, "v"), text, alternatives)


REQUESTS = [asked(), asked(TEXT[26:], TEXT[:26]), asked("Step 1: 12 - 5 = 7"), asked("7", alternatives=3)]


@pytest.mark.parametrize("served", [*SCORED, *VLLM], indirect=True)
def test_scores_are_those_of_one_plain_forward_pass(served: Served, reference: TransformersEngine) -> None:
    journal = Journal()
    found = served.pool.score(served.model, REQUESTS, journal=journal)
    assert journal.capabilities is not None
    assert journal.capabilities.prompt_logprobs
    assert journal.seconds > 0
    for request, scores in zip(REQUESTS, found, strict=True):
        opening = prompt_ids(reference.tokenizer, request.prompt)
        ids = [token.id for token in scores.tokens]
        assert reference.tokenizer.decode(ids) == request.text
        assert scores.prompt_tokens == len(opening) + len(ids)
        with torch.inference_mode():
            logits = reference.model(torch.tensor([opening + ids])).logits[0, len(opening) - 1 : -1]
        expected = logits.log_softmax(-1)
        for token, row in zip(scores.tokens, expected, strict=True):
            assert token.logprob == pytest.approx(float(row[token.id]), abs=2e-3)
            likeliest = [i for i in row.topk(request.alternatives + 1).indices.tolist() if i != token.id]
            best = [float(row[i]) for i in likeliest[: request.alternatives]]
            assert [a.logprob for a in token.alternatives] == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("served", [*SCORED, *VLLM], indirect=True)
def test_offsets_cover_the_text_and_alternatives_read_as_they_would_there(served: Served) -> None:
    [scores] = served.pool.score(served.model, [asked()])
    spans = [(token.start, token.end) for token in scores.tokens]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(TEXT)
    for before, after in itertools.pairwise(spans):
        # One after another, or parts of one character.
        assert after[0] == before[1] or after == before
    digits = [token for token in scores.tokens if TEXT[token.start : token.end] == "7"]
    assert digits
    assert all(any(a.text.isdigit() for a in token.alternatives) for token in digits)


@pytest.mark.parametrize("served", SCORED, indirect=True)
def test_a_text_longer_than_the_context_has_no_tokens(served: Served) -> None:
    long, short = served.pool.score(served.model, [asked("7 + 7 = 14. " * 1000), asked()])
    assert long.tokens == ()
    assert short.tokens
    assert served.pool.score(served.model, [asked("")])[0].tokens == ()


@pytest.mark.parametrize("served", SCORED, indirect=True)
def test_scoring_is_cancelled(served: Served) -> None:
    with pytest.raises(Cancelled):
        served.pool.score(served.model, [asked(f"{n} + 7 = {n + 7}" * 20) for n in range(400)], lambda: True)
    assert served.pool.score(served.model, [asked()])[0].tokens


def test_what_an_engine_cannot_tell_is_refused_by_name(openai_server: OpenAIServer, pool: EnginePool) -> None:
    by_chat = ModelSpec("chat", "openai", openai_server.config())
    with pytest.raises(EngineError, match=r"'chat'.*capability prompt_logprobs.*'slip'") as caught:
        pool.score(by_chat, [asked()])
    assert not caught.value.retryable


def test_sglang_tells_the_same_on_its_own_route(pool: EnginePool, reference: TransformersEngine) -> None:
    server = OpenAIServer(MODEL, owner="sglang")
    model = ModelSpec("m", "openai", server.config(tokenizer=str(MODEL)))
    found, expected = pool.score(model, REQUESTS), reference.score(REQUESTS)
    server.close()
    assert {path for path, _, _ in server.seen} == {"/generate"}
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.cached_tokens == 5
        assert [(t.id, t.start, t.end) for t in mine.tokens] == [(t.id, t.start, t.end) for t in theirs.tokens]
        assert [t.logprob for t in mine.tokens] == pytest.approx([t.logprob for t in theirs.tokens], abs=2e-3)
        for one, other in zip(mine.tokens, theirs.tokens, strict=True):
            assert [a.logprob for a in one.alternatives] == pytest.approx(
                [a.logprob for a in other.alternatives], abs=2e-3
            )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"meta_info": {"input_token_logprobs": [[-1.0, 4, None]]}},
        {"meta_info": {"input_token_logprobs": [[-1.0, 9, None]], "input_top_logprobs": [[[-1.0, 4, None]]]}},
        {"meta_info": {"input_token_logprobs": [[None, 4, None]], "input_top_logprobs": [None]}},
    ],
    ids=["nothing", "no alternatives", "another token", "nothing of the text"],
)
def test_an_answer_of_sglang_without_the_scores_is_no_answer(answer: dict[str, Any]) -> None:
    assert read_native(answer, [3, 4], 1) is None
    told = {"input_token_logprobs": [[-1.0, 4, None]], "input_top_logprobs": [[[-0.5, 7, None], [-1.0, 4, None]]]}
    assert read_native({"meta_info": told}, [3, 4], 1) == ([(-1.0, [(7, -0.5), (4, -1.0)])], 0)


def test_a_batch_of_one_and_a_batch_of_many_agree(reference: TransformersEngine) -> None:
    alone = [reference.score([request])[0] for request in REQUESTS]
    together = reference.score(REQUESTS)
    for one, other in zip(alone, together, strict=True):
        assert [t.id for t in one.tokens] == [t.id for t in other.tokens]
        for mine, theirs in zip(one.tokens, other.tokens, strict=True):
            assert math.isclose(mine.logprob, theirs.logprob, abs_tol=1e-4)


def test_more_alternatives_than_servers_tell_are_refused() -> None:
    with pytest.raises(ValueError, match="alternatives"):
        asked(alternatives=20)
